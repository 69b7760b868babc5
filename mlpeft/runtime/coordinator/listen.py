"""Starts gRPC servers on ports and sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from mlpeft.errors import MlpeftError
from mlpeft.transport.rpc.address import SOCKET, join_address

if TYPE_CHECKING:
    from pathlib import Path

Context: TypeAlias = Any
"""A `grpc.aio.ServicerContext`; grpcio is untyped."""


async def listen(
    server: Any, host: str, port: int, credentials: Any | None, remedy: str
) -> str:
    """Start a `grpc.aio` server; returns its address.

    Args:
        server: The server.
        host: Host to listen on.
        port: Port to listen on; 0: any free port.
        credentials: For TLS; None: no TLS.
        remedy: What to do if the address is in use, for the error message.

    Raises:
        MlpeftError: If the address is not available.
    """
    address = join_address(host, port)
    try:
        if credentials is None:
            bound_port = server.add_insecure_port(address)
        else:
            bound_port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise MlpeftError(
            f"cannot listen on {address}: is another coordinator running? {remedy}"
        ) from error
    await server.start()
    return join_address(host, bound_port)


async def listen_on_socket(server: Any, path: Path) -> str:
    """Start a `grpc.aio` server on a Unix socket; returns its address.

    Args:
        server: The server.
        path: The socket; whoever may enter its folder may call.
    """
    address = f"{SOCKET}{path}"
    server.add_insecure_port(address)
    await server.start()
    return address
