"""The send queue of a stream, and the count of its bytes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.cluster.overview import Bytes
from mlpeft.transport.rpc import bundles, chunks
from mlpeft.transport.rpc.window import Window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator


@dataclass(slots=True)
class _Large:
    """A message of many frames.

    Attributes:
        frames: Those that have not been sent.
        size_bytes: Of its chunks.
        label: The sender's name for it.
        rest: What is left of a chunk of which a part was sent.
        rest_marked: Whether that chunk was marked.
        start: Position in the stream of its first chunk.
        head_sent: Whether its first frame was sent.
    """

    frames: Iterator[bytes]
    size_bytes: int
    label: int
    rest: memoryview | None = None
    rest_marked: bool = False
    start: int = 0
    head_sent: bool = False


class Outbox:
    """A send queue in which small messages overtake the frames of large ones.

    Heartbeats must get through while a hundred megabytes are being sent. The frames of
    large messages are encoded on demand and never interleaved. Chunks are sent as far
    as the window allows, and cut to its size. Small messages that wait go out together,
    with the head of the large message behind them.

    Args:
        clock: Seconds on a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._window = Window()
        self._small: deque[bytes] = deque()
        self._large: deque[_Large] = deque()
        self._begun: _Large | None = None  # the newest of which a chunk was sent
        self._wake = asyncio.Event()
        self._finished = False

    def put(self, frame: bytes) -> None:
        """Queue a message of one frame, ahead of large messages."""
        self._small.append(frame)
        self._wake.set()

    def put_large(
        self, frames: Iterable[bytes], size_bytes: int = 0, label: int = 0
    ) -> None:
        """Queue a message of many frames, after earlier large messages.

        Args:
            frames: The first describes it, chunks follow.
            size_bytes: Of all chunks; only `progress` needs it.
            label: A name for `progress`.
        """
        self._large.append(_Large(iter(frames), size_bytes, label))
        self._wake.set()

    def drop_large(self) -> bool:
        """Forget the large messages that wait, and the rest of one on its way.

        Returns:
            Whether there may have been any; False: all were sent to their end.
        """
        dropped = bool(self._large)
        self._large.clear()
        self._begun = None
        return dropped

    def finish(self) -> None:
        """Accept no more messages; `frames` ends when all are sent."""
        self._finished = True
        self._wake.set()

    def drop(self) -> None:
        """Discard all queued messages; `frames` ends."""
        self._small.clear()
        self.drop_large()
        self.finish()

    def acknowledge(self, position: int) -> None:
        """The other side has read so many bytes of chunks.

        Raises:
            RemoteProtocolError: If they are more than were sent, or fewer than before.
        """
        self._window.acknowledge(position, self._clock())
        self._wake.set()

    @property
    def acknowledged(self) -> int:
        """Bytes of chunks that the other side has read."""
        return self._window.acknowledged

    @property
    def unacknowledged(self) -> int:
        """Bytes of chunks that were sent and that the other side has not read."""
        return self._window.sent - self._window.acknowledged

    def progress(self) -> tuple[int, int, int] | None:
        """Label, bytes acknowledged and bytes of the newest large message under way."""
        if self._begun is None:
            return None
        done = max(0, self._window.acknowledged - self._begun.start)
        return self._begun.label, done, self._begun.size_bytes

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield frames in the order of sending."""
        while True:
            self._wake.clear()
            frame = self._next()
            if frame is not None:
                yield frame
            elif self._finished and not self._large:
                return
            else:
                await self._wake.wait()

    def _next(self) -> bytes | None:
        """The next frame; None if there is none, or the window is shut."""
        if not self._small:
            return self._next_large()
        ready: list[bytes] = []
        size = 0
        while self._small and len(ready) < bundles.MOST_PARTS - 1:
            size += len(self._small[0])
            if ready and size > bundles.MOST_BYTES:
                return bundles.encode(ready)
            ready.append(self._small.popleft())
        if self._large and not self._large[0].head_sent and not self._small:
            head = self._next_large()
            if head is not None:
                ready.append(head)
        return bundles.encode(ready)

    def _next_large(self) -> bytes | None:
        """The next frame of large messages."""
        while self._large:
            large = self._large[0]
            large.head_sent = True
            if large.rest is not None:
                return self._chunk(large, large.rest) if self._window.is_open else None
            frame = next(large.frames, None)
            if frame is None:
                self._large.popleft()
                continue
            chunk = chunks.decode(frame)
            if chunk is None:
                return frame
            if self._begun is not large:
                self._begun, large.start = large, self._window.sent
            large.rest, large.rest_marked = chunk
            if self._window.is_open and len(large.rest) <= self._window.chunk_bytes:
                large.rest = None
                self._window.send(len(chunk.data), self._clock(), marked=chunk.marked)
                return frame  # as it is: other streams share it
        return None

    def _chunk(self, large: _Large, data: memoryview) -> bytes:
        """The next part of a chunk that was cut."""
        size = self._window.chunk_bytes
        part, rest = data[:size], data[size:]
        marked = self._window.wants_mark(len(part)) or (large.rest_marked and not rest)
        large.rest = rest or None
        self._window.send(len(part), self._clock(), marked=marked)
        return chunks.encode(part, marked=marked)


class Traffic:
    """Counts the bytes of one connection, or of several together.

    Args:
        total: A counter that also counts these bytes.
    """

    def __init__(self, total: Traffic | None = None) -> None:
        self._total = total
        self._up = 0
        self._down = 0

    def count_received(self, frame: bytes) -> None:
        """Count a message from a worker."""
        self._up += len(frame)
        if self._total is not None:
            self._total.count_received(frame)

    def count_sent(self, frame: bytes) -> None:
        """Count a message to a worker."""
        self._down += len(frame)
        if self._total is not None:
            self._total.count_sent(frame)

    def bytes_moved(self) -> Bytes:
        """The bytes counted so far."""
        return Bytes(self._up, self._down)
