"""Workers on the coordinator's own machine: in its process, or in some of their own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from coordinator.server import Server
from coordinator.socket_folder import SocketFolder
from mlpeft.cluster.worker_state import WorkerPolicy
from mlpeft.errors import MlpeftError
from mlpeft.node.agent import Agent
from mlpeft.node.compute import ComputeThread
from mlpeft.node.memory import MemoryLink
from mlpeft.node.processes import Supervisor, worker_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.joining import Versions
    from mlpeft.cluster.worker_messages import WorkerEvent
    from mlpeft.config import RunConfig
    from mlpeft.node.compute import Prepared
    from mlpeft.node.hub import Hub


class LocalWorkers(Protocol):
    """Workers that begin and end with the coordinator. They live on its loop."""

    async def start(self, number: int) -> None:
        """Start so many."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Wait for all to end; the hub has told them that the run is over."""
        ...


class Threads:
    """Workers in this process, joined to the hub by queues.

    Args:
        hub: Whose workers they are.
        versions: Of this process.
        prepare: Makes a worker's runner.
    """

    def __init__(
        self,
        hub: Hub,
        versions: Versions,
        prepare: Callable[[RunConfig], Prepared],
    ) -> None:
        self._hub = hub
        self._versions = versions
        self._prepare = prepare
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self, number: int) -> None:
        """See `LocalWorkers`."""
        for index in range(number):
            agent = Agent(
                MemoryLink(self._hub),
                self._make_compute,
                policy=WorkerPolicy(once=True),
                name=f"local-{index}",
                versions=self._versions,
            )
            task = asyncio.create_task(agent.run())
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def stop(self, grace_s: float) -> None:
        """See `LocalWorkers`."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make_compute(self, post: Callable[[WorkerEvent], None]) -> ComputeThread:
        return ComputeThread(self._prepare, post)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """An in-process worker that gave up would leave its round waiting for ever."""
        if task.cancelled():
            return
        error = task.exception()
        if error is None and task.result().failed:
            error = MlpeftError(task.result().reason)
        if error is not None:
            self._hub.abandon(f"an in-process worker ended: {error}")


class Processes:
    """Workers in processes of their own, over a socket that only this user may open.

    Args:
        hub: Whose workers they are.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._supervisors: list[Supervisor] = []
        self._alive = 0

    async def start(self, number: int) -> None:
        """See `LocalWorkers`."""
        self._folder = SocketFolder()
        self._server = Server(self._hub)
        address = await self._server.start_on_socket(self._folder.socket)
        self._alive = number
        for index in range(number):
            name = f"local-{index}"
            command = worker_command(address, name, self._hub.config)
            self._supervisors.append(Supervisor(name, command, self._given_up))

    async def stop(self, grace_s: float) -> None:
        """See `LocalWorkers`."""
        await self._server.stop(grace_s)
        await asyncio.gather(*(each.end() for each in self._supervisors))
        self._folder.close()

    def _given_up(self, reason: str) -> None:
        """With nobody left to compute, the round would wait for ever."""
        self._alive -= 1
        if not self._alive and not self._hub.status().workers:
            self._hub.abandon(f"no worker is left: {reason}")
