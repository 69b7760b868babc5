"""A training under faults and the same without: the verdict."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mlpeft.config import RunConfig
from mlpeft.runtime.chaos import striker
from mlpeft.runtime.chaos.observer import Observer
from mlpeft.runtime.chaos.processes import ChildProcess, private_environment
from mlpeft.runtime.chaos.schedule import Fault, schedule
from mlpeft.runtime.chaos.striker import Striker
from mlpeft.runtime.chaos.training import Training
from mlpeft.training import accepted, checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TICK_S: Final = 0.02
FIRST_ROUND_S: Final = 120.0
"""How long the first round may take, and the next one after the last fault."""
COMPARED: Final = ("theta.safetensors", "outer.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of the training.

    Attributes:
        seed: Of the schedule.
        seconds: From the first round to the end of the faults.
        workers: Worker processes.
        runs: Trainings, of which all but the last were finished.
        rounds: Rounds that were seen to be finished, repeated ones included.
        survived: Faults, by kind.
        impossible: Kinds of fault that this system cannot produce, and why.
        longest_stall_s: Longest time without a finished round.
        goodput: Seconds of the tasks that theta has at the end, each as long as it
            usually took, of all seconds of the workers; None: no task was timed.
        same_bytes: Whether theta and the optimiser's state are those of the run without
            faults, at the end of every run; of rounds that do not wait, whether they
            are those of the replay.
        compared_with: Which of the two.
        orphans: Processes that were left.
        problems: What else went wrong.
    """

    seed: int
    seconds: float
    workers: int
    runs: int
    rounds: int
    survived: dict[str, int]
    impossible: dict[str, str]
    longest_stall_s: float
    goodput: float | None
    same_bytes: bool
    orphans: int
    compared_with: str = "the run without faults"
    problems: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether every promise held."""
        return self.same_bytes and not self.orphans and not self.problems


class Experiment:
    """Runs a training under faults, and the same without.

    Args:
        config: Of the training; where it writes is changed.
        folder: Private and empty.
        seed: Of the schedule.
        seconds: How long faults happen.
        workers: Worker processes.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        *,
        seed: int,
        seconds: float,
        workers: int,
    ) -> None:
        self._folder = folder
        self._seed = seed
        self._seconds = seconds
        self._workers = workers
        self._config = config.with_changes(
            paths={"checkpoint_dir": folder / "checkpoints"},
            logging={
                "log_dir": folder / "logs",
                "wandb_enabled": False,
                "tensorboard_enabled": False,
                "trackio_enabled": False,
            },
            cluster={"min_workers": 1},
        )
        (folder / "chaos.yaml").write_text(self._config.to_yaml(), encoding="utf-8")

    def run(self, advance: Callable[[int], None] = lambda _: None) -> Verdict:
        """Strike, end all, compute the same without faults, compare.

        Args:
            advance: Told the seconds of the schedule that are over.

        Raises:
            MlpeftError: If the training does not even begin.
        """
        training = Training(self._config, self._workers, self._folder)
        observer = Observer(lambda: training.address)
        try:
            observer.start()
            struck = self._strike(training, observer, advance)
            clock = observer.stop()
            orphans = training.end()
        finally:
            training.close()
        stops = self._ends(training)
        waits = self._config.cluster.mode == "sync"
        same = (self._compare if waits else self._replay)(training, stops)
        task_s = observer.task_s()
        goodput = None
        if task_s is not None and clock.lasted_s:
            useful_s = task_s * self._tasks(training, stops)
            goodput = round(useful_s / (self._workers * clock.lasted_s), 3)
        return Verdict(
            seed=self._seed,
            seconds=self._seconds,
            workers=self._workers,
            runs=len(training.runs),
            rounds=clock.rounds,
            survived={fault.value: struck.struck[fault] for fault in Fault},
            impossible={
                fault.value: why for fault, why in striker.impossible().items()
            },
            longest_stall_s=round(clock.longest_s, 2),
            goodput=goodput,
            same_bytes=same,
            compared_with="the run without faults" if waits else "the replay",
            orphans=orphans,
            problems=training.problems,
        )

    def _strike(
        self, training: Training, observer: Observer, advance: Callable[[int], None]
    ) -> Striker:
        """Apply the schedule; afterwards one more round must be finished."""
        faults = frozenset(Fault) - striker.impossible().keys()
        strikes = schedule(self._seed, self._seconds, self._workers, faults)
        applied = Striker(training, strikes)
        if not _until(lambda: observer.rounds > 0, FIRST_ROUND_S):
            training.problems.append(f"no round in the first {FIRST_ROUND_S:g} s")
            return applied
        start = time.monotonic()
        while (now := time.monotonic() - start) < self._seconds or not applied.is_over:
            applied.advance(now)
            advance(int(min(now, self._seconds)))
            time.sleep(TICK_S)
        rounds = observer.rounds

        def goes_on() -> bool:
            applied.advance(time.monotonic() - start)
            return observer.rounds > rounds

        if not _until(goes_on, FIRST_ROUND_S):
            training.problems.append(
                f"no round in the {FIRST_ROUND_S:g} s after the last fault"
            )
        return applied

    def _ends(self, training: Training) -> dict[str, int]:
        """The newest checkpoint of each run: all meta-iterations, but for the last."""
        stops = {}
        for name in training.runs:
            steps = training.steps(name)
            if steps:
                stops[name] = steps[-1]
            else:
                training.problems.append(f"run {name} has no checkpoint")
        return stops

    def _tasks(self, training: Training, stops: dict[str, int]) -> int:
        """Tasks that the newest checkpoints have learned from."""
        tasks = 0
        for name, iterations in stops.items():
            run_dir = training.run_dir(name)
            resolved = RunConfig.load(run_dir / "config.yaml")
            batch = resolved.meta_learning.meta_batch_size
            size = resolved.compute.shard_size or batch
            log = accepted.read(run_dir, torn=True)
            for iteration in range(iterations):
                counted = log.get(iteration)
                tasks += (
                    batch
                    if counted is None
                    else size * (len(counted.shards) + len(counted.late))
                )
        return tasks

    def _replay(self, training: Training, stops: dict[str, int]) -> bool:
        """Whether each run has the bytes that are computed from what counted."""
        same = bool(stops)
        for name in stops:
            process = ChildProcess(
                f"replay of {name}",
                "mlpeft",
                ["replay", str(training.run_dir(name)), "--json"],
                private_environment(self._folder),
            )
            try:
                _until(lambda p=process: p.exit_code is not None, float("inf"))  # type: ignore[misc]
            finally:
                if process.exit_code is None:
                    process.kill()
            if process.exit_code != 0:
                same = False
                training.problems.append(process.story())
        return same

    def _compare(self, training: Training, stops: dict[str, int]) -> bool:
        """Whether each run ended in the bytes of the one without faults."""
        if not stops:
            return False
        file = self._folder / "reference.yaml"
        name = "reference"
        config = self._config.with_changes(
            run={"name": name},
            # Every step that is compared must be there at the end.
            paths={"keep_last": len(stops) + 1, "save_seconds": 1e9},
            meta_learning={
                "save_interval": self._config.meta_learning.num_meta_iterations
            },
        )
        file.write_text(config.to_yaml(), encoding="utf-8")
        process = ChildProcess(
            name,
            "mlpeft.runtime.chaos.reference",
            [str(file), *map(str, sorted(set(stops.values())))],
            private_environment(self._folder),
        )
        try:
            _until(lambda: process.exit_code is not None, float("inf"))
        finally:
            if process.exit_code is None:
                process.kill()
        if process.exit_code != 0:
            training.problems.append(f"without faults: {process.story()}")
            return False
        same = True
        for run, iteration in stops.items():
            ours = checkpoint.step_folder(training.run_dir(run), iteration)
            theirs = checkpoint.step_folder(training.run_dir(name), iteration)
            for part in COMPARED:
                if (ours / part).read_bytes() != (theirs / part).read_bytes():
                    same = False
                    training.problems.append(
                        f"{part} of {run} after meta-iteration {iteration} differs"
                    )
        return same


def _until(condition: Callable[[], bool], within_s: float) -> bool:
    """Wait until it holds; whether it did in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(TICK_S)
    return True
