"""What all codecs need: bytes to a generated message, and lease keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from mlpeft.cluster.protocol import LeaseKey
from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc import cluster_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.message import Message


def parse(kind: type[Any], frame: bytes) -> Any:
    """The message of a generated class.

    Raises:
        RemoteProtocolError: If the bytes are something else.
    """
    message: Message = kind()
    try:
        message.ParseFromString(frame)
    except DecodeError as error:
        raise RemoteProtocolError(
            f"{len(frame)} bytes are no {kind.DESCRIPTOR.name}: {error}"
        ) from error
    return message


def encode_key(key: LeaseKey) -> pb.LeaseKey:
    """A lease key for the wire."""
    return pb.LeaseKey(
        session=key.session,
        round_id=key.round_id,
        shard=key.shard,
        attempt=key.attempt,
    )


def decode_key(key: pb.LeaseKey) -> LeaseKey:
    """A lease key from the wire."""
    return LeaseKey(key.session, key.round_id, key.shard, key.attempt)
