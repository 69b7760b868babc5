"""What serving a dashboard takes: packages, and protection off loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mlpeft.transport.rpc.address import is_loopback
from mlpeft.web.needs import check_packages, check_tls

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.dashboard.monitor import Monitor
    from mlpeft.dashboard.web.serve import DashboardServer
    from mlpeft.transport.security.authority import Authority


def check_installed() -> None:
    """See that the extra is there.

    Raises:
        ConfigError: If it is not.
    """
    check_packages("the dashboard", "dashboard", ("starlette", "uvicorn"))


def check_protected(
    host: str, authority: Authority | None, *, insecure: bool, source: str
) -> None:
    """See that a page is protected as its address needs.

    Args:
        host: Where it will listen.
        authority: Whose certificate it shows; None: there is none.
        insecure: Whether the user wants no protection.
        source: Of the address, for the message.

    Raises:
        SecurityError: If others can reach it and there is no TLS.
    """
    check_tls(
        host,
        authority,
        insecure=insecure,
        source=source,
        what="the page",
        without="shows it to everybody on the network, in the clear, without steering",
    )


def server_for(
    monitor: Monitor,
    host: str,
    *,
    authority: Authority | None,
    login: bool,
) -> tuple[DashboardServer, Callable[[int], str]]:
    """A server with the protection that its address needs.

    Args:
        monitor: What is shown.
        host: Where it will listen; `check_protected` was there before.
        authority: Whose operators may steer, and whose certificate is shown off
            loopback; None: nobody steers there.
        login: Whether steering takes a login on loopback, too.

    Returns:
        The server, and what starts it on a port: it returns the URL.
    """
    from mlpeft.dashboard.web.access import Access
    from mlpeft.dashboard.web.serve import DashboardServer

    local = is_loopback(host)
    url = ""

    def tell(path: str) -> None:
        typer.echo(f"to steer from one browser, open {url}{path}", err=True)

    links = login and (local or authority is not None)
    access = Access(
        open_to_all=local and not login,
        local=local,
        authority=authority,
        tell=tell if links else None,
    )
    server = DashboardServer(monitor, access, None if local else authority)

    def start(port: int) -> str:
        nonlocal url
        url = server.start(host, port)
        access.offer_link()
        return url

    return server, start
