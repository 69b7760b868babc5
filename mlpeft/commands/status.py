"""`mlpeft status`: what a coordinator is doing, and what it waits for."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.commands.options import (
    IdentityFolder,
    Insecure,
    Json,
    MaybeCoordinator,
    RunName,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from mlpeft.cluster.overview import Overview
    from mlpeft.transport.security.identity import Identity

LOOK_S = 1.0
"""Seconds between two questions of --watch."""


def status(
    coordinator: MaybeCoordinator = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on showing it, until Ctrl-C.")
    ] = False,
    json_output: Json = False,
    run: RunName = None,
    identity: IdentityFolder = None,
    insecure: Insecure = False,
) -> None:
    """Show a coordinator's run, round, workers and leases, and what it waits for.

    With --watch it also shows that the coordinator is gone, and its return. With --json
    and --watch a line is printed for each change.
    """
    from mlpeft.runtime.client import find

    if not watch:
        address, shown = find(coordinator, identity, insecure=insecure, run=run)
        _print(_ask(address, shown), as_json=json_output)
        return
    looks = _looks(coordinator, run, identity, insecure)
    try:
        if json_output:
            _watch_as_json(looks)
        else:
            _watch(looks)
    except KeyboardInterrupt:
        return


def _ask(address: str, shown: Identity | None) -> Overview:
    from mlpeft.runtime.client import ask
    from mlpeft.transport.rpc import channel, status_codec

    return status_codec.decode_overview(ask(address, shown, channel.STATUS, b""))


def _looks(
    coordinator: str | None, run: str | None, folder: Path | None, insecure: bool
) -> Iterator[Overview | str]:
    """What is seen, again and again; a text where nobody answers."""
    from mlpeft.runtime.client import CoordinatorGoneError, find

    chosen = None
    while True:
        try:
            # Found anew after a silence: it may come back with TLS, or elsewhere.
            chosen = chosen or find(coordinator, folder, insecure=insecure, run=run)
            yield _ask(*chosen)
        except CoordinatorGoneError as error:
            yield f"no coordinator answers at {chosen[0]}" if chosen else str(error)
            chosen = None
        time.sleep(LOOK_S)


def _watch_as_json(looks: Iterator[Overview | str]) -> None:
    """A line whenever something changed, and for the coordinator's going and coming."""
    from mlpeft.commands.status_view import record, steady

    before: object = None
    for look in looks:
        now = look if isinstance(look, str) else steady(look)
        if now != before:
            line = {"gone": look} if isinstance(look, str) else record(look)
            typer.echo(json.dumps({"time": round(time.time(), 3)} | line))
            before = now


def _watch(looks: Iterator[Overview | str]) -> None:
    """Redraw; where lines cannot be redrawn, print what changed."""
    from mlpeft.commands.status_view import steady
    from mlpeft.reporting.terminal import is_interactive, output_console

    console = output_console()
    if not is_interactive(console):
        before: object = None
        for look in looks:
            now = look if isinstance(look, str) else steady(look)
            if now != before:
                console.print(_picture(look, console.width))
                before = now
        return
    _watch_on_screen(looks, console)


def _watch_on_screen(looks: Iterator[Overview | str], console: Console) -> None:
    """The whole terminal, until Ctrl-C; what was seen last stays below."""
    from rich.live import Live

    from mlpeft.commands.status_screen import screen
    from mlpeft.dashboard.sampling import ClusterHistory

    history, seen = ClusterHistory(), time.monotonic()
    try:
        with Live(console=console, auto_refresh=False, screen=True) as live:
            for look in looks:
                gone = ""
                if isinstance(look, str):
                    gone = f"{look} for {time.monotonic() - seen:.0f} s"
                else:
                    seen = time.monotonic()
                    history.take(look, time.time())
                size = console.size
                shown = (
                    _picture(look, size.width)
                    if history.last is None
                    else screen(history, *size, time.time(), gone)
                )
                live.update(shown, refresh=True)
    finally:
        if history.last is not None:
            console.print(_picture(history.last, console.width))


def _picture(look: Overview | str, width: int) -> RenderableType:
    """What is seen, or that nothing is."""
    from rich.text import Text

    from mlpeft.commands.status_view import view

    if isinstance(look, str):
        return Text(f"{look}; waiting for one", style="yellow")
    return view(look, width)


def _print(overview: Overview, *, as_json: bool) -> None:
    from mlpeft.commands.status_view import record, view
    from mlpeft.reporting.terminal import output_console

    if as_json:
        typer.echo(json.dumps(record(overview)))
    else:
        console = output_console()
        console.print(view(overview, console.width))
