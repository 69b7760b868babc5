"""Frames that wait to be sent on one stream, and the bytes that went over it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from mlpeft.cluster.overview import Bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator


class Outbox:
    """A queue in which small messages overtake the frames of large ones.

    Heartbeats must get through while a hundred megabytes are on their way. Frames of
    large messages are made as they are sent, and never mixed with one another's.
    """

    def __init__(self) -> None:
        self._small: deque[bytes] = deque()
        self._large: deque[Iterator[bytes]] = deque()
        self._wake = asyncio.Event()
        self._finished = False

    def put(self, frame: bytes) -> None:
        """Send a message of one frame, before what is large."""
        self._small.append(frame)
        self._wake.set()

    def put_large(self, frames: Iterable[bytes]) -> None:
        """Send a message of many frames, after the large ones before it."""
        self._large.append(iter(frames))
        self._wake.set()

    def finish(self) -> None:
        """There will be no more; `frames` ends when all is sent."""
        self._finished = True
        self._wake.set()

    def drop(self) -> None:
        """Forget what waits; `frames` ends."""
        self._small.clear()
        self._large.clear()
        self.finish()

    async def frames(self) -> AsyncIterator[bytes]:
        """Frames in the order in which they are to be sent."""
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
    """Bytes of one connection, or of several together.

    Args:
        whole: What this is a part of; it counts the same bytes.
    """

    def __init__(self, whole: Traffic | None = None) -> None:
        self._whole = whole
        self._up = 0
        self._down = 0

    def came(self, frame: bytes) -> None:
        """A message came from a worker."""
        self._up += len(frame)
        if self._whole is not None:
            self._whole.came(frame)

    def went(self, frame: bytes) -> None:
        """A message went to a worker."""
        self._down += len(frame)
        if self._whole is not None:
            self._whole.went(frame)

    def bytes_moved(self) -> Bytes:
        """The sums."""
        return Bytes(self._up, self._down)
