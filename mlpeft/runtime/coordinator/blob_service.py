"""Serves a run's files to its workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mlpeft.transport.rpc import blob_codec
from mlpeft.transport.rpc.tensors import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from mlpeft.runtime.coordinator.driver import CoordinatorDriver
    from mlpeft.runtime.coordinator.listen import Context
    from mlpeft.transport.blobs.offer import Blob


SIGN_PIECES = 8
"""Pieces after which the driver is told that a transfer continues."""


async def send_blob(
    driver: CoordinatorDriver,
    data: bytes,
    context: Context,
    check: Callable[[], object],
) -> None:
    """Answer a FetchBlob call. Reads off the event loop: a disk may be slow.

    Args:
        driver: Knows the joined workers and the run's blobs.
        data: The request.
        context: The call.
        check: Raises if the caller was revoked; called before each piece.

    Raises:
        MlpeftError: If the caller may not fetch the blob, or it cannot be read.
    """
    request = blob_codec.decode_request(data)
    blob = driver.joins.blob(request)
    if request.most_bytes and request.offset >= blob.size_bytes:
        return  # a range asked for before the worker knew where the end is
    left = request.most_bytes or blob.size_bytes
    pieces = 0
    with await _open(blob, request.offset) as file:
        while piece := await asyncio.to_thread(file.read, min(left, CHUNK_BYTES)):
            check()
            frame = blob_codec.encode_piece(piece)
            await context.write(frame)
            driver.traffic.count_sent(frame)
            left -= len(piece)
            pieces += 1
            if pieces % SIGN_PIECES == 0:
                driver.joins.fetching(request)


async def _open(blob: Blob, offset: int) -> BinaryIO:
    """Open a blob off the event loop; a call that ends meanwhile leaves it closed."""
    # A future, not a task: the end of the loop cancels tasks, and loses their results.
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, blob.open, offset)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


def _close(opening: asyncio.Future[BinaryIO]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
