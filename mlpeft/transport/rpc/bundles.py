"""Small messages that are ready together, as one gRPC message.

Each gRPC message costs both sides system calls and woken threads, which is most of what
a round of small messages costs. So what a sender has ready goes out at once, above all
a lease and the theta that it needs. Bundles are written and read by hand, as chunks
are: their parts are frames as they would travel alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc.varints import read_varint, varint

if TYPE_CHECKING:
    from collections.abc import Sequence

# Length-delimited: `repeated ... bundle = 11`.
_TAG = (11 << 3 | 2).to_bytes(1, "little")

MOST_PARTS = 64
"""Messages of a bundle."""
MOST_BYTES = 256 << 10
"""Size up to which a sender makes bundles; small beside the largest message."""


def encode(frames: Sequence[bytes]) -> bytes:
    """The frame that holds these; a single one as it is."""
    if len(frames) == 1:
        return frames[0]
    pieces = [piece for part in frames for piece in (_TAG, varint(len(part)), part)]
    return b"".join(pieces)


def decode(frame: bytes) -> Sequence[bytes]:
    """The frames that came as one; itself if it is no bundle.

    Raises:
        RemoteProtocolError: If it is a bundle that is damaged, too long or nested.
    """
    if not frame.startswith(_TAG):
        return (frame,)
    parts: list[bytes] = []
    at = 0
    while at < len(frame):
        if len(parts) == MOST_PARTS:
            raise RemoteProtocolError(f"a bundle of more than {MOST_PARTS} messages")
        size, start = read_varint(frame, at + 1)
        part = frame[start : start + size]
        if frame[at : at + 1] != _TAG or len(part) != size:
            raise RemoteProtocolError(
                f"a bundle of {len(frame)} bytes is damaged at byte {at}"
            )
        if part.startswith(_TAG):
            raise RemoteProtocolError("a bundle holds another")
        parts.append(part)
        at = start + size
    return parts
