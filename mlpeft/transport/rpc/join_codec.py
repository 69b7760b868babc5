"""The call Join to bytes and back."""

from __future__ import annotations

from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.blobs.manifest import OfferedAsset, is_digest
from mlpeft.transport.rpc import cluster_pb2 as pb
from mlpeft.transport.rpc import wire
from mlpeft.transport.rpc.parsing import parse


def encode_join_request(request: wire.JoinRequest) -> bytes:
    """The bytes of a Join call."""
    return pb.JoinRequest(
        protocol_version=request.protocol_version,
        mlpeft_version=request.mlpeft_version,
        mlx_version=request.mlx_version,
        name=request.name,
        process_id=request.process_id,
    ).SerializeToString()


def decode_join_request(data: bytes) -> wire.JoinRequest:
    """What a worker asks for.

    Raises:
        RemoteProtocolError: If it is something else.
    """
    request = parse(pb.JoinRequest, data)
    return wire.JoinRequest(
        protocol_version=request.protocol_version,
        mlpeft_version=request.mlpeft_version,
        mlx_version=request.mlx_version,
        name=request.name,
        process_id=request.process_id,
    )


def encode_join_response(response: wire.JoinResponse) -> bytes:
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


def decode_join_response(data: bytes) -> wire.JoinResponse:
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
    return wire.JoinResponse(
        worker_id=response.worker_id,
        session=response.session,
        config_yaml=response.config_yaml,
        assets=tuple(
            OfferedAsset(asset.name, asset.sha256, asset.size_bytes, asset.is_folder)
            for asset in response.assets
        ),
    )
