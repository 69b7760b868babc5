"""Links between drivers in one process and on one event loop: two queues."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mlpeft.cluster.protocol import RunOver
from mlpeft.runtime.coordinator.identities import LOCAL
from mlpeft.runtime.coordinator.joins import JoinRefusedError
from mlpeft.runtime.worker.link import LinkRefusedError
from mlpeft.transport.rpc.blob_codec import BlobRequest
from mlpeft.transport.rpc.outbox import Traffic
from mlpeft.transport.rpc.tensors import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mlpeft.cluster.protocol import (
        CoordinatorMessage,
        Hello,
        WorkerId,
        WorkerMessage,
    )
    from mlpeft.runtime.coordinator.driver import CoordinatorDriver
    from mlpeft.runtime.coordinator.peer import EncodedTheta
    from mlpeft.transport.rpc.join_codec import JoinRequest, JoinResponse


class MemoryLink:
    """A way to a driver in the same process. Nothing is copied: arrays are shared."""

    def __init__(self, driver: CoordinatorDriver) -> None:
        self._driver = driver

    async def join(self, request: JoinRequest) -> JoinResponse:
        """Ask to take part."""
        try:
            return self._driver.joins.join(request, LOCAL)
        except JoinRefusedError as error:
            raise LinkRefusedError(str(error)) from error

    async def open(self, hello: Hello) -> MemoryStream:
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
        request = BlobRequest(worker_id, sha256, offset)
        with self._driver.joins.blob(request).open(offset) as file:
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
        self.queue: asyncio.Queue[CoordinatorMessage | None] = asyncio.Queue()

    def send(self, message: CoordinatorMessage) -> None:
        """Send a message; after RunOver the stream ends."""
        self.queue.put_nowait(message)
        if isinstance(message, RunOver):
            self.queue.put_nowait(None)

    def send_theta(self, theta: EncodedTheta) -> None:
        """Hand theta over as it is."""
        self.queue.put_nowait(theta.message)

    def dismiss(self, _reason: str) -> None:
        """End the stream."""
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

    def send(self, message: WorkerMessage) -> None:
        """Deliver a message, once the sender is done with what it is at."""
        self._loop.call_soon(self._driver.receive, self._worker, message)

    async def receive(self) -> CoordinatorMessage | None:
        """The next message; None when the driver has ended the stream."""
        return await self._peer.queue.get()

    async def finish(self) -> None:
        """End this side, after what was sent."""
        self.close()

    def close(self) -> None:
        """End this side."""
        self._loop.call_soon(self._driver.disconnect, self._worker, "the worker ended")
