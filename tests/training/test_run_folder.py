"""A run's folder through mishaps: nothing is lost, and what goes on is right."""

import io
import itertools
import json
import logging
import re
import shutil
import subprocess
import sys
import time

import pytest
from rich.console import Console

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.errors import CheckpointError, MlpeftError
from mlpeft.reporting import JsonlReporter, Reporters
from mlpeft.reporting.console import ConsoleReporter
from mlpeft.reporting.log_file import LogReporter
from mlpeft.training import checkpoint
from mlpeft.training.executor import LocalExecutor
from mlpeft.training.loop import train
from mlpeft.training.run_folder import check_unfinished, open_run
from mlpeft.training.runner import ShardRunner
from mlpeft.work import Kind, RoundInterruptedError

TINY = {
    "run": {"seed": 2},  # its best step is neither the first nor the last: 4 of 12
    "meta_learning": {
        "num_meta_iterations": 12,
        "inner_lr": 0.3,
        "outer_lr": 0.5,
        "num_inner_steps": 2,
        "eval_interval": 4,
        "save_interval": 2,
    },
    "task_distribution": {"num_train_tasks": 8, "num_val_tasks": 4, "query_size": 10},
    "model": {"hidden_dim": 8},
    "evaluation": {"num_val_episodes": 6},
    "compute": {"strategy": "loop", "shard_size": 1},
}


def config(folder, *changes):
    return RunConfig.from_dict(TINY, [f"paths.checkpoint_dir={folder}", *changes])


def stop_after(iterations):
    calls = iter(range(iterations + 1))
    return lambda: next(calls) == iterations


def steps(run_dir):
    return [int(path.name) for path in checkpoint.step_folders(run_dir)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing befell."""
    result = train(config(tmp_path_factory.mktemp("whole")))
    assert checkpoint.best(result.run_dir).name == "00000004"
    return result


def assert_same_end(result, whole):
    assert params.digest(result.meta) == params.digest(whole.meta)
    assert result.best == whole.best
    ours, theirs = (checkpoint.best(r.run_dir) for r in (result, whole))
    assert ours.name == theirs.name
    assert _records(result.run_dir) == _records(whole.run_dir)


def _records(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [{**json.loads(line), "time": None} for line in lines]


# --- going on -------------------------------------------------------------------------


def test_a_run_that_was_stopped_in_a_validation_makes_up_for_it(tmp_path, whole):
    """Theta would be right without it; the best step and patience would not."""

    class Stopping(LocalExecutor):
        def run(self, version, meta, shards):
            if version == 8 and shards[0].kind is Kind.VALIDATE:
                raise RoundInterruptedError("stopped")
            return super().run(version, meta, shards)

    runner = ShardRunner.from_config(config(tmp_path))
    first = train(config(tmp_path), runner=runner, executor=Stopping(runner))
    assert (first.iteration, first.reason) == (8, "stopped")
    assert_same_end(train(config(tmp_path), resume=True), whole)


def test_a_round_that_fails_costs_none_of_those_before_it(tmp_path, whole):
    class Failing(LocalExecutor):
        def run(self, version, meta, shards):
            if version == 7:
                raise MlpeftError("shard 0 failed everywhere")
            return super().run(version, meta, shards)

    runner = ShardRunner.from_config(config(tmp_path))
    with pytest.raises(MlpeftError, match="failed everywhere"):
        train(config(tmp_path), runner=runner, executor=Failing(runner))
    assert checkpoint.newest(tmp_path / "run")[0].progress.iteration == 7
    assert_same_end(train(config(tmp_path), resume=True), whole)


def test_rounds_that_take_long_are_each_saved_whatever_the_interval(tmp_path, whole):
    """A process that is killed repeats what was not saved.

    1. Checkpoints are due every 1000 meta-iterations, or when time is up.
    2. Time is up after every round: each is on disk.
    3. Time is never up: only what a validation found best, 0 and 4, and the end are.
    """
    changes = ("meta_learning.save_interval=1000", "paths.keep_last=99")
    slow = train(config(tmp_path / "slow", "paths.save_seconds=1e-9", *changes))
    assert steps(slow.run_dir) == list(range(13))
    quick = train(config(tmp_path / "quick", "paths.save_seconds=1e9", *changes))
    assert steps(quick.run_dir) == [0, 4, 12]
    assert_same_end(slow, whole)
    assert_same_end(quick, whole)


def test_a_broken_step_is_set_aside_and_costs_no_sound_one(tmp_path, whole):
    """With keep_last=1 a broken 8 must not outlast a sound 7 as "the newest"."""
    few = config(tmp_path, "paths.keep_last=1")
    first = train(few, should_stop=stop_after(6))
    broken = first.run_dir / "steps" / "00000008"
    broken.mkdir()
    (broken / "state.json").write_text("{")
    train(few, resume=True, should_stop=stop_after(1))
    found, skipped = checkpoint.newest(first.run_dir)
    assert found.progress.iteration == 7
    assert skipped == []
    assert broken.with_name("00000008.broken").is_dir()
    assert_same_end(train(few, resume=True), whole)


def test_a_best_step_that_was_written_but_not_named_is_named(tmp_path, whole):
    """Killed between the two: the state knows better than the file."""
    first = train(config(tmp_path), should_stop=stop_after(6))
    named = checkpoint.best(first.run_dir)
    assert named.name == "00000004"
    (first.run_dir / "best").write_text("00000000\n")
    again = train(config(tmp_path), resume=True, should_stop=stop_after(0))
    assert checkpoint.best(again.run_dir) == named
    assert_same_end(train(config(tmp_path), resume=True), whole)


def test_whoever_starts_a_run_again_may_leave_open_whether_it_is_there(tmp_path, whole):
    """`resume=None`: begin, then go on, as one and the same call."""
    first = train(config(tmp_path), resume=None, should_stop=stop_after(5))
    second = train(config(tmp_path), resume=None)
    assert (first.iteration, second.iteration) == (5, 12)
    assert_same_end(second, whole)


def test_a_run_that_is_done_is_not_taken_up_by_mistake(tmp_path):
    train(config(tmp_path))
    runner = ShardRunner.from_config(config(tmp_path))
    run = open_run(runner, resume=None)
    with pytest.raises(
        CheckpointError, match=r"done after 12 meta-iterations.*--resume"
    ):
        check_unfinished(run)
    more = config(tmp_path, "meta_learning.num_meta_iterations=13")
    check_unfinished(open_run(ShardRunner.from_config(more), resume=None))


def test_a_folder_of_broken_steps_alone_is_never_begun_anew(tmp_path):
    train(config(tmp_path), should_stop=stop_after(1))
    for path in checkpoint.step_folders(tmp_path / "run"):
        (path / "state.json").write_text("{")
    for resume in (None, False):
        with pytest.raises(CheckpointError, match=r"already holds a run.*state\.json"):
            train(config(tmp_path), resume=resume)


def test_a_wall_clock_that_jumps_changes_nothing_but_the_times(
    tmp_path, monkeypatch, whole
):
    """A day back, a day on, at every look."""
    days = itertools.cycle([0, -86400, 86400])
    earnest = time.time
    monkeypatch.setattr(time, "time", lambda: earnest() + next(days))
    settings = config(tmp_path, f"logging.log_dir={tmp_path / 'logs'}")
    screen = io.StringIO()
    reporters = Reporters(
        [
            JsonlReporter(clock=time.time),
            LogReporter(settings),
            ConsoleReporter(Console(file=screen, width=120)),
        ]
    )
    result = train(settings, reporter=reporters)
    assert_same_end(result, whole)
    assert " it/s" in screen.getvalue()
    assert re.search(r"-\d+(\.\d+)? it/s|-\d+:\d\d left", screen.getvalue()) is None


# --- a full disk ----------------------------------------------------------------------


class Disk:
    """`checkpoint.save_file`, which finds the disk full while `full` says so."""

    def __init__(self, monkeypatch):
        self.full = False
        self._write = checkpoint.save_file
        monkeypatch.setattr(checkpoint, "save_file", self.save_file)

    def save_file(self, tree, path):
        if self.full:
            raise OSError(28, "No space left on device", str(path))
        self._write(tree, path)


def filling(runner, disk, rounds):
    """An executor during whose rounds of these versions the disk is full."""

    class Filling(LocalExecutor):
        def run(self, version, meta, shards):
            disk.full = version in rounds
            return super().run(version, meta, shards)

    return Filling(runner)


def test_a_disk_that_is_full_for_a_while_costs_nothing(
    tmp_path, monkeypatch, caplog, whole
):
    """Steps 4 to 8 are not written, one of them the best; all is made up for later."""
    disk = Disk(monkeypatch)
    settings = config(tmp_path)
    runner = ShardRunner.from_config(settings)
    with caplog.at_level(logging.WARNING, logger="mlpeft"):
        result = train(
            settings, runner=runner, executor=filling(runner, disk, range(3, 9))
        )
    assert_same_end(result, whole)
    best = checkpoint.load(checkpoint.best(result.run_dir))
    assert best.progress.iteration == best.progress.best_iteration
    assert "meta-iteration 4 is not saved" in caplog.text
    assert "No space left on device); free some space" in caplog.text
    assert "the last saved meta-iteration is 2" in caplog.text


def test_the_best_step_is_kept_until_there_is_room_for_it(tmp_path, monkeypatch):
    """It is best at 4, full from 3 to 5; nothing after is better than theta of 4."""
    disk = Disk(monkeypatch)
    settings = config(tmp_path)
    runner = ShardRunner.from_config(settings)
    run = open_locked_run(runner)
    disk.full = True
    reporter = Silent()
    run.progress.iteration = run.progress.best_iteration = 4
    run.note_best()
    with pytest.raises(CheckpointError):
        run.save(reporter)
    then = params.digest(run.meta)
    disk.full = False
    run.meta = {name: leaf + 1 for name, leaf in run.meta.items()}
    run.progress.iteration = 6
    run.save(reporter)
    assert steps(run.run_dir) == [4, 6]
    best = checkpoint.load(checkpoint.best(run.run_dir))
    assert params.digest(best.meta) == then


class Silent:
    def checkpoint(self, iteration, path):
        pass


def open_locked_run(runner):
    folder = runner.config.paths.checkpoint_dir / runner.config.run.name
    folder.mkdir(parents=True)
    return open_run(runner, resume=False)


def test_a_run_that_never_could_be_saved_stops_at_once(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    settings = config(tmp_path)
    runner = ShardRunner.from_config(settings)
    with pytest.raises(CheckpointError, match="free some space"):
        train(settings, runner=runner, executor=filling(runner, disk, range(99)))


def test_the_end_of_a_run_waits_for_room_and_says_so(
    tmp_path, monkeypatch, caplog, whole
):
    monkeypatch.setattr("mlpeft.training.loop.AGAIN_S", 0.0)
    disk = Disk(monkeypatch)
    settings = config(tmp_path)
    runner = ShardRunner.from_config(settings)

    def room_is_made_after_three_tries():
        if caplog.text.count("the end of the run is not saved") == 2:
            disk.full = False
        return False

    result = train(
        settings,
        runner=runner,
        executor=filling(runner, disk, range(11, 99)),
        should_stop=room_is_made_after_three_tries,
    )
    assert caplog.text.count("the end of the run is not saved") == 3
    assert "Ctrl-C gives it up" in caplog.text
    assert_same_end(result, whole)


def test_who_asks_to_stop_on_a_full_disk_is_told_what_is_not_saved(
    tmp_path, monkeypatch
):
    disk = Disk(monkeypatch)
    settings = config(tmp_path)
    runner = ShardRunner.from_config(settings)
    executor = filling(runner, disk, range(5, 99))
    with pytest.raises(CheckpointError, match="free some space"):
        train(
            settings,
            runner=runner,
            executor=executor,
            should_stop=lambda: disk.full,
        )
    assert checkpoint.newest(tmp_path / "run")[0].progress.iteration == 4


SMALL_DISK = """
import sys
from pathlib import Path
from mlpeft import params
from mlpeft.training.executor import LocalExecutor
from mlpeft.training.runner import ShardRunner
from mlpeft.training.loop import train
from tests.training.test_run_folder import config

disk = Path(sys.argv[1])
filler = disk / "filler"
settings = config(disk)
runner = ShardRunner.from_config(settings)

def fill():
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return

class Filling(LocalExecutor):
    def run(self, version, meta, shards):
        if version == 3:
            fill()
        if version == 9:
            filler.unlink(missing_ok=True)
        return super().run(version, meta, shards)

result = train(settings, runner=runner, executor=Filling(runner))
with (result.run_dir / "metrics.jsonl").open() as lines:
    print(params.digest(result.meta), sum(1 for _ in lines))
"""


def test_a_disk_that_is_really_full_for_a_while_costs_nothing(tmp_path, whole):
    """A file system of a megabyte, filled to the last byte and emptied again."""
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    small = f"mount -t tmpfs -o size=1m none {tmp_path}"
    if shutil.which("unshare") is None or (
        subprocess.run([*mount, small], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs Linux, and leave to mount a small file system")
    script = f'{small} && exec "$@"'
    child = subprocess.run(
        [*mount, script, "sh", sys.executable, "-c", SMALL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    records = len(_records(whole.run_dir))
    assert child.stdout.split() == [params.digest(whole.meta), str(records)]
    assert "No space left on device" in child.stderr
