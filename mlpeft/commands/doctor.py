"""`mlpeft doctor`: could this machine work in a cluster, and if not, why?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlpeft.commands.options import IdentityFolder, Insecure, Json, MaybeCoordinator
from mlpeft.commands.verdicts import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlpeft.cluster.overview import Overview
    from mlpeft.commands.checks import Check
    from mlpeft.transport.discovery.announcement import Announcement
    from mlpeft.transport.security.identity import Identity


def doctor(
    coordinator: MaybeCoordinator = None,
    identity: IdentityFolder = None,
    insecure: Insecure = False,
    json_output: Json = False,
) -> None:
    """Check this machine and its way to a coordinator; say what to do.

    Versions, device, BLAS, compiler, disk; who announces a coordinator; then, with one
    (--coordinator, or that which was joined): network, TLS, certificate, versions,
    clocks. Names macOS's
    Local Network Privacy where it is in the way. Exit code 1 if a check fails; warnings
    do not count.
    """
    show(_checks(coordinator, identity, insecure), as_json=json_output)


def _checks(
    coordinator: str | None, identity: Path | None, insecure: bool
) -> Iterator[Check]:
    from mlpeft.commands import checks
    from mlpeft.config import RunConfig
    from mlpeft.platform import cache_folder

    yield checks.guarded("installation", checks.check_installation)
    yield checks.guarded("device", checks.check_device)
    yield checks.guarded("BLAS", checks.check_blas)
    yield checks.guarded("compiler", checks.check_compiler)
    for name, folder, elsewhere in (
        ("disk for the cache", cache_folder(), "set MLPEFT_CACHE_DIR to another disk"),
        (
            "disk for runs",
            RunConfig().paths.checkpoint_dir,
            "set paths.checkpoint_dir to another disk",
        ),
    ):
        yield checks.check_disk(folder, name, elsewhere)
    yield from _of_coordinator(coordinator, identity, insecure)


def _of_coordinator(
    coordinator: str | None, folder: Path | None, insecure: bool
) -> Iterator[Check]:
    from mlpeft.commands import checks, reach
    from mlpeft.commands.checks import Check, Status
    from mlpeft.errors import MlpeftError
    from mlpeft.platform.network import SystemNetwork
    from mlpeft.runtime.client import choose_to_steer
    from mlpeft.transport.rpc.diagnose import loses_large, obstacle
    from mlpeft.transport.security import identity
    from mlpeft.transport.security.folders import (
        coordinator_folder,
        worker_folder,
    )
    from mlpeft.transport.security.operator import operator_folder

    if coordinator is None:
        yield checks.guarded("discovery", lambda: reach.check_announced(_announced()))
    places = (folder or worker_folder(), operator_folder(coordinator_folder()))
    if coordinator is None and not any(map(identity.exists, places)):
        detail = "none is named, and this machine has joined none"
        remedy = "--coordinator HOST:PORT checks the way to one"
        yield Check("coordinator", Status.OK, detail, remedy)
        return
    try:
        address, shown = choose_to_steer(coordinator, folder, insecure=insecure)
    except MlpeftError as error:
        yield Check("coordinator", Status.FAILED, str(error))
        return
    if shown is not None:
        yield reach.check_certificate(shown)
    yield from reach.check_coordinator(
        address,
        SystemNetwork(),
        lambda: obstacle(address, shown),
        lambda: _look(address, shown),
        loses_large=lambda: loses_large(address),
    )


def _announced() -> tuple[Announcement, ...]:
    """Who announces a coordinator just now."""
    import asyncio

    from mlpeft.transport.discovery.search import browse

    return asyncio.run(browse())


def _look(address: str, shown: Identity | None) -> Overview:
    from mlpeft.runtime.client import ask
    from mlpeft.transport.rpc import channel, status_codec

    return status_codec.decode_overview(ask(address, shown, channel.STATUS, b""))
