"""Shards that the run's strategy cannot compute: by themselves, and on the record."""

import json
import shutil
from dataclasses import replace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.dashboard.run_folder import RunFolder
from mlpeft.errors import MlpeftError
from mlpeft.fused import CompilerFailed
from mlpeft.models.build import seeded
from mlpeft.report import origins
from mlpeft.rounds import RoundResult
from mlpeft.tasks.build import build_tasks
from mlpeft.tasks.episode import Episode
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from mlpeft.training.plan import train_shards, validation_shards
from mlpeft.training.runner import ShardRunner
from mlpeft.work import ShardUpdate

SMALL, LARGE = 4, 8


class SortsMany(nn.Module):
    """Has a primitive that cannot be native code, but only for many examples."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def __call__(self, x):
        return self.layer(mx.sort(x, axis=-1) if len(x) > SMALL else x)


class TwoSizes:
    """Tasks of which some are large; none of the seeds in `small` is."""

    def __init__(self, tasks, small):
        self._tasks, self._small = tasks, small

    def __getattr__(self, name):
        return getattr(self._tasks, name)

    def episode(self, task_id, seed):
        many = LARGE if seed % 2 and seed not in self._small else SMALL
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(many, 2)).astype(np.float32)
        y = (np.arange(many) % 2).astype(np.int32)
        return Episode(x, y, x, y)


def settings(folder, iterations=6):
    return RunConfig.from_dict(
        {
            "run": {"name": "two-sizes"},
            "meta_learning": {"meta_batch_size": 2, "num_meta_iterations": iterations},
            "task_distribution": {"num_train_tasks": 4, "num_val_tasks": 4},
            "model": {"backbone": "linear", "hidden_dim": 6, "num_layers": 1},
            "evaluation": {"num_val_episodes": 2, "num_inner_steps": 2},
            "paths": {"checkpoint_dir": str(folder)},
            "logging": {"log_dir": str(folder / "logs")},
            "compute": {"strategy": "fused", "shard_size": 1},
        }
    )


def runner_of(config):
    tasks = build_tasks(config)
    first = {t.seed for s in train_shards(config, tasks, 0) for t in s.tasks}
    with seeded(3):
        model = SortsMany()
    made = replace(
        tasks,
        train=TwoSizes(tasks.train, first),
        val=TwoSizes(tasks.val, range(2**64)),
    )
    return ShardRunner(config, made, model)


def trained(folder, iterations=6, **keys):
    config = settings(folder, iterations)
    return train(config, runner=runner_of(config), **keys)


def is_large(runner, shard):
    (spec,) = shard.tasks
    return len(runner.tasks.train.episode(spec.task_id, spec.seed).support_x) == LARGE


def all_shards(runner, rounds=6):
    made = range(rounds)
    return [s for i in made for s in train_shards(runner.config, runner.tasks, i)]


def test_only_a_shard_that_cannot_be_fused_is_computed_otherwise(tmp_path):
    runner = runner_of(settings(tmp_path))
    meta, seen = runner.initial_meta(), set()
    for shard in all_shards(runner):
        update = runner.run(meta, shard)
        large = is_large(runner, shard)
        assert ("vmap in place of fused" in update.otherwise) == large
        assert ("primitive Sort" in update.otherwise) == large
        seen.add(large)
    assert seen == {True, False}


def test_its_bits_do_not_depend_on_what_a_process_computed_before(tmp_path):
    """A worker that begins with the last shard comes to the same updates."""
    forwards, backwards = (runner_of(settings(tmp_path)) for _ in range(2))
    meta, shards = forwards.initial_meta(), all_shards(forwards)
    there = [params.digest(forwards.run(meta, s).total) for s in shards]
    back = [params.digest(backwards.run(meta, s).total) for s in reversed(shards)]
    assert there == back[::-1]


def test_a_run_keeps_its_strategy_and_records_what_was_computed_otherwise(tmp_path):
    done = trained(tmp_path)
    assert RunConfig.load(done.run_dir / "config.yaml").compute.strategy == "fused"
    newest, _ = checkpoint.newest(done.run_dir)
    (kind, text), *others = newest.progress.otherwise.items()
    assert (kind, others) == ("train", [])
    assert text.startswith("since meta-iteration ")
    assert "vmap in place of fused: the primitive Sort is not" in text
    page = str(origins.section([RunFolder(done.run_dir)]))
    assert f"fused; {text} (train)" in page


def test_the_run_says_so_once_and_again_when_it_is_resumed(tmp_path):
    class Messages:
        def __init__(self):
            self.texts = []

        def message(self, text):
            self.texts.append(text)

        def __getattr__(self, _):
            return lambda *_: None

    first, second = Messages(), Messages()
    trained(tmp_path, reporter=first)
    trained(tmp_path, 8, reporter=second, resume=True)
    assert len(first.texts) == 1
    assert second.texts == first.texts


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_resumed_run_has_the_bytes_of_one_that_went_through(tmp_path, stop_after):
    through = trained(tmp_path)
    digest = params.digest(through.meta)
    state = json.loads(
        (checkpoint.step_folder(through.run_dir, 6) / "state.json").read_bytes()
    )
    shutil.rmtree(through.run_dir)
    config = settings(tmp_path)
    steps = iter(range(100))
    train(
        config,
        runner=runner_of(config),
        should_stop=lambda: next(steps) >= stop_after,
    )
    resumed = trained(tmp_path, resume=True)
    assert params.digest(resumed.meta) == digest
    again = checkpoint.step_folder(resumed.run_dir, 6) / "state.json"
    assert json.loads(again.read_bytes()) == state


def test_a_compiler_that_vanishes_in_mid_run_ends_it_and_theta_keeps_its_strategy(
    tmp_path, monkeypatch
):
    """Another strategy has other bits; the reason is told, with what to do."""

    def fails(*_):
        raise CompilerFailed("there is no C compiler; install gcc or clang")

    runner = runner_of(settings(tmp_path))
    monkeypatch.setattr("mlpeft.fused.program.load", fails)
    with pytest.raises(MlpeftError, match="fused: there is no C compiler"):
        runner.run(runner.initial_meta(), all_shards(runner)[0])


def test_a_validation_that_cannot_be_fused_says_so_too(tmp_path):
    runner = runner_of(settings(tmp_path))
    runner.calibrate()
    runner.tasks = replace(runner.tasks, val=TwoSizes(runner.tasks.train, ()))
    shards = validation_shards(runner.config, runner.tasks, 0)
    said = {runner.run(runner.initial_meta(), s).otherwise for s in shards}
    assert any("vmap in place of fused" in text for text in said)


def test_a_round_says_what_its_first_such_shard_says():
    updates = [
        ShardUpdate(n, 1, {}, {"loss": np.zeros(1, np.float32)}, otherwise=text)
        for n, text in enumerate(["", "b", "c"])
    ]
    assert RoundResult.of(updates[::-1]).otherwise == "b"
    assert RoundResult.of(updates[:1]).otherwise == ""
