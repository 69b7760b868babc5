"""Serves a dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.dashboard.web.app import Dashboard
from mlpeft.web.server import WebServer

if TYPE_CHECKING:
    from mlpeft.dashboard.monitor import Monitor
    from mlpeft.dashboard.web.access import Access
    from mlpeft.transport.security.authority import Authority


class DashboardServer(WebServer):
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
        app = Dashboard(monitor, access).app
        super().__init__(app, "dashboard", authority, client_certificates=True)
