"""`mlpeft dashboard`: a live page of a cluster's run, or of runs' folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.commands.options import (
    DASHBOARD,
    IdentityFolder,
    Insecure,
    MaybeCoordinator,
    RunName,
)

if TYPE_CHECKING:
    from mlpeft.dashboard.log_tail import LogTail
    from mlpeft.dashboard.sources import RemoteCoordinator


def dashboard(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of runs, as `mlpeft train` prints them, or of a queue: "
            "curves and log of the first, compared with the others.",
            show_default="the running cluster alone",
        ),
    ] = None,
    coordinator: MaybeCoordinator = None,
    listen: Annotated[
        str, typer.Option(help="host:port to serve the page at; port 0: any.")
    ] = DASHBOARD,
    browse: Annotated[
        bool, typer.Option("--open/--no-open", help="Open it in the browser.")
    ] = False,
    run: RunName = None,
    identity: IdentityFolder = None,
    security: Annotated[
        Path | None,
        typer.Option(
            help="Folder of certificates, from `mlpeft-coordinator init`, to serve it "
            "over TLS off loopback.",
            show_default="the user's",
        ),
    ] = None,
    insecure: Insecure = False,
) -> None:
    """Serve a live page of a run, until Ctrl-C (extra: dashboard).

    With folders it shows what they hold, while a run writes them and after. Without,
    or with --coordinator, it shows a running cluster, and operators steer it there.
    """
    from mlpeft.dashboard.monitor import Monitor
    from mlpeft.dashboard.needs import check_installed, check_protected, server_for
    from mlpeft.dashboard.run_folder import RunFolder
    from mlpeft.queue.entry import State
    from mlpeft.queue.store import with_queues
    from mlpeft.transport.rpc.address import split_address
    from mlpeft.web.needs import find_authority

    order = (State.RUNNING, State.INTERRUPTED, State.DONE, State.STOPPED, State.FAILED)
    runs = with_queues(runs or (), *order)
    check_installed()
    host, port = split_address(listen, "--listen")
    authority = find_authority(host, security, insecure=insecure)
    check_protected(host, authority, insecure=insecure, source="--listen")
    folders = [RunFolder(path) for path in runs or ()]
    source: RemoteCoordinator | None = None
    login = False
    if not folders or coordinator is not None or run is not None:
        from mlpeft.dashboard.sources import RemoteCoordinator

        source = RemoteCoordinator(coordinator, run, identity, insecure)
        login = source.find() is not None
    server, start = server_for(
        Monitor(source, folders, _log(runs)),
        host,
        authority=authority,
        login=login,
    )
    url = start(port)
    typer.echo(f"dashboard at {url}; Ctrl-C ends it", err=True)
    if browse:
        typer.launch(url)
    try:
        server.wait()
    except KeyboardInterrupt:
        return
    finally:
        server.close()


def _log(runs: list[Path] | None) -> LogTail | None:
    """The log of the first run, if there is one."""
    from mlpeft.commands.logs import find_log
    from mlpeft.dashboard.log_tail import LogTail
    from mlpeft.errors import MlpeftError

    if not runs:
        return None
    try:
        return LogTail(find_log(str(runs[0])))
    except MlpeftError:
        return None
