"""Worker processes on the coordinator's own machine, started and kept alive by it.

Each is a `mlpeft-worker` of its own, spawned and never forked (MLX does not survive a
fork), with one BLAS thread unless the run says otherwise. It ends with the coordinator,
however that ends: its standard input is a pipe whose other end only the coordinator
holds, so that the system tells it even of a kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mlpeft.config.entry_points import module_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.config import RunConfig

log = logging.getLogger("mlpeft.coordinator")

END_S: Final = 3.0
"""How long a process has to end with the run, and then to end when it is told to."""
LAST_LINES: Final = 5
"""Of what a process said that are shown if it fails."""
ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}


@dataclass(frozen=True, slots=True)
class Restarts:
    """When a process that died is started again.

    Attributes:
        most: As often as this in a row; then it is given up.
        first_s: Wait before the first time.
        factor: Each further wait is longer by this.
        longest_s: The longest wait.
        steady_s: Who lived this long is not in a row with those before.
    """

    most: int = 5
    first_s: float = 0.5
    factor: float = 2.0
    longest_s: float = 10.0
    steady_s: float = 60.0

    def delay_s(self, deaths: int) -> float | None:
        """The wait after so many deaths in a row; None: no more."""
        if deaths > self.most:
            return None
        return min(self.longest_s, self.first_s * self.factor ** (deaths - 1))


def worker_command(address: str, name: str, config: RunConfig) -> list[str]:
    """What starts a worker that ends with the run and with whoever started it.

    It may import what the configuration names: that is the user's, as this process is.
    """
    command = [sys.executable, "-m", "worker.cli", "--coordinator", address]
    command += ["--name", name, "--once", "--tied"]
    params = config.task_distribution.task_params
    for named in (config.model.backbone, params.get("entry_point")):
        module = module_of(named)
        if module is not None:
            command += ["--allow-module", module]
    return command


class Supervisor:
    """Keeps one process alive. Lives on one event loop.

    Args:
        name: What the log calls it.
        command: What to start.
        given_up: Called, with the reason, if it will not be started again.
        restarts: When it is.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        given_up: Callable[[str], None],
        restarts: Restarts | None = None,
    ) -> None:
        self._name = name
        self._command = command
        self._given_up = given_up
        self._restarts = restarts or Restarts()
        self._process: asyncio.subprocess.Process | None = None
        self._ending = asyncio.Event()
        self._task = asyncio.create_task(self._keep())

    async def end(self) -> None:
        """Wait for the process to end with the run, or end it."""
        self._ending.set()
        await asyncio.wait([self._task], timeout=END_S)
        if not self._task.done() and self._process is not None:
            # It has not heard that the run is over, such as one that only just began.
            if self._process.stdin is not None:
                self._process.stdin.close()
            await asyncio.wait([self._task], timeout=END_S)
            if not self._task.done():
                log.warning("local worker %s does not end; killed", self._name)
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
        await self._task

    async def _keep(self) -> None:
        deaths = 0
        while not self._ending.is_set():
            began = time.monotonic()
            end = await self._run_once()
            if end is None or self._ending.is_set():
                return
            deaths = (
                1
                if time.monotonic() - began > self._restarts.steady_s
                else (deaths + 1)
            )
            delay_s = self._restarts.delay_s(deaths)
            if delay_s is None:
                reason = f"{end}; {deaths} times in a row, it is not started again"
                log.error("local worker %s %s", self._name, reason)
                self._given_up(f"local worker {self._name} {reason}")
                return
            log.warning(
                "local worker %s %s; started again in %g s (%d of %d)",
                *(self._name, end, delay_s, deaths, self._restarts.most),
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), delay_s)

    async def _run_once(self) -> str | None:
        """Start the process and wait for its end; what that was, None: in order."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=os.environ | ONE_THREAD,
                # A terminal's Ctrl-C is for the coordinator, which ends its workers.
                start_new_session=True,
            )
        except OSError as error:
            return f"cannot be started ({error})"
        self._process = process
        log.info("local worker %s is process %d", self._name, process.pid)
        last = await self._listen(process)
        code = await process.wait()
        if code == 0:
            return None
        end = f"was ended by {_signal_name(-code)}" if code < 0 else f"failed ({code})"
        return f"{end}: {' / '.join(last)}" if last and code > 0 else end

    async def _listen(self, process: asyncio.subprocess.Process) -> Sequence[str]:
        """Pass on what the process says until it ends; its last lines."""
        last: deque[str] = deque(maxlen=LAST_LINES)
        assert process.stderr is not None  # noqa: S101 - it is a pipe
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            log.debug("%s: %s", self._name, line)
            last.append(line)
        return last


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
