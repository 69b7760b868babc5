"""What people do wrong: one clear message, exit code 2, and never a traceback."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from mlpeft.cli import PANELS, main

TINY = """
meta_learning: {num_meta_iterations: 2, num_inner_steps: 1}
task_distribution: {num_train_tasks: 2, num_val_tasks: 2, num_test_tasks: 2}
model: {hidden_dim: 4}
evaluation: {num_val_episodes: 2, num_test_episodes: 2, steps: [0, 1]}
compute: {strategy: loop}
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty working folder with a tiny configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def mlpeft(here, monkeypatch, capsys):
    """Runs the command; gives exit code, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mlpeft", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code or 0, *capsys.readouterr())

    yield run
    logger = logging.getLogger("mlpeft")
    logger.propagate = True
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--config", "none.yaml"], "no configuration file at "),
        (["--set", "model.hidden=3"], "did you mean 'hidden_dim'?"),
        (["--set", "model.hidden_dim=1000000"], "less than or equal to 65536"),
        (["--set", "task_distribution.num_train_tasks=10000000"], "equal to 1000000"),
        (["--set", "task_distribution.task_families=digits"], "write [digits]"),
        (["--set", "task_distribution.task_families=[folder]"], "task_params.path"),
        (["--set", "model.backbone=mlpeft.files:size_text"], "failed with TypeError"),
        (["--set", "paths.data_dir="], "paths.data_dir: expected a path, got None"),
        (["--set", "run.name=on"], "put quotes around it"),
        (["--set", "paths.checkpoint_dir=tiny.yaml"], "cannot write "),
        (["--set", "logging.log_dir=tiny.yaml"], "logging.log_dir: cannot write "),
        (["--resume"], "start without --resume"),
    ],
)
def test_a_wrong_training_is_refused_with_what_to_do(mlpeft, words, told):
    code, _, said = mlpeft("train", "--config", "tiny.yaml", *words)
    assert code == 2
    assert told in said
    assert "Traceback" not in said


def test_a_folder_for_an_output_file_is_refused_before_the_work(mlpeft, here):
    mlpeft("train", "--config", "tiny.yaml", "--json")
    code, _, said = mlpeft(
        "evaluate", "--checkpoint", "checkpoints/tiny", "--output", str(here)
    )
    assert code == 2
    assert "cannot write a file at" in said
    assert "Evaluating" not in said


def test_what_the_system_refuses_is_told_with_the_path(mlpeft, here):
    mlpeft("train", "--config", "tiny.yaml", "--json")
    code, _, said = mlpeft("plot", "checkpoints/tiny", "--output", "tiny.yaml/pictures")
    assert code == 2
    assert said.startswith("error: tiny.yaml")
    assert "give a path" in said


def test_a_file_that_is_no_checkpoint_is_called_so(mlpeft, here):
    code, _, said = mlpeft(
        "evaluate", "--checkpoint", "tiny.yaml", "--config", "tiny.yaml"
    )
    assert code == 2
    assert "not an .npz checkpoint" in said
    assert "pickle" not in said


def test_a_comparison_on_one_episode_has_no_interval(mlpeft, here):
    mlpeft("train", "--config", "tiny.yaml", "--json")
    code, said, _ = mlpeft(
        *("compare", "--checkpoint", "checkpoints/tiny", "--json"),
        *("--k-shots", "2", "--episodes", "1"),
    )
    assert code == 0
    row = json.loads(said)["k_shots"]["2"]
    assert row["gain_ci95"] is None


def test_a_comparison_leaves_out_what_there_are_too_few_examples_for(mlpeft, here):
    """A class has 45 images for validation: 10 to learn from and 36 to ask for are 46.

    Asked for by name, it is an error.
    """
    digits = ["task_families=[digits]", "input_dim=64", "num_classes=3", "k_shot=1"]
    changes = [
        f"--set=task_distribution.{word}" for word in [*digits, "query_size=108"]
    ]
    trained = ["train", "--config", "tiny.yaml", *changes, "--json"]
    assert mlpeft(*trained, "--set=task_distribution.train_query_size=6")[0] == 0
    command = ["compare", "checkpoints/tiny", "--episodes", "1"]
    code, said, warned = mlpeft(*command, "--json")
    assert code == 0
    assert list(json.loads(said)["k_shots"]) == ["1", "5"]
    assert "k-shot 10 is left out: 30 and 108 need 10 + 36 examples" in warned
    code, _, warned = mlpeft(*command, "--k-shot", "10")
    assert code == 2
    assert "need 10 + 36 examples" in warned


def test_support_sizes_may_be_given_under_either_name(mlpeft, here):
    mlpeft("train", "--config", "tiny.yaml", "--json")
    words = ["--checkpoint", "checkpoints/tiny", "--episodes", "1", "--json"]
    for name in ("--k-shot", "--k-shots"):
        assert json.loads(mlpeft("evaluate", *words, name, "3")[1])["k_shot"] == 3
        assert "3" in json.loads(mlpeft("compare", *words, name, "3")[1])["k_shots"]


def test_results_of_heads_are_kept_apart_and_can_be_paired(mlpeft, here):
    mlpeft("train", "--config", "tiny.yaml", "--json")
    words = ["--checkpoint", "checkpoints/tiny", "--episodes", "3"]
    assert mlpeft("evaluate", *words)[0] == 0
    code, said, _ = mlpeft("evaluate", *words, "--head", "ridge")
    assert code == 0
    assert "Head: ridge, fitted to the support set" in said
    files = [
        f"checkpoints/tiny/{name}.json" for name in ("evaluation_ridge", "evaluation")
    ]
    code, said, _ = mlpeft("compare", *files)
    assert code == 0
    assert "on the same 3 test episodes" in said
    code, said, _ = mlpeft("compare", *words, "--head", "ridge", "--no-joint")
    assert code == 0
    assert "head ridge" in said
    assert Path("checkpoints/tiny/comparison_ridge.json").is_file()
    assert not Path("checkpoints/tiny/comparison.json").exists()
    code, _, told = mlpeft("evaluate", *words, "--head", "rigde")
    assert code == 2
    assert "evaluation.head" in told


def test_several_support_sizes_are_one_table_and_a_csv(mlpeft, here):
    mlpeft("train", "--config", "tiny.yaml", "--json")
    words = ["evaluate", "--checkpoint", "checkpoints/tiny", "--episodes", "2"]
    code, said, _ = mlpeft(*words, "--k-shots", "1,3", "--num-classes", "2")
    assert code == 0
    assert "1-shot" in said
    assert "3-shot" in said
    assert "Batch norm: none" in said
    (file,) = Path("checkpoints/tiny").glob("evaluation_*.json")
    cells = json.loads(file.read_text())["cells"]
    assert [cell["k_shot"] for cell in cells] == [1, 3]
    assert {"ece", "peak_bytes", "inner_state", "batch_norm"} <= cells[0].keys()
    assert len(file.with_suffix(".csv").read_text().splitlines()) == 3


def test_the_help_groups_the_commands(mlpeft):
    code, said, _ = mlpeft("--help")
    assert code == 0
    places = [said.index(f"─ {panel} ─") for panel in PANELS]
    assert places == sorted(places)
    for panel, commands in PANELS.items():
        for command in commands:
            name = command.__name__.rstrip("_")
            assert said.index(f"│ {name} ") > said.index(panel)


@pytest.mark.parametrize("shots", ["", "0", "1,,2", "five"])
def test_support_sizes_that_are_none_are_refused(mlpeft, shots):
    code, _, said = mlpeft("compare", "--checkpoint", "x", "--k-shots", shots)
    assert code == 2
    assert "whole numbers from 1" in said


def test_a_training_leaves_a_log(mlpeft, here):
    code, _, _ = mlpeft("train", "--config", "tiny.yaml", "--json")
    assert code == 0
    code, shown, _ = mlpeft("logs", "checkpoints/tiny")
    assert code == 0
    assert "started in checkpoints/tiny from meta-iteration 0" in shown
    assert "2/2: accuracy" in shown


def test_a_second_ctrl_c_says_how_to_go_on(mlpeft, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mlpeft.training.loop.train", interrupted)
    changes = ["--set", "run.name=other"]
    code, _, said = mlpeft("train", "--config", "tiny.yaml", *changes)
    assert code == 130
    assert "mlpeft train --config tiny.yaml --set run.name=other --resume" in said


def test_two_runs_are_compared_on_the_same_test_episodes(mlpeft, here):
    """Their seeds differ; one test seed gives both the same episodes."""
    same = ["--set", "evaluation.test_seed=7"]
    for name in ("1", "2"):
        changes = ["--set", f"run.name=r{name}", "--set", f"run.seed={name}"]
        assert mlpeft("train", "--config", "tiny.yaml", *changes, *same)[0] == 0
        code, _, told = mlpeft("evaluate", "--checkpoint", f"checkpoints/r{name}")
        assert code == 0
        assert f"of checkpoints/r{name}" in told
    code, said, _ = mlpeft("compare", "checkpoints/r1", "checkpoints/r2")
    assert code == 0
    assert "on the same 2 test episodes" in said
    for wrong in ([], ["checkpoints/r1", "--checkpoint", "checkpoints/r2"]):
        code, _, told = mlpeft("compare", *wrong)
        assert code == 2
        assert "two runs" in told


def test_an_untrained_step_is_scored_aloud_and_overrides_get_their_own_file(
    mlpeft, here
):
    """With an outer step of 0 nothing is better than the start."""
    still = ["--set", "meta_learning.outer_lr=0", "--json"]
    assert mlpeft("train", "--config", "tiny.yaml", *still)[0] == 0
    words = ["evaluate", "--checkpoint", "checkpoints/tiny", "--json"]
    assert "untrained" in mlpeft(*words)[2]
    mlpeft(*words, "--set", "evaluation.num_inner_steps=1")
    mlpeft(*words, "--set", "evaluation.num_inner_steps=2")
    assert len(list((here / "checkpoints/tiny").glob("evaluation*.json"))) == 3
