"""Opening a server's port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from mlpeft.errors import MlpeftError
from mlpeft.transport.rpc.address import SOCKET, join_address

if TYPE_CHECKING:
    from pathlib import Path

Context: TypeAlias = Any
"""A `grpc.aio.ServicerContext`; grpcio has no types."""


async def listen(
    server: Any, host: str, port: int, credentials: Any | None, remedy: str
) -> str:
    """Start a `grpc.aio` server; its address, with the port that was chosen if 0.

    Args:
        server: What to start.
        host: Where to listen.
        port: Where to listen.
        credentials: For TLS; None: in the clear.
        remedy: What to do if the address is taken.

    Raises:
        MlpeftError: If the address cannot be had.
    """
    address = join_address(host, port)
    try:
        if credentials is None:
            chosen = server.add_insecure_port(address)
        else:
            chosen = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise MlpeftError(
            f"cannot listen on {address}: is another coordinator running? {remedy}"
        ) from error
    await server.start()
    return join_address(host, chosen)


async def listen_on_socket(server: Any, path: Path) -> str:
    """Start a `grpc.aio` server on a socket in the file system; its address.

    Args:
        server: What to start.
        path: Where; who may enter its folder may call.
    """
    address = f"{SOCKET}{path}"
    server.add_insecure_port(address)
    await server.start()
    return address
