"""The dashboard that a coordinator serves of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mlpeft.dashboard.log_tail import LogTail
from mlpeft.dashboard.monitor import Monitor
from mlpeft.dashboard.needs import check_installed, check_protected, server_for
from mlpeft.dashboard.recorder import Recorder
from mlpeft.dashboard.run_folder import RunFolder
from mlpeft.dashboard.sources import OwnCoordinator
from mlpeft.reporting.log_file import log_path
from mlpeft.transport.rpc.address import split_address

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.dashboard.web.serve import DashboardServer
    from mlpeft.runtime.coordinator.executor import Runtime
    from mlpeft.transport.security.authority import Authority


class CoordinatorPage:
    """A page of the coordinator of this process.

    Args:
        address: host:port to serve it at.
        authority: Of the coordinator; None: everybody may enter.
        insecure: Whether the user wants no protection.

    Raises:
        MlpeftError: If the address is none, needs a protection that there is not, or
            the extra is missing.
    """

    def __init__(
        self, address: str, authority: Authority | None, *, insecure: bool
    ) -> None:
        check_installed()
        self._host, self._port = split_address(address, "--dashboard")
        check_protected(self._host, authority, insecure=insecure, source="--dashboard")
        self._authority = authority
        self.recorder = Recorder()
        """To be given to the coordinator as its observer."""
        self._server: DashboardServer | None = None

    def open(self, runtime: Runtime, config: RunConfig, run_dir: Path) -> None:
        """Serve it, and say where.

        Raises:
            MlpeftError: If the address cannot be had.
        """
        monitor = Monitor(
            OwnCoordinator(runtime, self.recorder),
            [RunFolder(run_dir)],
            LogTail(log_path(config)),
        )
        self._server, serve = server_for(
            monitor,
            self._host,
            authority=self._authority,
            login=self._authority is not None,
        )
        url = serve(self._port)
        typer.echo(f"dashboard at {url}", err=True)

    def close(self) -> None:
        """Stop serving it."""
        if self._server is not None:
            self._server.close()
