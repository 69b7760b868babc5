"""Numbers as protobuf writes them: seven bits a byte, least first."""

from __future__ import annotations

from mlpeft.errors import RemoteProtocolError

_MOST_BITS = 28
"""More than any length of a message here needs."""


def varint(value: int) -> bytes:
    """The bytes of a number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it.

    Raises:
        RemoteProtocolError: If there is none.
    """
    value, shift = 0, 0
    while True:
        if at >= len(data) or shift > _MOST_BITS:
            raise RemoteProtocolError("a part of a message without a length")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
