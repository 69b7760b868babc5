"""The log of what counted, and runs computed again from it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.errors import CheckpointError
from mlpeft.late_updates import with_late
from mlpeft.rounds import LateUpdate, RoundUpdates, SeparateTotals, SummedTotals
from mlpeft.seeds import Purpose, generator
from mlpeft.training import accepted, checkpoint
from mlpeft.training.accepted import Accepted, AcceptedLog
from mlpeft.training.executor import LocalExecutor
from mlpeft.training.loop import train
from mlpeft.training.plan import train_shards
from mlpeft.training.replay import Replay
from mlpeft.training.runner import ShardRunner
from mlpeft.work import Displacement, Kind, ShardUpdate

LINES = [
    Accepted(0, (0, 2), ()),
    Accepted(1, (0, 1, 2), ((0, 1),)),
    Accepted(3, (), ((1, 3), (2, 0))),
]


def written(tmp_path, lines=LINES):
    log = AcceptedLog(tmp_path)
    for each in lines:
        log.note(each)
    log.flush()
    return log


def test_what_is_written_is_read(tmp_path):
    written(tmp_path)
    assert accepted.read(tmp_path) == {each.iteration: each for each in LINES}


def test_lines_that_a_checkpoint_does_not_have_are_cut(tmp_path):
    """Also one that a kill tore."""
    log = written(tmp_path)
    with (tmp_path / accepted.FILE).open("a") as file:
        file.write('{"iteration": 4, "sha')
    log.cut(3)
    assert list(accepted.read(tmp_path)) == [0, 1]
    log.cut(0)
    assert not (tmp_path / accepted.FILE).exists()


def test_lines_are_on_disk_only_when_they_must_be(tmp_path):
    log = AcceptedLog(tmp_path)
    log.note(LINES[0])
    assert not (tmp_path / accepted.FILE).exists()
    log.flush()
    log.flush()
    assert list(accepted.read(tmp_path)) == [0]


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b'{"iteration": -1, "shards": [], "late": []}',
        b'{"iteration": 1, "shards": [true], "late": []}',
        b'{"iteration": 1, "shards": [0, 0], "late": []}',
        b'{"iteration": 1, "shards": [0], "late": [[1, 0]]}',
        b'{"iteration": 1, "shards": [0], "late": [[0]]}',
        b'{"iteration": 1, "shards": 3, "late": []}',
        b'{"iteration": 1}',
        b"\xff",
    ],
)
def test_a_damaged_line_is_named(tmp_path, line):
    (tmp_path / accepted.FILE).write_bytes(LINES[0].line().encode() + line + b"\n")
    with pytest.raises(CheckpointError, match="line 2 is damaged"):
        accepted.read(tmp_path)


# --- late updates in the totals -------------------------------------------------------


def update(index, value, count=2):
    return ShardUpdate(index, count, {"w": np.full(3, value, np.float32)})


def test_a_late_displacement_counts_from_the_newest_theta_with_its_weight():
    """Three versions late: weight 1/2. Two tasks moved theta 1 to 4, so by 3 each;
    from theta 10 they count as 10 + 3/2 each."""
    thetas = {0: {"w": np.ones(3, np.float32)}, 3: {"w": np.full(3, 10, np.float32)}}
    updates = RoundUpdates(summed=True)
    updates.add(update(0, 24.0))
    result = updates.result(early=True, late=[LateUpdate(0, update(1, 8.0))])
    joined = with_late(result, thetas, 3, Displacement.FROM_THETA)
    assert joined.totals.count == 4
    np.testing.assert_allclose(joined.totals.total["w"], 24 + 2 * 11.5)
    assert joined.late == ()
    assert len(joined.per_task) == 2


def test_a_late_gradient_counts_with_its_weight():
    updates = RoundUpdates(summed=False)
    updates.add(update(0, 6.0))
    result = updates.result(early=True, late=[LateUpdate(0, update(1, 8.0))])
    joined = with_late(result, {}, 3, Displacement.AS_IT_IS)
    assert isinstance(joined.totals, SeparateTotals)
    np.testing.assert_allclose(joined.totals.totals[1]["w"], 4.0)


def test_carried_state_counts_as_it_is():
    updates = RoundUpdates(summed=True)
    result = updates.result(early=True, late=[LateUpdate(0, update(1, 8.0))])
    joined = with_late(result, {}, 3, Displacement.AS_IT_IS, {"w"})
    assert joined.totals == SummedTotals(joined.totals.total, 2)
    np.testing.assert_allclose(joined.totals.total["w"], 8.0)


# --- runs -----------------------------------------------------------------------------


def config(tmp_path, name="run", **changes):
    tree = {
        "run": {"name": name},
        "meta_learning": {
            "meta_batch_size": 4,
            "num_meta_iterations": 12,
            "inner_lr": 0.05,
            "outer_lr": 0.4,
            "num_inner_steps": 2,
            "outer_optimizer": "nesterov",
            "eval_interval": 6,
            "save_interval": 3,
        },
        "task_distribution": {"num_train_tasks": None, "query_size": 10},
        "model": {"hidden_dim": 8},
        "evaluation": {"num_val_episodes": 4},
        "compute": {"shard_size": 1, "strategy": "loop"},
        "paths": {"checkpoint_dir": str(tmp_path), "keep_last": 20},
        "cluster": {"mode": "quorum", "max_staleness": 3},
    }
    for section, keys in changes.items():
        tree[section] |= keys
    return RunConfig.from_dict(tree)


class Loose(LocalExecutor):
    """Leaves shards out, as a seed says, and returns some of them later."""

    closes_early = True

    def __init__(self, runner, seed, spare):
        super().__init__(runner)
        self.spare_shards = spare
        self._rng = generator(seed, Purpose.SAMPLE)
        self._kept = []

    def run(self, version, meta, shards):
        if shards[0].kind is not Kind.TRAIN:
            return super().run(version, meta, shards)
        updates = RoundUpdates(summed=True)
        own = self._rng.permutation(len(shards))
        for index in own[:2]:
            updates.add(self.runner.run(meta, shards[index]))
        late = [each for each in self._kept if version - each.round <= 3][:2]
        self._kept = [each for each in self._kept if each not in late]
        self._kept.append(LateUpdate(version, self.runner.run(meta, shards[own[2]])))
        return updates.result(early=True, late=late)


def trained(settings, seed=0, **options):
    runner = ShardRunner.from_config(settings)
    spare = settings.cluster.mode == "async"
    return train(
        settings, runner=runner, executor=Loose(runner, seed, spare), **options
    )


def stop_after(iterations):
    calls = iter(range(iterations + 1))
    return lambda: next(calls) == iterations


@pytest.mark.parametrize("mode", ["quorum", "async"])
@pytest.mark.parametrize("compression", ["none", "int8"])
def test_a_run_that_did_not_wait_is_computed_again_to_the_same_bytes(
    tmp_path, mode, compression
):
    settings = config(tmp_path, cluster={"mode": mode, "compression": compression})
    result = trained(settings)
    other = trained(config(tmp_path, "b", cluster={"mode": mode}), seed=1)
    assert params.digest(other.meta) != params.digest(result.meta)
    runner = ShardRunner.from_config(settings)
    found = list(Replay(runner, result.run_dir).run())
    assert [each.iteration for each in found] == [0, 3, 6, 9, 12]
    assert all(each.same for each in found)


def test_a_stopped_run_that_goes_on_is_computed_again_to_the_same_bytes(tmp_path):
    """Who is late then is another matter; the log is cut and goes on."""
    settings = config(tmp_path)
    trained(settings, should_stop=stop_after(5))
    (tmp_path / "run" / "steps" / "00000005" / "state.json").unlink()
    result = trained(settings, seed=7, resume=True)
    assert result.iteration == 12
    log = accepted.read(result.run_dir)
    assert list(log) == list(range(12))
    found = list(Replay(ShardRunner.from_config(settings), result.run_dir).run())
    assert all(each.same for each in found)


def test_another_log_gives_other_bytes(tmp_path):
    """Else the tests above would show nothing."""
    settings = config(tmp_path)
    result = trained(settings)
    lines = list(accepted.read(result.run_dir).values())
    changed = replace(lines[4], shards=tuple(sorted({0, 1, 2, 3} - {*lines[4].shards})))
    lines[4] = changed
    text = "".join(each.line() for each in lines)
    (result.run_dir / accepted.FILE).write_text(text)
    found = list(Replay(ShardRunner.from_config(settings), result.run_dir).run())
    assert [each.same for each in found] == [True, True, False, False, False]


def test_what_counted_is_among_the_metrics(tmp_path):
    result = trained(config(tmp_path))
    lines = (result.run_dir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    last = [each for each in records if each["kind"] == "train"][-1]
    assert (last["shards_in_time"], last["shards_late"]) == (2, 1)


def test_a_run_of_one_process_has_no_log_and_all_its_shards(tmp_path):
    settings = config(tmp_path)
    result = train(settings)
    assert not (result.run_dir / accepted.FILE).exists()
    plain = config(tmp_path, "plain", cluster={"mode": "sync"})
    assert params.digest(train(plain).meta) == params.digest(result.meta)


def test_a_log_of_another_configuration_is_named(tmp_path):
    settings = config(tmp_path)
    result = trained(settings)
    (result.run_dir / accepted.FILE).write_text(Accepted(2, (99,), ()).line())
    with pytest.raises(CheckpointError, match="shard 99 of meta-iteration 2"):
        list(Replay(ShardRunner.from_config(settings), result.run_dir).run())


def test_spare_shards_follow_those_of_the_meta_batch(tmp_path):
    settings = config(tmp_path, compute={"shard_size": 3})
    tasks = ShardRunner.from_config(settings).tasks
    plain = train_shards(settings, tasks, 5)
    spare = train_shards(settings, tasks, 5, spare=True)
    assert spare[: len(plain)] == plain
    assert [shard.index for shard in spare] == [0, 1, 2, 3]
    assert len({shard.tasks for shard in spare}) == 4


def test_a_log_that_cannot_be_written_loses_no_line(tmp_path, monkeypatch):
    log = written(tmp_path)
    log.note(Accepted(5, (0,), ()))
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(CheckpointError, match="free some space"):
            log.flush()
    assert list(accepted.read(tmp_path)) == [0, 1, 3]
    log.flush()
    assert list(accepted.read(tmp_path)) == [0, 1, 3, 5]
    assert checkpoint.step_folders(tmp_path) == []
