"""The send queue of a stream, and the count of its bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from mlpeft.cluster.overview import Bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator


class Outbox:
    """A send queue in which small messages overtake the frames of large ones.

    Heartbeats must get through while a hundred megabytes are being sent. The frames of
    large messages are encoded on demand and never interleaved.
    """

    def __init__(self) -> None:
        self._small: deque[bytes] = deque()
        self._large: deque[Iterator[bytes]] = deque()
        self._wake = asyncio.Event()
        self._finished = False

    def put(self, frame: bytes) -> None:
        """Queue a message of one frame, ahead of large messages."""
        self._small.append(frame)
        self._wake.set()

    def put_large(self, frames: Iterable[bytes]) -> None:
        """Queue a message of many frames, after earlier large messages."""
        self._large.append(iter(frames))
        self._wake.set()

    def finish(self) -> None:
        """Accept no more messages; `frames` ends when all are sent."""
        self._finished = True
        self._wake.set()

    def drop(self) -> None:
        """Discard all queued messages; `frames` ends."""
        self._small.clear()
        self._large.clear()
        self.finish()

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield frames in the order of sending."""
        while True:
            frame = self._next()
            if frame is not None:
                yield frame
            elif self._finished:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _next(self) -> bytes | None:
        if self._small:
            return self._small.popleft()
        while self._large:
            frame = next(self._large[0], None)
            if frame is not None:
                return frame
            self._large.popleft()
        return None


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
