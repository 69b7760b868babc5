"""The gRPC client: messages to bytes and back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from mlpeft.cluster.protocol import Acknowledgement, Update
from mlpeft.errors import RemoteProtocolError
from mlpeft.files import size_text
from mlpeft.runtime.worker.link import LinkLostError, LinkRefusedError
from mlpeft.runtime.worker.ranges import in_ranges
from mlpeft.transport.rpc import (
    blob_codec,
    bundles,
    channel,
    codec,
    credentials,
    join_codec,
)
from mlpeft.transport.rpc.diagnose import obstacle
from mlpeft.transport.rpc.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mlpeft.cluster.protocol import CoordinatorMessage, Hello, WorkerMessage
    from mlpeft.errors import MlpeftError
    from mlpeft.transport.security.identity import Identity

JOIN_TIMEOUT_S = 10.0
FETCH_TIMEOUT_S = 30.0
"""How long the next piece of a file may take."""
FINISH_TIMEOUT_S = 10.0
"""How long the last update may stand still while it is sent."""
MOST_THETA_BYTES = 8 << 30
PING_TIMEOUT = "ping timeout"
"""What gRPC says of a connection that stands still, among other words."""
_FINAL = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.PERMISSION_DENIED}
"""With these a coordinator says that trying again does not help."""
_BROKEN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
}
"""What gRPC says of a stream that broke, in words of its own that help nobody."""


class WrongPeerError(LinkRefusedError):
    """Whoever answers is not a coordinator that this worker can talk to."""


class GrpcLink:
    """A way to a coordinator over gRPC.

    Args:
        address: The coordinator's host:port.
        identity: What this worker shows, and knows the coordinator by; None: neither,
            in the clear.
    """

    def __init__(self, address: str, identity: Identity | None = None) -> None:
        self._address = address
        self._identity = identity
        self._channel: grpc.aio.Channel | None = None

    async def join(self, request: join_codec.JoinRequest) -> join_codec.JoinResponse:
        """Ask to take part, over a fresh connection."""
        await self.close()
        self._channel = credentials.worker_channel(self._address, self._identity)
        method = self._channel.unary_unary(channel.JOIN)
        try:
            data = await method(
                join_codec.encode_join_request(request), timeout=JOIN_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                await self._look_closer()
            stalled = "its answer to the join was expected"
            raise self._explain(error, stalled=stalled) from error
        return join_codec.decode_join_response(data)

    async def open(self, hello: Hello) -> GrpcStream:
        """Open the stream of work of a join."""
        assert self._channel is not None, "open comes after join"  # noqa: S101 - ours
        call = self._channel.stream_stream(channel.WORK)()
        stream = GrpcStream(call, self._explain)
        stream.send(hello)
        return stream

    async def fetch(
        self, worker_id: str, sha256: str, offset: int
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from an offset on."""
        pieces = in_ranges(partial(self._range, worker_id, sha256), offset)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def _range(
        self, worker_id: str, sha256: str, offset: int, most_bytes: int
    ) -> list[bytes]:
        """Some bytes of a blob, in pieces; fewer than asked for at its end."""
        assert self._channel is not None, "fetch comes after join"  # noqa: S101 - ours
        request = blob_codec.BlobRequest(worker_id, sha256, offset, most_bytes)
        call = self._channel.unary_stream(channel.FETCH_BLOB)(
            blob_codec.encode_request(request)
        )
        pieces: list[bytes] = []
        left = most_bytes
        try:
            while True:
                async with asyncio.timeout(FETCH_TIMEOUT_S):
                    frame = await call.read()
                if frame is grpc.aio.EOF:
                    return pieces
                pieces.append(blob_codec.decode_piece(frame))
                left -= len(pieces[-1])
                if left < 0:
                    raise RemoteProtocolError(
                        f"more than the {most_bytes} bytes of a file that were asked "
                        "for came"
                    )
        except TimeoutError as error:
            raise LinkLostError(
                f"{self._address} has sent nothing of a file for {FETCH_TIMEOUT_S:g} s"
            ) from error
        except grpc.aio.AioRpcError as error:
            raise self._explain(error, under_way=True) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        """Drop the connection."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def _look_closer(self) -> None:
        """Tell what will pass from what must be put right.

        Raises:
            WrongPeerError: If waiting does not help.
        """
        reason = await asyncio.to_thread(obstacle, self._address, self._identity)
        if reason is not None:
            raise WrongPeerError(reason)

    def _explain(
        self, error: grpc.aio.AioRpcError, *, under_way: bool = False, stalled: str = ""
    ) -> MlpeftError:
        """A gRPC error as one of ours; the one place that maps them.

        Args:
            error: What gRPC says.
            under_way: Whether the coordinator had answered before.
            stalled: What was on its way, if it is known.
        """
        detail = error.details() or error.code().name
        if error.code() in _FINAL:
            return LinkRefusedError(detail)
        if stalled and PING_TIMEOUT in detail:
            return LinkLostError(
                f"the connection to {self._address} broke: pings got no answer while "
                f"{stalled}. If that repeats although the coordinator runs, large "
                "packets may vanish where small ones pass (as in a tunnel with a "
                "smaller MTU): mlpeft doctor looks for that"
            )
        if under_way and error.code() in _BROKEN:
            return LinkLostError(f"the connection to {self._address} broke")
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return LinkLostError(f"no coordinator answers at {self._address}")
        return LinkLostError(f"{self._address}: {detail}")


class GrpcStream:
    """The worker's end of a stream of work."""

    def __init__(self, call: Any, explain: Any) -> None:
        self._call = call
        self._explain = explain
        self._decoder = codec.DownDecoder(MOST_THETA_BYTES)
        self._outbox = Outbox()
        self._frames: deque[bytes] = deque()  # that came with one before
        self._received = 0  # messages
        self._writer = asyncio.create_task(self._write())

    def send(self, message: WorkerMessage) -> None:
        """Send soon; an update's frames are made as they are sent."""
        frames = codec.encode_up(message)
        if isinstance(message, Update):
            self._outbox.put_large(frames)
        else:
            self._outbox.put(next(frames))

    async def receive(self) -> CoordinatorMessage | None:
        """The next message; None at the end of the stream."""
        while True:
            if not self._frames:
                try:
                    came = await self._call.read()
                except grpc.aio.AioRpcError as error:
                    stalled = self._stalled()
                    raise self._explain(
                        error, under_way=True, stalled=stalled
                    ) from error
                if came is grpc.aio.EOF:
                    return None
                self._frames.extend(bundles.decode(came))
            message = self._decoder.feed(self._frames.popleft())
            read = self._decoder.acknowledgement()
            if read is not None:
                self._outbox.put(next(codec.encode_up(read)))
            if isinstance(message, Acknowledgement):
                self._outbox.acknowledge(message.read_bytes)
            elif message is not None:
                self._received += 1
                return message

    def _stalled(self) -> str:
        """What has not come to its end; "" if nothing is known to be under way."""
        if self._outbox.unacknowledged:
            return f"{size_text(self._outbox.unacknowledged)} of an update were sent"
        if self._decoder.is_receiving:
            return "theta was on its way"
        # After Welcome comes theta with the first lease, or nothing for long.
        return "" if self._received > 1 else "the first theta was expected"

    async def finish(self) -> None:
        """Send what is waiting, end this side, and wait for the other.

        Somebody must still be in `receive`: a large update waits for what comes there.
        """
        self._outbox.finish()
        ended = asyncio.gather(self._writer, self._call.code())
        moved = -1
        while not ended.done() and self._outbox.acknowledged > moved:
            moved = self._outbox.acknowledged
            await asyncio.wait([ended], timeout=FINISH_TIMEOUT_S)
        ended.cancel()
        self.close()

    def close(self) -> None:
        """Drop the stream."""
        self._writer.cancel()
        self._call.cancel()

    async def _write(self) -> None:
        """Send frames until the end; if the stream breaks, the reader tells why."""
        try:
            async for frame in self._outbox.frames():
                await self._call.write(frame)
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return
