"""Several meta-iterations in one native call: the same bytes as one by one."""

import json

import pytest

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.errors import MlpeftError
from mlpeft.training import strides
from mlpeft.training.executor import IteratingExecutor, LocalExecutor
from mlpeft.training.loop import train
from mlpeft.training.runner import ShardRunner


def config(tmp_path, algorithm="reptile", **changes):
    tree = {
        "run": {"name": "strides"},
        "meta_learning": {
            "algorithm": algorithm,
            "meta_batch_size": 3,
            "num_meta_iterations": 40,
            "inner_lr": 0.1,
            "outer_lr": 0.5,
            "outer_schedule": "linear",
            "num_inner_steps": 2,
            "inner_batch_size": 4,
            "eval_interval": 25,
            "save_interval": 15,
        },
        "task_distribution": {
            "num_train_tasks": 8,
            "num_val_tasks": 4,
            "query_size": 10,
        },
        "model": {"hidden_dim": 8},
        "evaluation": {"num_val_episodes": 6},
        "compute": {"strategy": "fused"},
        "paths": {"checkpoint_dir": str(tmp_path)},
    }
    for key, value in changes.items():
        section, name = key.split("__")
        tree.setdefault(section, {})[name] = value
    return RunConfig.from_dict(tree)


class Recording(IteratingExecutor):
    """Notes where each stride begins and how many meta-iterations it has."""

    def __init__(self, runner):
        super().__init__(runner)
        self.strides = []

    def iterate(self, version, meta, rounds, lrs):
        done = super().iterate(version, meta, rounds, lrs)
        if done is not None:
            self.strides.append((version, len(rounds)))
        return done


def trained(settings, kind=Recording, **keys):
    runner = ShardRunner.from_config(settings)
    executor = kind(runner)
    return train(settings, runner=runner, executor=executor, **keys), executor


CARRIED = {
    "meta_learning__inner_optimizer": "adam",
    "meta_learning__inner_state": "carry",
}


def stop_after(iterations):
    calls = iter(range(iterations + 1))
    return lambda: next(calls) == iterations


def metrics(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if k != "time"} for line in lines
    ]


def assert_same(ours, theirs):
    assert params.digest(ours.meta) == params.digest(theirs.meta)
    assert ours.best == theirs.best
    assert metrics(ours.run_dir) == metrics(theirs.run_dir)


@pytest.fixture(autouse=True)
def as_many_as_may_be(monkeypatch):
    """Whatever the machine is busy with."""
    monkeypatch.setattr(strides, "LONG_CALL_S", 1e6)
    monkeypatch.setattr(strides, "MOST_ITERATION_S", 1e6)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"compute__shard_size": 1},
        {"algorithm": "fomaml"},
        {"algorithm": "maml++", "meta_learning__multi_step_iterations": 20},
    ],
    ids=["one shard", "a shard a task", "FOMAML", "losses that follow the iteration"],
)
def test_a_run_in_strides_ends_in_the_bytes_of_one_round_after_another(
    tmp_path, changes
):
    """Theta, best validation, and every line of metrics.jsonl."""
    ours, _ = trained(config(tmp_path / "a", **changes))
    theirs, _ = trained(config(tmp_path / "b", **changes), LocalExecutor)
    assert_same(ours, theirs)


def test_a_stride_ends_where_the_run_is_validated_or_saved(tmp_path):
    """The first compiles, then twice as many each; up to 15, 25, 30 and 40."""
    _, executor = trained(config(tmp_path))
    assert executor.strides == [
        *((0, 1), (1, 1), (2, 2), (4, 4), (8, 7)),
        *((15, 10), (25, 5), (30, 10)),
    ]


def test_a_run_that_is_stopped_in_mid_stride_goes_on_to_the_same_bytes(tmp_path):
    whole, _ = trained(config(tmp_path / "a"))
    first, executor = trained(config(tmp_path / "b"), should_stop=stop_after(18))
    assert (first.iteration, first.reason) == (18, "stopped")
    assert executor.strides[-1] == (15, 3)
    second, _ = trained(config(tmp_path / "b"), resume=True)
    assert_same(second, whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"meta_learning__outer_optimizer": "adam"},
        {"meta_learning__update_clip": 1.0},
        {"meta_learning__aggregation": "coordinate_median"},
        {
            "meta_learning__inner_optimizer": "adam",
            "meta_learning__inner_state": "carry",
        },
        {"compute__shard_size": 2},
        {"compute__strategy": "loop"},
        {"cluster__compression": "int8"},
        {"algorithm": "reptile_serial"},
    ],
    ids=lambda changes: "".join(map(str, changes.values())),
)
def test_no_other_run_is_computed_in_strides(tmp_path, changes):
    settings = {"meta_learning__num_meta_iterations": 3} | changes
    result, executor = trained(config(tmp_path, **settings))
    assert (result.iteration, executor.strides) == (3, [])


def test_a_step_too_far_within_a_stride_ends_the_run_where_it_happened(tmp_path):
    """The state and the sentence of one round after another."""
    runaway = {"algorithm": "fomaml", "meta_learning__outer_lr": 1e9}
    ends = []
    for name, kind in (("a", Recording), ("b", LocalExecutor)):
        with pytest.raises(MlpeftError, match="is not finite") as error:
            trained(config(tmp_path / name, **runaway), kind)
        saved = (tmp_path / name / "strides" / "steps").iterdir()
        ends.append((str(error.value), sorted(path.name for path in saved)))
    assert ends[0] == ends[1]
