"""Reads a long file in ranges, so that few bytes are on the way at once.

gRPC's flow control fills every buffer between two machines. Ranges that are asked for
one after another do not: those on the way together take about half a second, as in
`mlpeft.transport.rpc.window`, and pings get through beside them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from mlpeft.transport.rpc.window import Window

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    ReadRange = Callable[[int, int], Awaitable[list[bytes]]]


async def in_ranges(
    read: ReadRange, offset: int, clock: Callable[[], float] = time.monotonic
) -> AsyncGenerator[bytes, None]:
    """The bytes from an offset to the end, in pieces.

    Args:
        read: Reads from an offset so many bytes, in pieces; fewer at the end.
        offset: Where to begin.
        clock: Seconds on a monotonic clock.
    """
    window = Window()
    asked: deque[tuple[int, asyncio.Task[list[bytes]]]] = deque()
    try:
        ended = False
        while not ended:
            while window.is_open or not asked:
                size = window.range_bytes
                task = asyncio.ensure_future(read(offset + window.sent, size))
                window.send(size, clock(), marked=True)
                asked.append((size, task))
            size, task = asked.popleft()
            pieces = await task
            window.acknowledge(window.acknowledged + size, clock())
            for piece in pieces:
                yield piece
            ended = sum(map(len, pieces)) < size
    finally:
        rest = [task for _, task in asked]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
