"""The call FetchBlob: its request and pieces, to bytes and back."""

from __future__ import annotations

from dataclasses import dataclass

from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc import cluster_pb2 as pb
from mlpeft.transport.rpc.parsing import MOST_REQUEST_BYTES, parse


@dataclass(frozen=True, slots=True)
class BlobRequest:
    """A worker asks for bytes of the run's files; fields as in cluster.proto."""

    worker_id: str
    sha256: str
    offset: int
    most_bytes: int = 0


def encode_request(request: BlobRequest) -> bytes:
    """The bytes of a FetchBlob call."""
    return pb.FetchBlobRequest(
        worker_id=request.worker_id,
        sha256=request.sha256,
        offset=request.offset,
        most_bytes=request.most_bytes,
    ).SerializeToString()


def decode_request(data: bytes) -> BlobRequest:
    """What a worker asks for.

    Raises:
        RemoteProtocolError: If it is something else.
    """
    request = parse(pb.FetchBlobRequest, data, MOST_REQUEST_BYTES)
    return BlobRequest(
        request.worker_id, request.sha256, request.offset, request.most_bytes
    )


def encode_piece(data: bytes) -> bytes:
    """The bytes of a piece of an answer."""
    return pb.FetchBlobResponse(data=data).SerializeToString()


def decode_piece(frame: bytes) -> bytes:
    """A piece of a blob.

    Raises:
        RemoteProtocolError: If it is something else.
    """
    data: bytes = parse(pb.FetchBlobResponse, frame).data
    if not data:  # a transfer of such pieces would never end
        raise RemoteProtocolError("a piece of a file without a byte")
    return data
