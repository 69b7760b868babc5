"""gRPC credentials and channels from keys and certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from mlpeft.transport.rpc import channel
from mlpeft.transport.security.certificates import COORDINATOR_NAME

if TYPE_CHECKING:
    from mlpeft.transport.security.authority import Authority
    from mlpeft.transport.security.identity import Identity


def _tls_options(address: str) -> list[tuple[str, str | int]]:
    name = ("grpc.ssl_target_name_override", COORDINATOR_NAME)
    return [*channel.options_to(address), name]


def for_workers(authority: Authority) -> Any:
    """Server credentials of the cluster's port, which requires client certificates."""
    pair = authority.server_pair()
    return grpc.ssl_server_credentials(
        [(pair.key, pair.certificate)],
        root_certificates=authority.ca_certificate,
        require_client_auth=True,
    )


def for_joins(authority: Authority) -> Any:
    """Server credentials of the port for joins, without client certificates."""
    pair = authority.server_pair()
    return grpc.ssl_server_credentials([(pair.key, pair.certificate)])


def worker_channel(address: str, identity: Identity | None) -> Any:
    """A `grpc.aio` channel to a coordinator; without TLS if there is no identity."""
    if identity is None:
        return grpc.aio.insecure_channel(address, options=channel.options_to(address))
    return grpc.aio.secure_channel(
        address, _for_channel(identity), _tls_options(address)
    )


def blocking_channel(address: str, identity: Identity | None) -> Any:
    """As `worker_channel`, but blocking."""
    if identity is None:
        return grpc.insecure_channel(address, options=channel.options_to(address))
    return grpc.secure_channel(address, _for_channel(identity), _tls_options(address))


def join_channel(address: str, root: bytes) -> Any:
    """A blocking channel to the port for joins, verified against `root`.

    Args:
        address: host:port.
        root: PEM of the CA, or of the only accepted certificate.
    """
    return grpc.secure_channel(
        address, grpc.ssl_channel_credentials(root), _tls_options(address)
    )


def _for_channel(identity: Identity) -> Any:
    return grpc.ssl_channel_credentials(identity.ca, identity.key, identity.certificate)
