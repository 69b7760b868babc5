"""Serves an application from a thread, over TLS where it is needed."""

from __future__ import annotations

import socket
import ssl
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mlpeft.errors import MlpeftError
from mlpeft.transport.rpc.address import join_address, local_host

if TYPE_CHECKING:
    import asyncio

    from starlette.types import ASGIApp

    from mlpeft.transport.security.authority import Authority

PEER: Final = "mlpeft.peer_certificate"
"""Key of a request's scope: the caller's certificate, DER."""
CLOSE_S: Final = 20.0
"""Seconds for the thread to end, beyond what answers under way get."""
MOST_CONNECTIONS: Final = 256
"""Beyond it callers are told to come back later."""


class WebServer:
    """An application that is being served, until it is closed.

    Args:
        app: Answers the requests.
        what: What it is, for messages and as the thread's name.
        authority: Its certificate is the server's; None: in the clear.
        client_certificates: Whether callers are asked for certificates of the
            authority; they need not have one.
        grace_s: Seconds that answers under way get at the end.
    """

    def __init__(
        self,
        app: ASGIApp,
        what: str,
        authority: Authority | None = None,
        *,
        client_certificates: bool = False,
        grace_s: int = 1,
    ) -> None:
        self._app = app
        self._what = what
        self._grace_s = grace_s
        self._tls: dict[str, Any] = {}
        if authority is not None:
            self._tls = _tls_options(authority, client_certificates)
        self.scheme = "https" if authority is not None else "http"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str, port: int) -> str:
        """Listen; the URL, with the port that was chosen for port 0.

        Raises:
            MlpeftError: If the address cannot be had.
        """
        address = join_address(host, port)
        try:
            listening = socket.create_server(
                (host, port), family=_family(host), reuse_port=False
            )
        except OSError as error:
            raise MlpeftError(
                f"cannot serve the {self._what} on {address}: {error.strerror}; give "
                "another address, such as 127.0.0.1:0 (0: any free port)"
            ) from error
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            limit_concurrency=MOST_CONNECTIONS,
            server_header=False,
            timeout_graceful_shutdown=self._grace_s,
            **self._tls,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [listening]},
            name=f"mlpeft-{self._what}",
            daemon=True,
        )
        self._thread.start()
        shown = join_address(local_host(host), listening.getsockname()[1])
        return f"{self.scheme}://{shown}"

    def is_alive(self, wait_s: float = 0.0) -> bool:
        """Whether it still serves, after at most some seconds of waiting."""
        if self._thread is None:
            return False
        self._thread.join(wait_s)
        return self._thread.is_alive()

    def wait(self) -> None:
        """Serve until the thread ends or the caller is interrupted."""
        while self.is_alive(1.0):
            pass

    def close(self) -> None:
        """Stop serving. May be called twice."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(self._grace_s + CLOSE_S)
        self._server = None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _tls_options(authority: Authority, client_certificates: bool) -> dict[str, Any]:
    authority.server_pair()  # renewed, if it expires soon
    folder = authority.folder
    options: dict[str, Any] = {
        "ssl_certfile": folder / "server.pem",
        "ssl_keyfile": folder / "server.key",
    }
    if client_certificates:
        options |= {
            "ssl_ca_certs": str(folder / "ca.pem"),
            "ssl_cert_reqs": ssl.CERT_OPTIONAL,
        }
    return options


class _Protocol(H11Protocol):
    """uvicorn's HTTP, which also tells the application the caller's certificate."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        der = secured.getpeercert(binary_form=True) if secured is not None else None
        if der:
            self.app = partial(_with_peer, self.app, der)


async def _with_peer(app: Any, der: bytes, scope: Any, receive: Any, send: Any) -> None:
    await app({**scope, PEER: der}, receive, send)
