"""Links between drivers in one process and on one event loop: two queues."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mlpeft.runtime.coordinator.driver import JoinRefusedError
from mlpeft.runtime.worker.link import LinkRefusedError
from mlpeft.transport.rpc import wire
from mlpeft.transport.rpc.outbox import Traffic
from mlpeft.transport.rpc.tensors import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mlpeft.cluster.messages import WorkerId
    from mlpeft.runtime.coordinator.driver import CoordinatorDriver, EncodedTheta


class MemoryLink:
    """A way to a driver in the same process. Nothing is copied: arrays are shared."""

    def __init__(self, driver: CoordinatorDriver) -> None:
        self._driver = driver

    async def join(self, request: wire.JoinRequest) -> wire.JoinResponse:
        """Ask to take part."""
        try:
            return self._driver.join(request)
        except JoinRefusedError as error:
            raise LinkRefusedError(str(error)) from error

    async def open(self, hello: wire.Hello) -> MemoryStream:
        """Open the stream of work of a join."""
        peer = MemoryPeer(Traffic(self._driver.traffic))
        try:
            worker = self._driver.connect(hello, peer)
        except JoinRefusedError as error:
            raise LinkRefusedError(str(error)) from error
        return MemoryStream(self._driver, worker, peer)

    async def fetch(
        self, worker_id: str, sha256: str, offset: int
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from an offset on."""
        request = wire.BlobRequest(worker_id, sha256, offset)
        with self._driver.blob(request).open(offset) as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece

    async def close(self) -> None:
        """Nothing to release."""


class MemoryPeer:
    """The driver's end of a stream.

    Args:
        traffic: Stays at nothing: nothing is copied.
    """

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.queue: asyncio.Queue[wire.DownMessage | None] = asyncio.Queue()

    def send(self, message: wire.DownMessage) -> None:
        """Send a message."""
        self.queue.put_nowait(message)

    def send_theta(self, theta: EncodedTheta) -> None:
        """Hand theta over as it is."""
        self.queue.put_nowait(theta.message)

    def dismiss(self, reason: str, *, run_over: bool) -> None:
        """End the stream."""
        if run_over:
            self.queue.put_nowait(wire.RunOver(reason))
        self.queue.put_nowait(None)


class MemoryStream:
    """The driver's end of a stream."""

    def __init__(
        self, driver: CoordinatorDriver, worker: WorkerId, peer: MemoryPeer
    ) -> None:
        self._driver = driver
        self._worker = worker
        self._peer = peer
        self._loop = asyncio.get_running_loop()

    def send(self, message: wire.UpMessage) -> None:
        """Deliver a message, once the sender is done with what it is at."""
        self._loop.call_soon(self._driver.receive, self._worker, message)

    async def receive(self) -> wire.DownMessage | None:
        """The next message; None when the driver has ended the stream."""
        return await self._peer.queue.get()

    async def finish(self) -> None:
        """End this side, after what was sent."""
        self.close()

    def close(self) -> None:
        """End this side."""
        self._loop.call_soon(self._driver.disconnect, self._worker, "the worker ended")
