"""Chunks of arrays as frames: written, read and cut by hand.

Chunks are the hot path. A frame is a message with a single field, `chunk` or
`marked_chunk` (tag, length, bytes); to write and read it by hand saves two copies of
every byte. Both directions use the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc.tensors import CHUNK_BYTES
from mlpeft.transport.rpc.varints import read_varint, varint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlpeft.transport.rpc.tensors import Group

# Length-delimited: `bytes chunk = 4` and `bytes marked_chunk = 9`.
_TAG = (4 << 3 | 2).to_bytes(1, "little")
_MARKED_TAG = (9 << 3 | 2).to_bytes(1, "little")

MARK_EVERY = 4
"""Of the chunks of full size every fourth is marked, so that frames can be shared."""


RECENT = 8
"""Frames that are kept for other streams: workers at one speed are rarely further
apart, and one that is has its frame made again, which takes a copy of a chunk."""


class Chunk(NamedTuple):
    """A chunk.

    Attributes:
        data: Its bytes.
        marked: Whether its receiver acknowledges it.
    """

    data: memoryview
    marked: bool


def frames_of(group: Group) -> Iterator[bytes]:
    """The chunks of what does not travel inline; the last one is marked."""
    chunks = list(group.chunks())
    for number, pieces in enumerate(chunks, 1):
        yield _frame(pieces, number, len(chunks))


class SharedFrames:
    """The frames of a message that goes out on many streams.

    Each iterator has all of them. They are made as they are asked for, and few are
    kept, so that a message takes no memory beside its arrays.

    Args:
        head: The frame before the chunks.
        group: The message's arrays.
    """

    def __init__(self, head: bytes, group: Group) -> None:
        self._head = head
        self._chunks = list(group.chunks())
        self._recent: dict[int, bytes] = {}

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        for number, pieces in enumerate(self._chunks, 1):
            yield self._shared(pieces, number)

    def _shared(self, pieces: list[memoryview], number: int) -> bytes:
        frame = self._recent.get(number)
        if frame is None:
            if len(self._recent) >= RECENT:
                del self._recent[next(iter(self._recent))]
            frame = _frame(pieces, number, len(self._chunks))
            self._recent[number] = frame
        return frame


def _frame(pieces: list[memoryview], number: int, chunks: int) -> bytes:
    """The frame of a chunk: the one of this number, from 1, of so many."""
    tag = _MARKED_TAG if number == chunks or number % MARK_EVERY == 0 else _TAG
    size = sum(piece.nbytes for piece in pieces)
    return b"".join([tag, varint(size), *pieces])


def encode(data: memoryview, *, marked: bool) -> bytes:
    """The frame of one chunk."""
    return b"".join([_MARKED_TAG if marked else _TAG, varint(data.nbytes), data])


def decode(frame: bytes) -> Chunk | None:
    """The chunk, if the frame is one.

    Raises:
        RemoteProtocolError: If it is one that is damaged or too long.
    """
    if frame[:1] not in {_TAG, _MARKED_TAG}:
        return None
    size, at = read_varint(frame, 1)
    if size != len(frame) - at or not 0 < size <= CHUNK_BYTES:
        raise RemoteProtocolError(
            f"a chunk says {size} bytes and has {len(frame) - at}; at most "
            f"{CHUNK_BYTES} are accepted"
        )
    return Chunk(memoryview(frame)[at:], frame[:1] == _MARKED_TAG)
