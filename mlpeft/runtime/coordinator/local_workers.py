"""Workers on the coordinator's machine: in its process, or in their own."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from mlpeft.cluster.worker.machine import WorkerPolicy
from mlpeft.errors import MlpeftError
from mlpeft.runtime.compute import ComputeThread
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.coordinator.worker_processes import Supervisor, worker_command
from mlpeft.runtime.memory import MemoryLink
from mlpeft.runtime.worker.driver import WorkerDriver

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.validation import Versions
    from mlpeft.cluster.worker.messages import WorkerEvent
    from mlpeft.config import RunConfig
    from mlpeft.runtime.compute import Prepared
    from mlpeft.runtime.coordinator.driver import CoordinatorDriver

PREFIX = "mlpeft-socket-"
LOCK = "owner.lock"
SOCKET = "coordinator.sock"


class SocketFolder:
    """A temporary folder for a Unix socket that only this user may enter.

    It is in the system's temporary folder, since the path of a socket is limited to 104
    bytes.

    Attributes:
        socket: Path of the socket.
    """

    def __init__(self) -> None:
        base = Path(tempfile.gettempdir())
        remove_stale(base)
        # Renamed once it is locked, so that it never looks stale.
        created = Path(tempfile.mkdtemp(prefix="mlpeft-new-", dir=base))  # mode 0700
        self._lock = (created / LOCK).open("w", encoding="ascii")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        name = PREFIX + created.name.rpartition("-")[2]
        self._folder = created.rename(base / name)
        self.socket = self._folder / SOCKET

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()


def remove_stale(base: Path) -> None:
    """Remove the folders of this user's dead coordinators.

    Args:
        base: The parent of such folders.
    """
    for folder in base.glob(f"{PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / LOCK).open(encoding="ascii") as lock:
                if _is_free(lock):
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # removed by now, or not accessible
            continue


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class LocalWorkers(Protocol):
    """Workers that start and end with the coordinator, on its event loop."""

    async def start(self, number: int) -> None:
        """Start a number of workers."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Wait for all to end, after the driver sent them the end of the run."""
        ...


class ThreadWorkers:
    """Workers in this process, connected to the driver by queues.

    Args:
        driver: The coordinator.
        versions: Versions of this process.
        prepare: Builds a worker's runner.
    """

    def __init__(
        self,
        driver: CoordinatorDriver,
        versions: Versions,
        prepare: Callable[[RunConfig], Prepared],
    ) -> None:
        self._driver = driver
        self._versions = versions
        self._prepare = prepare
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self, number: int) -> None:
        """See `LocalWorkers`."""
        for index in range(number):
            driver = WorkerDriver(
                MemoryLink(self._driver),
                self._make_compute,
                policy=WorkerPolicy(once=True),
                name=f"local-{index}",
                versions=self._versions,
            )
            task = asyncio.create_task(driver.run())
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def stop(self, grace_s: float) -> None:
        """See `LocalWorkers`."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make_compute(self, post: Callable[[WorkerEvent], None]) -> ComputeThread:
        return ComputeThread(self._prepare, post)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """Abort the run if a worker failed: its round would wait forever."""
        if task.cancelled():
            return
        error = task.exception()
        if error is None and task.result().failed:
            error = MlpeftError(task.result().reason)
        if error is not None:
            self._driver.abandon(f"an in-process worker failed: {error}")


class ProcessWorkers:
    """Workers in separate processes, over a socket that only this user may open.

    Args:
        driver: The coordinator.
    """

    def __init__(self, driver: CoordinatorDriver) -> None:
        self._driver = driver
        self._supervisors: list[Supervisor] = []
        self._alive = 0

    async def start(self, number: int) -> None:
        """See `LocalWorkers`."""
        self._folder = SocketFolder()
        self._server = Server(self._driver)
        address = await self._server.start_on_socket(self._folder.socket)
        self._alive = number
        for index in range(number):
            name = f"local-{index}"
            command = worker_command(address, name, self._driver.config)
            self._supervisors.append(Supervisor(name, command, self._given_up))

    async def stop(self, grace_s: float) -> None:
        """See `LocalWorkers`."""
        await self._server.stop(grace_s)
        await asyncio.gather(*(each.end() for each in self._supervisors))
        self._folder.close()

    def _given_up(self, reason: str) -> None:
        """Abort the run if no worker is left: its round would wait forever."""
        self._alive -= 1
        if not self._alive and not self._driver.status().workers:
            self._driver.abandon(f"no worker is left: {reason}")
