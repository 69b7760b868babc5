"""The call Join: its request and response, to bytes and back."""

from __future__ import annotations

from dataclasses import dataclass

from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.blobs.manifest import OfferedAsset, is_digest
from mlpeft.transport.rpc import cluster_pb2 as pb
from mlpeft.transport.rpc.parsing import (
    MOST_ID,
    MOST_NAME,
    MOST_REQUEST_BYTES,
    identifier,
    parse,
    text,
)


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A worker asks to take part; fields as in cluster.proto."""

    protocol_version: int
    mlpeft_version: str
    mlx_version: str
    name: str
    process_id: str


@dataclass(frozen=True, slots=True)
class JoinResponse:
    """The coordinator lets a worker in; fields as in cluster.proto."""

    worker_id: str
    session: str
    config_yaml: str
    assets: tuple[OfferedAsset, ...] = ()


def encode_join_request(request: JoinRequest) -> bytes:
    """The bytes of a Join call."""
    return pb.JoinRequest(
        protocol_version=request.protocol_version,
        mlpeft_version=request.mlpeft_version,
        mlx_version=request.mlx_version,
        name=request.name,
        process_id=request.process_id,
    ).SerializeToString()


def decode_join_request(data: bytes) -> JoinRequest:
    """What a worker asks for.

    Raises:
        RemoteProtocolError: If it is something else.
    """
    request = parse(pb.JoinRequest, data, MOST_REQUEST_BYTES)
    return JoinRequest(
        protocol_version=request.protocol_version,
        mlpeft_version=text(request.mlpeft_version, MOST_ID),
        mlx_version=text(request.mlx_version, MOST_ID),
        name=text(request.name, MOST_NAME),
        process_id=identifier("a process id", request.process_id),
    )


def encode_join_response(response: JoinResponse) -> bytes:
    """The bytes of a Join call's answer."""
    return pb.JoinResponse(
        worker_id=response.worker_id,
        session=response.session,
        config_yaml=response.config_yaml,
        assets=[
            pb.Asset(
                name=asset.name,
                sha256=asset.sha256,
                size_bytes=asset.size_bytes,
                is_folder=asset.is_folder,
            )
            for asset in response.assets
        ],
    ).SerializeToString()


def decode_join_response(data: bytes) -> JoinResponse:
    """What the coordinator answers.

    Raises:
        RemoteProtocolError: If it is something else.
    """
    response = parse(pb.JoinResponse, data)
    for asset in response.assets:
        # It becomes the name of a file: nothing else may.
        if not is_digest(asset.sha256):
            raise RemoteProtocolError(
                f"{asset.sha256[:80]!r}, offered as the digest of {asset.name[:80]!r}, "
                "is no SHA-256"
            )
    return JoinResponse(
        worker_id=response.worker_id,
        session=response.session,
        config_yaml=response.config_yaml,
        assets=tuple(
            OfferedAsset(asset.name, asset.sha256, asset.size_bytes, asset.is_folder)
            for asset in response.assets
        ),
    )
