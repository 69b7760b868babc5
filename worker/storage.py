"""`mlpeft-worker cache`: what this machine has fetched from coordinators."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer

from mlpeft.commands.options import DEFAULT_CACHE_GB, CacheDir, CacheGb, Json
from mlpeft.files import size_text
from mlpeft.platform import cache_folder
from mlpeft.transport.blobs.cache import BlobCache, CachedBlob

DAY = 86_400


def cache(
    cache_dir: CacheDir = None,
    cache_gb: CacheGb = DEFAULT_CACHE_GB,
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove what no running worker uses.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Show the data sets and weights that workers of this machine have fetched.

    The files used least recently make room by themselves when the limit is reached.
    """
    blobs = BlobCache(cache_dir or cache_folder(), round(cache_gb * 1e9))
    freed = blobs.clear() if clear else 0
    held = blobs.list_blobs()
    if json_output:
        record = {"folder": str(blobs.folder), "limit_bytes": blobs.limit_bytes}
        files = [asdict(one) for one in held]
        typer.echo(json.dumps(record | {"freed_bytes": freed, "files": files}))
        return
    if clear:
        typer.echo(f"Removed {size_text(freed)}")
    count = f"{len(held)} file{'' if len(held) == 1 else 's'}"
    total, limit = sum(one.size for one in held), blobs.limit_bytes
    typer.echo(f"{blobs.folder}: {count}, {size_text(total)} of {size_text(limit)}")
    for one in held:
        typer.echo(f"  {one.sha256[:12]}  {size_text(one.size):>8}  {_story(one)}")


def _story(one: CachedBlob) -> str:
    """Name, last use and state of a blob, in words."""
    days = int((time.time() - one.used_at) / DAY)
    used = "today" if days < 1 else f"{days} d ago"
    state = "in use" if one.in_use else f"used {used}"
    return ", ".join(
        part for part in (one.name, state, "" if one.whole else "not whole yet") if part
    )
