"""Serves a dashboard from a thread, over TLS where it is needed."""

from __future__ import annotations

import socket
import ssl
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mlpeft.dashboard.web.access import PEER
from mlpeft.dashboard.web.app import Dashboard
from mlpeft.errors import MlpeftError
from mlpeft.transport.rpc.address import join_address, local_host

if TYPE_CHECKING:
    import asyncio

    from mlpeft.dashboard.monitor import Monitor
    from mlpeft.dashboard.web.access import Access
    from mlpeft.transport.security.authority import Authority

GRACE_S: Final = 1
"""Seconds that answers under way get at the end."""
START_S: Final = 20.0
MOST_CONNECTIONS: Final = 256
"""Beyond it callers are told to come back later."""


class DashboardServer:
    """A dashboard that is being served, until it is closed.

    Args:
        monitor: What is shown.
        access: Who may do what.
        authority: Its certificate is the server's, and operators' certificates are
            asked for; None: in the clear.
    """

    def __init__(
        self, monitor: Monitor, access: Access, authority: Authority | None = None
    ) -> None:
        self._dashboard = Dashboard(monitor, access)
        self._tls = _tls_options(authority) if authority is not None else {}
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
                f"cannot serve the dashboard on {address}: {error.strerror}; give "
                "another address, such as 127.0.0.1:0 (0: any free port)"
            ) from error
        config = uvicorn.Config(
            self._dashboard.app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            limit_concurrency=MOST_CONNECTIONS,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
            **self._tls,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [listening]},
            name="mlpeft-dashboard",
            daemon=True,
        )
        self._thread.start()
        shown = join_address(local_host(host), listening.getsockname()[1])
        return f"{self.scheme}://{shown}"

    def wait(self) -> None:
        """Serve until the thread ends or the caller is interrupted."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(1.0)

    def close(self) -> None:
        """Stop serving. May be called twice."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(START_S)
        self._server = None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _tls_options(authority: Authority) -> dict[str, Any]:
    authority.server_pair()  # renewed, if it expires soon
    folder = authority.folder
    return {
        "ssl_certfile": folder / "server.pem",
        "ssl_keyfile": folder / "server.key",
        "ssl_ca_certs": str(folder / "ca.pem"),
        "ssl_cert_reqs": ssl.CERT_OPTIONAL,
    }


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
