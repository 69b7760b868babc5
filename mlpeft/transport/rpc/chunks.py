"""Chunks of arrays as frames: written, read and cut by hand.

Chunks are the hot path. A frame is a message with a single field, `chunk` or
`marked_chunk` (tag, length, bytes); to write and read it by hand saves two copies of
every byte. Both directions use the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc.tensors import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlpeft.transport.rpc.tensors import Group

# Length-delimited: `bytes chunk = 4` and `bytes marked_chunk = 9`.
_TAG = (4 << 3 | 2).to_bytes(1, "little")
_MARKED_TAG = (9 << 3 | 2).to_bytes(1, "little")

MARK_EVERY = 4
"""Of the chunks of full size every fourth is marked, so that frames can be shared."""


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
    left, count = group.spec.size_bytes, 0
    for pieces in group.chunks():
        size = sum(piece.nbytes for piece in pieces)
        left, count = left - size, count + 1
        tag = _MARKED_TAG if left == 0 or count % MARK_EVERY == 0 else _TAG
        yield b"".join([tag, _varint(size), *pieces])


def encode(data: memoryview, *, marked: bool) -> bytes:
    """The frame of one chunk."""
    return b"".join([_MARKED_TAG if marked else _TAG, _varint(data.nbytes), data])


def decode(frame: bytes) -> Chunk | None:
    """The chunk, if the frame is one.

    Raises:
        RemoteProtocolError: If it is one that is damaged or too long.
    """
    if frame[:1] not in {_TAG, _MARKED_TAG}:
        return None
    size, at, shift = 0, 1, 0
    while True:
        if at >= len(frame) or shift > 28:
            raise RemoteProtocolError("a chunk without a length")
        byte = frame[at]
        size |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    if size != len(frame) - at or not 0 < size <= CHUNK_BYTES:
        raise RemoteProtocolError(
            f"a chunk says {size} bytes and has {len(frame) - at}; at most "
            f"{CHUNK_BYTES} are accepted"
        )
    return Chunk(memoryview(frame)[at:], frame[:1] == _MARKED_TAG)


def _varint(value: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, least first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
