"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path,
    typer.Option("--config", "-c", help="The run's YAML file.", show_default=False),
]
MaybeConfig = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Configuration, where the checkpoint has none beside it.",
        show_default=False,
    ),
]
AllowModule = Annotated[
    list[str] | None,
    typer.Option(
        help="A Python module of yours that the run's configuration may name; may be "
        "given again.",
        show_default=False,
    ),
]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        "--range",
        metavar="SECTION.KEY=LOW:HIGH[:log]",
        help="Where a search may choose a key's number; may be given again.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Change one key; may be given again.",
        show_default=False,
    ),
]
Notify = Annotated[
    str | None,
    typer.Option(
        "--notify",
        metavar="URL|env:NAME|macos|COMMAND",
        help="Who is told when it ends or fails: as notify.webhook, notify.macos or "
        "notify.command.",
        show_default=False,
    ),
]
Checkpoint = Annotated[
    Path,
    typer.Option(
        "--checkpoint",
        help="A run's folder (its best step), one of its steps, or an .npz file.",
        show_default=False,
    ),
]
Episodes = Annotated[
    int | None,
    typer.Option(min=1, help="Test episodes; by default evaluation.num_test_episodes."),
]
Head = Annotated[
    str | None,
    typer.Option(
        help="What classifies, by default the run's evaluation.head: inner_steps; or, "
        "fitted to the support set's embeddings, prototype, ridge, logistic, mean (of "
        "the last two), or auto, the best of these on held-out examples.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
MaybeCoordinator = Annotated[
    str | None,
    typer.Option(
        envvar="MLPEFT_COORDINATOR",
        help="host:port of the coordinator.",
        show_default="the one that was joined, else 127.0.0.1:50051",
    ),
]
RunName = Annotated[
    str | None,
    typer.Option(
        "--run",
        help="Name of the run to look for on the network.",
        show_default="any, if there is one alone",
    ),
]
IdentityFolder = Annotated[
    Path | None,
    typer.Option(
        "--identity",
        help="Folder of this machine's certificate, from `mlpeft-worker join`.",
        show_default="the user's",
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Talk in the clear, whatever the address."),
]
DASHBOARD = "127.0.0.1:8420"
"""Where a dashboard is served, unless the user says otherwise."""
DEFAULT_CACHE_GB = 20.0
CacheDir = Annotated[
    Path | None,
    typer.Option(
        envvar="MLPEFT_CACHE_DIR",
        help="Folder of files that came from coordinators; all workers of a machine "
        "share it.",
        show_default="the user's cache folder",
    ),
]
CacheGb = Annotated[
    float,
    typer.Option(
        envvar="MLPEFT_CACHE_GB",
        min=0.0,
        help="Gigabytes that the cache may hold; what was used least recently goes.",
    ),
]


def with_notify(overrides: list[str] | None, notify: str | None) -> list[str]:
    """The overrides, and what --notify says as one more."""
    from mlpeft.config.notify import notify_override

    if notify is None:
        return overrides or []
    return [*(overrides or ()), notify_override(notify)]
