"""A run that starts from another, whatever algorithm made that."""

import json

import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.errors import CheckpointError, ConfigError, ParamMismatch
from mlpeft.meta import state
from mlpeft.params import write_npz
from mlpeft.training.loop import train
from mlpeft.training.trained import load_trained

TINY = {
    "meta_learning": {
        "num_meta_iterations": 2,
        "inner_lr": 0.1,
        "outer_lr": 0.5,
        "num_inner_steps": 2,
        "eval_interval": 2,
    },
    "task_distribution": {"num_train_tasks": 4, "num_val_tasks": 2, "query_size": 6},
    "model": {"hidden_dim": 8},
    "evaluation": {"num_val_episodes": 2},
    "compute": {"strategy": "loop"},
}
NOTHING = ("meta_learning.outer_lr=0",)
"""Theta stays where it starts."""


def config(folder, name, *changes):
    places = [f"paths.checkpoint_dir={folder}", f"run.name={name}"]
    return RunConfig.from_dict(TINY, [*places, *changes])


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A FOMAML run that carries Adam's moments."""
    return train(
        config(
            tmp_path_factory.mktemp("runs"),
            "first",
            "meta_learning.algorithm=fomaml",
            "meta_learning.inner_optimizer=adam",
            "meta_learning.inner_state=carry",
        )
    )


@pytest.mark.parametrize("algorithm", ["reptile", "joint"])
def test_a_run_starts_where_another_ended_and_records_that(first, tmp_path, algorithm):
    """Its folder, a step of it and a file are the same; carried moments stay behind."""
    theta, _ = state.split(load_trained(first.run_dir).meta)
    file = tmp_path / "theta.npz"
    write_npz(file, theta)
    step = load_trained(first.run_dir).path
    for number, init in enumerate((first.run_dir, step, file)):
        changes = (f"run.init={init}", f"meta_learning.algorithm={algorithm}")
        run = train(config(tmp_path, f"second-{number}", *changes, *NOTHING))
        assert params.digest(run.meta) == params.digest(theta)
        record = json.loads((run.run_dir / "start.json").read_text())
        assert record["sha256"] == params.digest(theta)
        assert record["checkpoint"] == str(file if init == file else step)


def test_a_run_resumes_when_what_it_started_from_is_gone(first, tmp_path):
    theta, _ = state.split(first.meta)
    file = tmp_path / "theta.npz"
    write_npz(file, theta)
    init = f"run.init={file}"
    whole = train(config(tmp_path, "whole", init))
    asked = iter([False, True])
    train(config(tmp_path, "cut", init), should_stop=lambda: next(asked))
    file.unlink()
    with pytest.raises(CheckpointError, match=r"run.init was .*theta.npz', is None"):
        train(config(tmp_path, "cut"), resume=True)
    again = train(config(tmp_path, "cut", init), resume=True)
    assert params.digest(again.meta) == params.digest(whole.meta)


def test_joint_training_goes_on_with_its_head(tmp_path):
    pytest.importorskip("sklearn", reason="install it with: pip install scikit-learn")
    digits = (
        "meta_learning.algorithm=joint",
        "task_distribution.task_families=[digits]",
        "task_distribution.num_classes=3",
        "task_distribution.k_shot=1",
    )
    one = train(config(tmp_path, "one", *digits, "meta_learning.save_interval=1"))
    init = f"run.init={one.run_dir / 'steps' / '00000002'}"
    two = train(config(tmp_path, "two", *digits, init, *NOTHING))
    assert params.digest(two.meta) == params.digest(one.meta)
    meta = train(config(tmp_path, "meta", init, *digits[1:], *NOTHING)).meta
    assert params.digest(meta) == params.digest(state.without_head(one.meta))


def test_what_cannot_be_started_from_is_said(first, tmp_path):
    with pytest.raises(ConfigError, match=r"run.init: no checkpoint at .*nowhere"):
        train(config(tmp_path, "a", "run.init=nowhere"))
    init = f"run.init={first.run_dir}"
    with pytest.raises(ParamMismatch, match=r"run.init .*shape \(8,\), expected \(9,"):
        train(config(tmp_path, "b", init, "model.hidden_dim=9"))
    write_npz(tmp_path / "other.npz", {"w": np.zeros(2, np.float32)})
    with pytest.raises(ParamMismatch, match="is missing"):
        train(config(tmp_path, "c", f"run.init={tmp_path / 'other.npz'}"))
