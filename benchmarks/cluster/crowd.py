"""Do a thousand workers hold, and what do they cost the coordinator?

Real connections: workers with their state machine, driver and gRPC link, hundreds in a
process, which compute nothing and return theta at once. They join, idle for a while
with heartbeats only, and then compute rounds of a shard each. The coordinator runs in
the process that measures; its share of a core and its memory are its own.

A connection takes a file descriptor at each end; the limit is raised as far as it may
be, and `needs` says what it must be at least.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cluster.toy import VIEW, SleepingRunner, shards_of, theta_of
from mlpeft.cluster.worker.machine import WorkerPolicy
from mlpeft.cluster.worker.messages import ShardComputed
from mlpeft.config import RunConfig
from mlpeft.runtime import fingerprint
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.executor import ClusterExecutor, Runtime
from mlpeft.runtime.worker.driver import WorkerDriver
from mlpeft.runtime.worker.grpc_link import GrpcLink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlpeft.cluster.protocol import Lease, LeaseKey
    from mlpeft.cluster.worker.messages import WorkerEvent
    from mlpeft.params import ParamTree

PER_PROCESS = 250
IDLE_S = 10.0
ROUNDS = 5
SIZE_BYTES = 4096
PATIENCE_S = 300.0
SPARE_FILES = 200
"""File descriptors of a process beside its connections."""


class NoThread:
    """Computes at once, where it is asked: thousands of threads would be too many."""

    def __init__(self, post: Callable[[WorkerEvent], None]) -> None:
        self._post = post
        self._runner = SleepingRunner(0.0)

    def prepare(self, config: RunConfig, files: object) -> Future[Prepared]:
        """There is nothing to make ready."""
        del config, files
        ready: Future[Prepared] = Future()
        ready.set_result(Prepared(self._runner, "none", VIEW))
        return ready

    def submit(self, lease: Lease, meta: ParamTree) -> None:
        """The outcome is posted, and so comes after this event."""
        update = self._runner.run(meta, lease.shard)
        self._post(ShardComputed(lease.key, update))

    def cancel(self, key: LeaseKey) -> None:
        """It is computed already."""

    def close(self) -> None:
        """There is no thread."""


def raise_limit() -> int:
    """As many file descriptors as this process may have; how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def work(address: str, first: int, count: int) -> None:
    """So many workers in this process, until the run is over."""
    raise_limit()

    async def run() -> None:
        workers = [
            WorkerDriver(
                GrpcLink(address, None),
                NoThread,  # type: ignore[arg-type] - all that a driver uses of it
                policy=WorkerPolicy(once=True),
                name=f"w{first + index}",
                versions=fingerprint.own_versions(),
            )
            for index in range(count)
        ]
        await asyncio.gather(*(worker.run() for worker in workers))

    asyncio.run(run())


@contextmanager
def crowd(address: str, workers: int) -> Iterator[None]:
    """Processes with so many workers."""
    command = [sys.executable, "-m", "benchmarks.cluster", "--worker", address]
    processes = [
        subprocess.Popen(
            [*command, "--crowd", f"{first}:{min(PER_PROCESS, workers - first)}"]
        )
        for first in range(0, workers, PER_PROCESS)
    ]
    try:
        yield
    finally:
        for process in processes:
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()


def memory_mib() -> float:
    """Memory of this process now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(workers: int) -> dict[str, Any]:
    """One crowd."""
    files = raise_limit()
    if files < workers + SPARE_FILES:
        return {"workers": workers, "needs": workers + SPARE_FILES, "may open": files}

    def no_local_worker(_config: RunConfig) -> Prepared:
        raise NotImplementedError("workers are processes here")

    config = RunConfig.from_dict({"cluster": {"join_port": 0}})
    runtime = Runtime(config, VIEW, fingerprint.own_versions(), no_local_worker, None)
    address, empty_mib = runtime.start("127.0.0.1", 0), memory_mib()
    row: dict[str, Any] = {"workers": workers}
    with crowd(address, workers):
        try:
            start = time.perf_counter()
            while len(runtime.status().workers) < workers:
                if time.perf_counter() > start + PATIENCE_S:
                    raise TimeoutError(f"{workers} workers did not connect")
                time.sleep(0.2)
            row["joined_s"] = time.perf_counter() - start
            row |= _idle(runtime)
            row["MiB a worker"] = (memory_mib() - empty_mib) / workers
            row |= _rounds(runtime, workers)
        finally:
            runtime.close("measured")
    return row


def _idle(runtime: Runtime) -> dict[str, Any]:
    """Heartbeats only: who is left, and the share of a core that they take."""
    start, used = time.perf_counter(), time.process_time()
    time.sleep(IDLE_S)
    share = (time.process_time() - used) / (time.perf_counter() - start)
    left = len(runtime.status().workers)
    return {"idle cores": share, "left": left}


def _rounds(runtime: Runtime, workers: int) -> dict[str, Any]:
    """A shard for each worker."""
    executor, theta = ClusterExecutor(runtime), theta_of(SIZE_BYTES)
    executor.run(0, theta, shards_of(workers, 0))
    start, used = time.perf_counter(), time.process_time()
    for version in range(1, ROUNDS + 1):
        executor.run(version, theta, shards_of(workers, version))
    took_s, used_s = time.perf_counter() - start, time.process_time() - used
    status = runtime.status()
    return {
        "round_s": took_s / ROUNDS,
        "core_s": used_s / ROUNDS,
        "backups": status.backups,
        "failures": sum(status.failures.values()),
    }
