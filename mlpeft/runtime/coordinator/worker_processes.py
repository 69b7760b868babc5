"""Starts worker processes on the coordinator's machine, and restarts them.

Each is a separate `mlpeft-worker`, spawned and not forked (MLX does not survive a
fork), with one BLAS thread unless the run sets another number. It ends with the
coordinator, even after a kill -9: its standard input is a pipe from the coordinator,
which the system then closes.
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
"""Seconds for a process to end with the run, and again after being told to end."""
LAST_LINES: Final = 5
"""Last lines of a process's output to show if it fails."""
ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}


@dataclass(frozen=True, slots=True)
class Restarts:
    """When to restart a process that died.

    Attributes:
        most: Consecutive restarts before giving up.
        first_s: Delay of the first restart.
        factor: Growth of the delay per restart.
        longest_s: Upper bound of the delay.
        steady_s: Lifetime after which earlier deaths no longer count.
    """

    most: int = 5
    first_s: float = 0.5
    factor: float = 2.0
    longest_s: float = 10.0
    steady_s: float = 60.0

    def delay_s(self, deaths: int) -> float | None:
        """The delay after a number of consecutive deaths; None: give up."""
        if deaths > self.most:
            return None
        return min(self.longest_s, self.first_s * self.factor ** (deaths - 1))


def worker_command(address: str, name: str, config: RunConfig) -> list[str]:
    """The command of a worker that ends with the run and with this process.

    It may import the modules that the configuration names: the user trusts them here.
    """
    command = [sys.executable, "-m", "worker.cli", "--coordinator", address]
    command += ["--name", name, "--once", "--tied"]
    params = config.task_distribution.task_params
    for entry_point in (config.model.backbone, params.get("entry_point")):
        module = module_of(entry_point)
        if module is not None:
            command += ["--allow-module", module]
    return command


class Supervisor:
    """Starts a process and restarts it when it dies. Runs on one event loop.

    Args:
        name: Its name in the log.
        command: The command to start.
        given_up: Called with the reason when it will not be restarted.
        restarts: When to restart it.
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
            # It did not receive the end of the run, as when it has just started.
            if self._process.stdin is not None:
                self._process.stdin.close()
            await asyncio.wait([self._task], timeout=END_S)
            if not self._task.done():
                log.warning("killing local worker %s, which does not end", self._name)
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
        await self._task

    async def _keep(self) -> None:
        deaths = 0
        while not self._ending.is_set():
            started_at = time.monotonic()
            failure = await self._run_once()
            if failure is None or self._ending.is_set():
                return
            lifetime_s = time.monotonic() - started_at
            deaths = 1 if lifetime_s > self._restarts.steady_s else deaths + 1
            delay_s = self._restarts.delay_s(deaths)
            if delay_s is None:
                text = (
                    f"local worker {self._name} ended {deaths} times in a row and is "
                    f"not started again; the last time it {failure}"
                )
                log.error("%s", text)
                self._given_up(text)
                return
            log.warning(
                "local worker %s %s; restarting it in %g s (%d of %d)",
                *(self._name, failure, delay_s, deaths, self._restarts.most),
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), delay_s)

    async def _run_once(self) -> str | None:
        """Start the process and wait for its end; how it failed, or None."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=os.environ | ONE_THREAD,
                # Ctrl-C goes to the coordinator only, which then ends its workers.
                start_new_session=True,
            )
        except OSError as error:
            return f"could not be started ({error})"
        self._process = process
        log.info("local worker %s is process %d", self._name, process.pid)
        last_lines = await self._log_output(process)
        code = await process.wait()
        if code == 0:
            return None
        if code < 0:
            return f"was killed by {_signal_name(-code)}"
        output = f": {' / '.join(last_lines)}" if last_lines else ""
        return f"failed with exit code {code}{output}"

    async def _log_output(self, process: asyncio.subprocess.Process) -> Sequence[str]:
        """Log the process's output until it ends; returns the last lines."""
        last_lines: deque[str] = deque(maxlen=LAST_LINES)
        assert process.stderr is not None  # noqa: S101 - it is a pipe
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            log.debug("%s: %s", self._name, line)
            last_lines.append(line)
        return last_lines


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
