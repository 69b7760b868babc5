"""What all codecs need: bytes to a generated message, and lease keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from mlpeft.cluster.protocol import LeaseKey
from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc import cluster_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.message import Message


MOST_REQUEST_BYTES = 16 << 10
"""Size of a request without arrays."""
MOST_NAME = 63
"""Characters of a worker's name."""
MOST_ID = 64
"""Characters of an identifier, a digest or a version."""
MOST_TEXT = 200
"""Characters of a text for people: a device, a reason."""


def parse(kind: type[Any], frame: bytes, most_bytes: int | None = None) -> Any:
    """The message of a generated class.

    Args:
        kind: The class.
        frame: Its bytes.
        most_bytes: How many there may be; None: as many as gRPC lets through.

    Raises:
        RemoteProtocolError: If the bytes are something else, or too many.
    """
    if most_bytes is not None and len(frame) > most_bytes:
        raise RemoteProtocolError(
            f"{kind.DESCRIPTOR.name} of {len(frame)} bytes, expected at most "
            f"{most_bytes}"
        )
    message: Message = kind()
    try:
        message.ParseFromString(frame)
    except DecodeError as error:
        raise RemoteProtocolError(
            f"{len(frame)} bytes are no {kind.DESCRIPTOR.name}: {error}"
        ) from error
    return message


def text(value: str, most: int = MOST_TEXT) -> str:
    """A peer's text for people, cut to so many characters.

    Names and reasons are kept, logged and shown, so that their size is bounded here,
    where they come in.
    """
    return value if len(value) <= most else f"{value[: most - 3]}..."


def identifier(what: str, value: str) -> str:
    """A peer's identifier. It must not be cut: another one may begin alike.

    Raises:
        RemoteProtocolError: If it is too long.
    """
    if len(value) > MOST_ID:
        raise RemoteProtocolError(
            f"{what} has {len(value)} characters, expected at most {MOST_ID}"
        )
    return value


def encode_key(key: LeaseKey) -> pb.LeaseKey:
    """A lease key for the wire."""
    return pb.LeaseKey(
        session=key.session,
        round_id=key.round_id,
        shard=key.shard,
        attempt=key.attempt,
    )


def decode_key(key: pb.LeaseKey) -> LeaseKey:
    """A lease key from the wire.

    Raises:
        RemoteProtocolError: If its session is none.
    """
    return LeaseKey(
        identifier("a session", key.session), key.round_id, key.shard, key.attempt
    )
