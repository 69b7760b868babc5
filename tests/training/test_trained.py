"""What somebody else's run folder may make this process do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mlpeft.commands.compare import compare
from mlpeft.commands.evaluate import evaluate
from mlpeft.commands.plot import plot
from mlpeft.config import RunConfig
from mlpeft.errors import CheckpointError, ConfigError, MlpeftError
from mlpeft.evaluation.evaluate import evaluate as score
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from mlpeft.training.run_files import locked
from mlpeft.training.trained import load_trained

TREE = {
    "run": {"name": "theirs"},
    "meta_learning": {"num_meta_iterations": 1, "meta_batch_size": 1},
    "task_distribution": {"num_train_tasks": 2, "num_val_tasks": 1},
    "model": {"backbone": "logistic"},
    "evaluation": {"num_val_episodes": 1, "steps": [0, 1]},
    "compute": {"strategy": "loop"},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder, whose configuration may be changed."""
    config = RunConfig.from_dict(TREE, [f"paths.checkpoint_dir={tmp_path}"])
    return train(config).run_dir


def rename(run: Path, backbone: str) -> None:
    file = run / "config.yaml"
    text = file.read_text()
    assert "backbone: logistic" in text
    file.write_text(text.replace("backbone: logistic", f"backbone: {backbone}"))


@pytest.mark.parametrize("named", ["os:getcwd", "subprocess:getoutput", "evil:a.b"])
def test_a_run_folder_imports_nothing_of_its_own_accord(run, named):
    rename(run, named)
    with pytest.raises(ConfigError, match=f"--allow-module {named.split(':')[0]}"):
        load_trained(run)
    with pytest.raises(ConfigError, match="whose code would run"):
        evaluate(run)


@pytest.mark.parametrize("named", ["os:getcwd", "subprocess:getoutput"])
def test_the_standard_library_is_not_called_even_if_allowed(run, named, monkeypatch):
    monkeypatch.setattr(subprocess, "getoutput", pytest.fail)
    monkeypatch.setattr(os, "getcwd", lambda: pytest.fail("was called"))
    rename(run, named)
    trained = load_trained(run, allow_modules=[named.split(":")[0]])
    with pytest.raises(MlpeftError, match="standard library"):
        score(trained, 1)


def test_a_module_of_the_users_own_is_imported_if_allowed(run, tmp_path, monkeypatch):
    (tmp_path / "models_of_mine.py").write_text(
        "from mlpeft.models.mlp import LinearClassifier\n"
        "def make(shape, outputs):\n"
        "    return LinearClassifier(shape[0], outputs)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    rename(run, "models_of_mine:make")
    with pytest.raises(ConfigError, match="models_of_mine"):
        load_trained(run)
    own = load_trained(run, allow_modules=["models_of_mine"])
    assert score(own, 1).loss
    assert load_trained(run, run / "config.yaml").meta.keys() == own.meta.keys()
    given = load_trained(run, None, ["model.backbone=models_of_mine:make"])
    assert given.config == own.config


def test_tasks_of_a_run_folder_are_not_imported_either(run):
    file = run / "config.yaml"
    params = "task_params: {entry_point: 'evil:episode'}"
    text = file.read_text()
    assert "task_params: {}" in text
    file.write_text(text.replace("task_params: {}", params))
    with pytest.raises(ConfigError, match="--allow-module evil"):
        load_trained(run)


def test_results_are_not_written_through_links_in_a_run_folder(run, tmp_path, capsys):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("evaluation.json", "comparison.json", "comparison.png"):
        (run / name).symlink_to(precious)
    evaluate(run, episodes=1, json_output=True)
    compare(checkpoint=run, k_shots="1", episodes=1, json_output=True)
    assert precious.read_text() == "mine"
    assert not (run / "evaluation.json").is_symlink()


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "config.yaml", "steps", "log.jsonl", "best", "norms.json"]
)
def test_a_link_in_a_run_folder_is_neither_read_nor_written_through(
    run, tmp_path, name
):
    """It may be somebody else's folder, and lead to a file of the user."""
    elsewhere = tmp_path / "elsewhere"
    if (run / name).exists():
        (run / name).rename(elsewhere)
    else:
        elsewhere.write_text("mine")
    (run / name).symlink_to(elsewhere)
    before = elsewhere.read_bytes() if elsewhere.is_file() else None
    match = rf"{name} is a symbolic link to .*elsewhere"
    with pytest.raises(CheckpointError, match=match):
        load_trained(run)
    with pytest.raises(CheckpointError, match=match):
        plot(run)
    with pytest.raises(CheckpointError, match=match), locked(run):
        pass
    assert before is None or elsewhere.read_bytes() == before


def test_a_step_that_is_a_link_is_not_read(run, tmp_path):
    step = max((run / "steps").glob("*[0-9]"))
    step.rename(tmp_path / "moved")
    step.symlink_to(tmp_path / "moved")
    with pytest.raises(CheckpointError, match="is a symbolic link"):
        load_trained(run)


def test_the_best_step_is_one_of_the_runs_own(run, tmp_path):
    (tmp_path / "other").mkdir()
    (run / "best").write_text("../../other")
    assert checkpoint.best(run) is None
