"""What a worker makes of a configuration, and how it is compared."""

import pytest

from mlpeft.config import RunConfig, parse_yaml
from mlpeft.runtime.compute import prepare

TINY = {
    "task_distribution": {"num_train_tasks": 2, "num_val_tasks": 2},
    "model": {"hidden_dim": 4, "num_layers": 1},
}


def fingerprint(*overrides):
    return prepare(RunConfig.from_dict(TINY, overrides)).fingerprint


def test_a_configuration_that_travelled_gives_the_same_fingerprint():
    prepared = prepare(RunConfig.from_dict(TINY))
    text = prepared.runner.config.to_yaml()
    there = prepare(RunConfig.from_dict(parse_yaml(text)))
    assert there.fingerprint == prepared.fingerprint
    assert there.runner.config == prepared.runner.config


@pytest.mark.parametrize(
    "override",
    [
        "run.seed=1",
        "model.hidden_dim=5",
        "meta_learning.inner_lr=0.5",
        "task_distribution.k_shot=3",
        "compute.strategy=loop",
        "compute.threads=2",
    ],
)
def test_whatever_decides_bits_changes_the_fingerprint(override):
    assert fingerprint(override) != fingerprint()


@pytest.mark.parametrize(
    "override", ["cluster.slots=2", "meta_learning.save_interval=7", "run.name=other"]
)
def test_what_decides_no_bits_does_not(override):
    assert fingerprint(override) == fingerprint()


def test_other_data_change_the_fingerprint(monkeypatch):
    from mlpeft.tasks.build import TaskSplits

    before = fingerprint()
    monkeypatch.setattr(TaskSplits, "digests", lambda _: {"digits": "other"})
    assert fingerprint() != before
