"""Published rows are measured by one command, from configurations that are valid."""

import json
import math

import pytest

from benchmarks import reproduce
from benchmarks.paper_rows import CONFIGS, ROWS, training_name
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.results import EvalResult

TINY = [
    *("--iterations", "2", "--episodes", "2"),
    *("--set", "model.hidden_dim=4", "--set", "evaluation.num_val_episodes=2"),
]


def run(monkeypatch, capsys, *words) -> str:
    monkeypatch.setattr(reproduce, "setup_logger", lambda _: None)
    monkeypatch.setattr("sys.argv", ["reproduce", *map(str, words)])
    reproduce.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_row_has_a_valid_configuration_and_a_test_that_fits_it(row):
    config = RunConfig.load(row.file, row.training)
    RunConfig.from_dict(config.to_dict(), row.test)
    assert config.run.name == row.config


def test_each_configuration_of_a_paper_has_a_row():
    named = {row.config for row in ROWS.values()}
    assert named == {file.stem for file in CONFIGS.glob("*.yaml")}


def test_rows_that_share_a_training_share_its_folder():
    one = ROWS["reptile_omniglot_5way_1shot"]
    other = ROWS["reptile_omniglot_5way_5shot_transductive"]
    assert training_name(one) == training_name(other)
    fomaml = [training_name(ROWS[f"fomaml_omniglot_5way_{k}shot"]) for k in (1, 5)]
    assert len(set(fomaml)) == 2
    assert training_name(one, ["a.b=[1, 2]"]) == "reptile_omniglot_5way_b--1--2-"


def test_without_a_row_all_are_listed(monkeypatch, capsys):
    listed = run(monkeypatch, capsys)
    assert [line.split()[0] for line in listed.splitlines()] == list(ROWS)


def test_an_unknown_row_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'reptile_sinusoid'"):
        reproduce.select(["reptile_sinusoids"])


def test_a_row_is_trained_with_each_seed_scored_and_kept(monkeypatch, capsys, tmp_path):
    words = ["reptile_sinusoid", *TINY, "--seeds", "2", "--out", tmp_path]
    first = run(monkeypatch, capsys, *words)
    scores = [
        json.loads(file.read_text())["answer"]["loss"][-1]
        for file in sorted(tmp_path.glob("scores/*.json"))
    ]
    assert len(scores) == 2
    assert f"| {sum(scores) / 2:.4f} ± " in first
    assert "| curve | 2 of 30,000 | 2 | 2 |" in first

    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr("mlpeft.evaluation.trials.train", refuse)
    monkeypatch.setattr("mlpeft.evaluation.trials.evaluate", refuse)
    assert run(monkeypatch, capsys, *words) == first


@pytest.mark.data
def test_a_row_of_images_is_measured_from_a_run_of_ones_own(
    monkeypatch, capsys, tmp_path, data_dir
):
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(data_dir))
    small = [
        *("--set", "evaluation.num_inner_steps=2"),
        *("--set", "meta_learning.meta_batch_size=1", "--out", tmp_path),
    ]
    name = "reptile_omniglot_5way_1shot"
    run(monkeypatch, capsys, name, *TINY, *small)
    (run_dir,) = tmp_path.glob("reptile_*")
    words = [f"{name}_transductive", "--run", run_dir, "--episodes", "2"]
    with pytest.raises(ConfigError, match=r"model\.hidden_dim is 4, not 64"):
        run(monkeypatch, capsys, *words, "--out", tmp_path)
    monkeypatch.setattr(reproduce, "_check_run", lambda *_: None)
    told = run(monkeypatch, capsys, *words, "--out", tmp_path)
    assert f"| {name}_transductive |" in told
    assert "| 97.68 | 2 of 100,000 | 1 | 2 |" in told


def test_a_single_training_has_the_interval_of_its_episodes():
    result = EvalResult((5,), (0.1,), (0.02,), 600, (0.9,), (0.01,))
    row = ROWS["reptile_omniglot_5way_1shot"]
    alone = reproduce.Measured(row, (result,), 10, 100)
    assert alone.ours == "90.00 ± 1.00"
    better = EvalResult((5,), (0.1,), (0.02,), 600, (0.92,), (0.01,))
    both = reproduce.Measured(row, (result, better), 10, 100)
    spread = 12.7062 * math.sqrt(2) / math.sqrt(2)
    assert both.ours == f"91.00 ± {spread:.2f}"
