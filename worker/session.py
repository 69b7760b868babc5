"""One worker, from its first dial to its end."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import typer

from mlpeft.cluster.worker.machine import WorkerPolicy
from mlpeft.launch import INTERRUPTED
from mlpeft.platform import NoSleepGuard, wakefulness
from mlpeft.platform.process import stop_signals
from mlpeft.platform.sensors import sensors
from mlpeft.runtime import fingerprint
from mlpeft.runtime.compute import ComputeThread, prepare
from mlpeft.runtime.worker.driver import WorkerDriver
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.runtime.worker.machine_watch import MachineWatch
from mlpeft.runtime.worker.seeking_link import SeekingLink
from mlpeft.transport.blobs.asset_fetcher import AssetFetcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from mlpeft.cluster.worker.conditions import Conditions
    from mlpeft.cluster.worker.messages import Stop, WorkerEvent
    from mlpeft.runtime.worker.link import Link
    from mlpeft.transport.blobs.cache import BlobCache
    from mlpeft.transport.security.identity import Identity


def link_to(
    address: str,
    shown: Identity | None,
    *,
    search: bool,
    run: str | None,
    insecure: bool,
) -> Link:
    """The way to a coordinator.

    Args:
        address: Its host:port.
        shown: What this side shows; None: in the clear.
        search: Whether to look for one on the network where nobody answers there.
        run: Name of the run to look for.
        insecure: Whether everybody on the network is trusted.
    """
    if search:
        return SeekingLink(address, shown, run=run, insecure=insecure)
    return GrpcLink(address, shown)


def work(
    link: Link,
    name: str,
    blobs: BlobCache,
    *,
    once: bool,
    allow_modules: tuple[str, ...],
    allow_sleep: bool,
    conditions: Conditions,
) -> Stop:
    """Work for a coordinator until the run, the user or an error ends it.

    Args:
        link: The way to the coordinator.
        name: What this worker is called.
        blobs: Keeps what is fetched.
        once: Whether to end with the run.
        allow_modules: Modules of the user's own that a configuration may name.
        allow_sleep: Whether the machine may fall asleep while it computes.
        conditions: When it may compute.

    Returns:
        Why it ended.

    Raises:
        ConditionError: If the machine does not say what a condition needs.
    """
    watch = MachineWatch(conditions, sensors()) if conditions.any else None

    def make_compute(post: Callable[[WorkerEvent], None]) -> ComputeThread:
        return ComputeThread(partial(prepare, allow_modules=allow_modules), post)

    async def run() -> Stop:
        driver = WorkerDriver(
            link,
            make_compute,
            policy=WorkerPolicy(once=once),
            name=name,
            versions=fingerprint.own_versions(),
            fetch_assets=AssetFetcher(blobs).fetch_assets,
            wakefulness=NoSleepGuard() if allow_sleep else wakefulness(),
            watch=watch,
        )
        _stop_on_signal(driver)
        return await driver.run()

    return asyncio.run(run())


def _stop_on_signal(driver: WorkerDriver) -> None:
    """Stop in order; a second signal ends the process, whatever it is at.

    Not by asyncio's handlers, which wait for a loop that may be stuck.
    """
    loop = asyncio.get_running_loop()

    def handle(number: int, _: FrameType | None) -> None:
        for other in stop_signals():
            signal.signal(other, lambda *_: os._exit(INTERRUPTED))
        loop.call_soon_threadsafe(_stop, driver, signal.Signals(number))

    for number in stop_signals():
        signal.signal(number, handle)


def _stop(driver: WorkerDriver, number: signal.Signals) -> None:
    typer.echo(f"{number.name}: finishing the shard in hand", err=True)
    driver.request_stop(f"stopped by {number.name}")
