"""The queue's folder: what several processes may read and change at once.

    queue.json    every run and its state; replaced whole, under a lock
    0001.yaml     the configuration of run 1, as it was when it was added
    0001.end      how its coordinator ended, until `queue run` has read it
    changes.lock  held while queue.json is changed
    run.lock      held by the process that runs the queue

The system releases a lock when its holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Final

from mlpeft.errors import MlpeftError
from mlpeft.files import parse_json_object
from mlpeft.queue.entry import TO_RUN, QueuedRun, Search, State
from mlpeft.training.checkpoint import step_folders
from mlpeft.training.run_files import explained, write_whole
from mlpeft.training.run_folder import run_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mlpeft.config import RunConfig

FILE: Final = "queue.json"
PATIENCE_S: Final = 10.0
"""Longest wait for another process that changes the queue."""
ASK_S: Final = 0.02
GLANCE_S: Final = 0.5
"""Longest wait for processes that only ask who runs the queue."""
MOST_RUNS: Final = 10_000


class QueueError(MlpeftError):
    """A queue that cannot be read, changed or run as it was asked."""


class Queue:
    """A queue of runs. Nothing is kept in memory: other processes change it, too.

    Args:
        folder: Its folder; made when the first run is added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def config_file(self, number: int) -> Path:
        """The configuration of a run."""
        return self.folder / f"{number:04d}.yaml"

    def end_file(self, number: int) -> Path:
        """How the coordinator of a run ended."""
        return self.folder / f"{number:04d}.end"

    # --- reading ----------------------------------------------------------------------

    def runs(self) -> tuple[QueuedRun, ...]:
        """All runs in the order in which they were added.

        Raises:
            QueueError: If the queue is damaged.
        """
        runs, _ = self._read()
        if any(run.state is State.RUNNING for run in runs) and not self.is_run():
            return tuple(_interrupted(run) for run in runs)
        return tuple(runs)

    def folders(self, *states: State) -> list[Path]:
        """The folders of runs in these states, those of the first state first.

        Raises:
            QueueError: If there is none that exists.
        """
        runs = self.runs()
        found = [
            run.run_dir
            for state in states
            for run in runs
            if run.state is state and run.run_dir.is_dir()
        ]
        if not found:
            wanted = " or ".join(states)
            raise QueueError(
                f"no run of {self.folder} is {wanted} yet; mlpeft queue list shows them"
            )
        return found

    def find(self, names: Iterable[str]) -> tuple[QueuedRun, ...]:
        """The runs with these numbers or names.

        Raises:
            QueueError: If there is none of that name.
        """
        runs = self.runs()
        found = []
        for name in names:
            matches = [run for run in runs if name in {str(run.number), run.name}]
            if not matches:
                listed = ", ".join(f"{run.number} {run.name}" for run in runs[:20])
                raise QueueError(
                    f"no run {name!r} in {self.folder}; there are: {listed or 'none'}"
                )
            found += matches
        return tuple({run.number: run for run in found}.values())

    def is_run(self) -> bool:
        """Whether a process runs the queue."""
        path = self.folder / "run.lock"
        try:
            with path.open("rb") as file:
                return not _lock(file, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False

    def waiting(self) -> tuple[QueuedRun, ...]:
        """The runs that are still to be started, in their order."""
        runs, _ = self._read()
        return tuple(run for state in TO_RUN for run in runs if run.state is state)

    # --- changing ---------------------------------------------------------------------

    def add(
        self,
        configs: Sequence[RunConfig],
        folder: Path,
        *,
        resume: bool = False,
        space: tuple[dict[str, list[str]], list[str]] | None = None,
    ) -> tuple[QueuedRun, ...]:
        """Add runs, all or none.

        Args:
            configs: Their configurations.
            folder: Where relative paths in them start from; the working folder.
            resume: Whether their folders may hold runs to go on with.
            space: If they are a search: values and ranges, as `Search` has them.

        Raises:
            QueueError: If one has a folder that another run has.
        """
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with self._changing() as (runs, following):
            if len(runs) + len(configs) > MOST_RUNS:
                raise QueueError(
                    f"{self.folder} would hold {len(runs) + len(configs)} runs, at "
                    f"most {MOST_RUNS} fit; remove those that are done: mlpeft queue "
                    "remove --done"
                )
            added = []
            taken = {run.run_dir: run for run in runs}
            for number, config in enumerate(configs, following):
                run = _new(number, config, folder)
                if space is not None:
                    search = Search(following, *space, config.run.seed)
                    run = replace(run, search=search)
                _check_free(run, taken.get(run.run_dir), resume=resume)
                taken[run.run_dir] = run
                added.append(run)
            for run, config in zip(added, configs, strict=True):
                write_whole(self.config_file(run.number), config.to_yaml())
            runs.extend(added)
        return tuple(added)

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove runs from the queue; their folders stay.

        Raises:
            QueueError: If one is running.
        """
        unwanted = set(numbers)
        with self._changing() as (runs, _):
            for run in runs:
                if run.number in unwanted and run.state is State.RUNNING:
                    raise QueueError(
                        f"run {run.number} {run.name} is running; end it with `mlpeft "
                        "stop`, then remove it"
                    )
            runs[:] = [run for run in runs if run.number not in unwanted]
        for number in unwanted:
            self.config_file(number).unlink(missing_ok=True)
            self.end_file(number).unlink(missing_ok=True)

    def retry(self, numbers: Iterable[int]) -> None:
        """Have runs that failed or were stopped wait again.

        Raises:
            QueueError: If one did neither.
        """
        wanted = set(numbers)
        with self._changing() as (runs, _):
            for index, run in enumerate(runs):
                if run.number not in wanted:
                    continue
                if run.state not in {State.FAILED, State.STOPPED}:
                    raise QueueError(
                        f"run {run.number} {run.name} is {run.state}; only runs that "
                        "failed or were stopped can be retried"
                    )
                runs[index] = replace(run, state=State.WAITING, reason="", ended=None)

    def take(self) -> QueuedRun | None:
        """Mark the next run as running; None: none waits."""
        with self._changing() as (runs, _):
            for state in TO_RUN:
                for index, run in enumerate(runs):
                    if run.state is state:
                        runs[index] = replace(
                            run,
                            state=State.RUNNING,
                            reason="",
                            began=run.began or time.time(),
                            ended=None,
                        )
                        return runs[index]
        return None

    def end(self, number: int, state: State, reason: str) -> None:
        """Write down how a run ended, or that it did not."""
        ended = None if state in TO_RUN else time.time()
        with self._changing() as (runs, _):
            for index, run in enumerate(runs):
                if run.number == number:
                    runs[index] = replace(run, state=state, reason=reason, ended=ended)

    def settled(self, number: int, setting: str) -> None:
        """Write down which setting a run of a search has been given."""
        with self._changing() as (runs, _):
            for index, run in enumerate(runs):
                if run.number == number:
                    runs[index] = replace(run, setting=setting)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the process that runs the queue.

        Raises:
            QueueError: If another one does.
        """
        if not self.folder.is_dir():
            raise QueueError(
                f"no queue in {self.folder.absolute()}; add a run first: mlpeft queue "
                "add CONFIG"
            )
        with explained(self.folder):
            file = (self.folder / "run.lock").open("a+b", buffering=0)
        with file:
            # Whoever asks `is_run` has the lock for a moment.
            if not _lock_soon(file, GLANCE_S):
                file.seek(0)
                holder = file.read(40).decode(errors="replace").strip()
                raise QueueError(
                    f"{self.folder} is run by {holder or 'another process'} already; "
                    "what you add to it is run, too"
                )
            with explained(self.folder):
                file.truncate(0)
                file.write(f"process {os.getpid()}".encode())
            self._note_interruptions()
            yield

    def _note_interruptions(self) -> None:
        """No process ran the queue until now, so no run can be running."""
        with self._changing() as (runs, _):
            runs[:] = [_interrupted(run) for run in runs]

    # --- the file ---------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[tuple[list[QueuedRun], int]]:
        """Yield all runs, to be changed in place, and the next number."""
        with explained(self.folder):
            file = (self.folder / "changes.lock").open("ab")
        with file:
            if not _lock_soon(file, PATIENCE_S):
                raise QueueError(
                    f"another process has been changing {self.folder} for "
                    f"{PATIENCE_S:g} s; is it stopped (Ctrl-Z)? End it and try again"
                )
            runs, following = self._read()
            before = list(runs)
            yield runs, following
            if runs == before:
                return
            newest = max((run.number for run in runs), default=0)
            record = {
                "next": max(following, newest + 1),
                "runs": [run.to_dict() for run in runs],
            }
            write_whole(self.folder / FILE, json.dumps(record, indent=1) + "\n")

    def _read(self) -> tuple[list[QueuedRun], int]:
        path = self.folder / FILE
        try:
            tree: dict[str, Any] = parse_json_object(path.read_bytes())
            runs = [QueuedRun.from_dict(record) for record in tree["runs"]]
            return runs, int(tree["next"])
        except FileNotFoundError:
            return [], 1
        except (ValueError, TypeError, LookupError) as error:
            raise QueueError(
                f"{path.absolute()} is not the file of a queue ({error}); restore it, "
                "or move it away to begin a new queue"
            ) from error


def with_queues(paths: Iterable[Path], *states: State) -> list[Path]:
    """Folders of runs, where a queue's folder means those of its runs.

    Args:
        paths: Folders of runs and queues.
        states: Which of a queue's runs, see `Queue.folders`.

    Raises:
        QueueError: If a queue has none.
    """
    folders: list[Path] = []
    for path in paths:
        is_queue = (path / FILE).is_file()
        folders += Queue(path).folders(*states) if is_queue else [path]
    return list(dict.fromkeys(folders))


def _new(number: int, config: RunConfig, folder: Path) -> QueuedRun:
    return QueuedRun(
        number=number,
        name=config.run.name,
        run_dir=folder / run_folder(config),
        folder=folder,
        iterations=config.meta_learning.num_meta_iterations,
        added=time.time(),
    )


def _check_free(run: QueuedRun, other: QueuedRun | None, *, resume: bool) -> None:
    """Refuse a run whose folder another one has.

    Raises:
        QueueError: Saying which.
    """
    if other is not None:
        raise QueueError(
            f"run {other.number} of the queue, {other.state}, has the folder "
            f"{run.run_dir} already; give the new one another name (--set "
            f"run.name=NAME) or remove the old one (mlpeft queue remove {other.number})"
        )
    if step_folders(run.run_dir) and not resume:
        raise QueueError(
            f"{run.run_dir} already holds a run; go on with it (--resume), give the "
            "new one another name (--set run.name=NAME), or remove the folder"
        )


def _interrupted(run: QueuedRun) -> QueuedRun:
    if run.state is not State.RUNNING:
        return run
    reason = "`mlpeft queue run` was ended; run it again to go on"
    return replace(run, state=State.INTERRUPTED, reason=reason)


def _lock(file: IO[bytes], kind: int = fcntl.LOCK_EX) -> bool:
    """Lock a file, if nobody else has."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_soon(file: IO[bytes], patience_s: float) -> bool:
    """Lock a file as soon as nobody else has; whether that was in time."""
    deadline = time.monotonic() + patience_s
    while not _lock(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(ASK_S)
    return True
