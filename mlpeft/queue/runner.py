"""Runs a queue: one coordinator process after another, at the same address.

Each run has a process of its own, so that nothing it does (a crash of a library, memory
that is not given back) reaches the next. Workers need not be told where to go: they
dial the address again when a run is over.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mlpeft.errors import ConfigError, counted
from mlpeft.queue.ending import Ending
from mlpeft.queue.entry import State
from mlpeft.queue.searching import settle
from mlpeft.queue.store import QueueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.queue.entry import QueuedRun
    from mlpeft.queue.store import Queue

ASK_S: Final = 0.2
"""Seconds between looks at the coordinator and at signals."""
WAIT_S: Final = 2.0
"""Seconds between looks at an empty queue, and tries of an address that is in use."""
TRIES: Final = 3
"""Starts of a run whose coordinator cannot have its address."""


@dataclass(frozen=True, slots=True)
class Host:
    """How the coordinators of this machine are started.

    Attributes:
        options: Of `mlpeft-coordinator`, for every run.
        quiet: Whether they print nothing to standard output.
    """

    options: tuple[str, ...] = ()
    quiet: bool = False

    def command(self, queue: Queue, run: QueuedRun) -> list[str]:
        """The command of a run's coordinator."""
        config = str(queue.config_file(run.number).absolute())
        words = [sys.executable, "-m", "coordinator.cli", "--config", config]
        return [*words, "--queued", *self.options, *(["--json"] if self.quiet else [])]


def run_queue(
    queue: Queue,
    host: Host,
    *,
    say: Callable[[str], None],
    should_stop: Callable[[], bool],
    keep: bool = False,
) -> list[QueuedRun]:
    """Run what waits, one after the other; the runs that were started.

    Args:
        queue: The queue, held by this process.
        host: How coordinators are started.
        say: Told what begins and ends, for people.
        should_stop: Asked all the time; True: save the run and return.
        keep: Whether to wait for further runs when none is left.

    Raises:
        QueueError: If this machine cannot run coordinators as it was asked; the run
            that found out waits again.
    """
    started: dict[int, QueuedRun] = {}
    told = False
    while not should_stop():
        run = queue.take()
        if run is not None:
            left = counted(len(queue.waiting()), "more run")
            say(f"run {run.number} {run.name} starts, {left} after it")
            state, reason = _run(queue, host, run, should_stop)
            queue.end(run.number, state, reason)
            started[run.number] = run
            say(_end_text(run, state, reason))
            told = False
            continue
        if not keep:
            break
        if not told:
            say(f"the queue is empty; waiting for `mlpeft queue add` to {queue.folder}")
            told = True
        _pause(WAIT_S, should_stop)
    now = {run.number: run for run in queue.runs()}
    return [now[number] for number in started if number in now]


def _run(
    queue: Queue, host: Host, run: QueuedRun, should_stop: Callable[[], bool]
) -> tuple[State, str]:
    """Bring one run to its end; its state, and why."""
    try:
        settle(queue, run)
    except ConfigError as error:
        return State.FAILED, str(error)
    said = ""
    for _ in range(TRIES):
        code, ending = _coordinate(queue, host, run, should_stop)
        if ending is None or not ending.of_machine or should_stop():
            return _state(code, ending, interrupted=should_stop())
        said = ending.text
        _pause(WAIT_S, should_stop)
    queue.end(run.number, State.WAITING, "")
    raise QueueError(f"run {run.number} {run.name} waits again: {said}")


def _coordinate(
    queue: Queue, host: Host, run: QueuedRun, should_stop: Callable[[], bool]
) -> tuple[int, Ending | None]:
    """Start a coordinator and wait for its end; its exit code, and its own words."""
    path = queue.end_file(run.number)
    path.unlink(missing_ok=True)
    process = subprocess.Popen(  # noqa: S603 - our own command
        host.command(queue, run),
        cwd=run.folder,
        stdin=subprocess.PIPE,  # closed by the system if this process dies
        stdout=subprocess.DEVNULL if host.quiet else None,
        # Ctrl-C comes to this process alone, which passes it on once.
        start_new_session=True,
    )
    asked = False
    try:
        while process.poll() is None:
            if should_stop() and not asked:
                process.send_signal(signal.SIGTERM)
                asked = True
            try:
                process.wait(ASK_S)
            except subprocess.TimeoutExpired:
                continue
    finally:
        if process.poll() is None:  # asked twice: what is saved stands
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
    ending = Ending.read(path)
    path.unlink(missing_ok=True)
    return process.returncode, ending


def _state(code: int, ending: Ending | None, *, interrupted: bool) -> tuple[State, str]:
    """What an end of a coordinator means for its run."""
    if ending is not None and ending.reason in {"done", "patience"}:
        early = "stopped early: no better validation for long"
        return State.DONE, early if ending.reason == "patience" else ""
    if interrupted:
        return State.INTERRUPTED, "`mlpeft queue run` was ended; run it again to go on"
    if ending is not None and ending.reason == "stopped":
        return State.STOPPED, "by an operator; mlpeft queue retry goes on with it"
    if ending is not None:
        return State.FAILED, ending.text
    if code < 0:
        return State.FAILED, (
            f"its coordinator was killed by {_signal_name(-code)}; what was saved "
            "stands, mlpeft queue retry goes on with it"
        )
    return State.FAILED, f"its coordinator ended with exit code {code}; see its log"


def _end_text(run: QueuedRun, state: State, reason: str) -> str:
    why = f": {reason.partition(chr(10))[0]}" if reason else ""
    verb = "" if state is State.FAILED else "is "
    return f"run {run.number} {run.name} {verb}{state}{why}"


def _pause(seconds: float, should_stop: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not should_stop():
        time.sleep(ASK_S)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
