"""A cluster whose workers compute nothing, or sleep: what the measurements share."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from mlpeft.cluster.worker.machine import WorkerPolicy
from mlpeft.config import RunConfig
from mlpeft.meta.compression import Compression
from mlpeft.runtime import fingerprint
from mlpeft.runtime.compute import ComputeThread, Prepared
from mlpeft.runtime.coordinator.executor import Runtime
from mlpeft.runtime.worker.driver import WorkerDriver
from mlpeft.runtime.worker.enrol import enrol
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.transport.security import identity
from mlpeft.transport.security.authority import Authority
from mlpeft.work import Kind, Shard, ShardUpdate, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlpeft.params import ParamTree

VIEW = "benchmark"
LEAVES = 8


class SleepingRunner:
    """Returns theta as the sum of one task, after a while.

    Args:
        seconds: How long that is.
        compression: Of the run.
    """

    def __init__(self, seconds: float, compression: Compression | None = None) -> None:
        self._seconds = seconds
        self._compression = compression

    def run(
        self,
        meta: ParamTree,
        shard: Shard,
        progress: Callable[[int], None] | None = None,
    ) -> ShardUpdate:
        """The update of one shard."""
        del progress
        time.sleep(self._seconds)
        losses = dict.fromkeys(("support_loss", "query_loss"), np.zeros(1, np.float32))
        update = ShardUpdate(shard.index, 1, meta, losses)
        if self._compression is None:
            return update
        return self._compression.compress(meta, shard, update)


def theta_of(size_bytes: int) -> ParamTree:
    """So many bytes of float32 noise in a few leaves."""
    numbers = np.random.default_rng(0).standard_normal
    return {
        f"layers.{index}.weight": numbers(size_bytes // 4 // LEAVES, dtype=np.float32)
        for index in range(LEAVES)
    }


def shards_of(count: int, version: int) -> list[Shard]:
    """So many shards of one task."""
    return [
        Shard(version, index, Kind.TRAIN, (TaskSpec("no-op", index),))
        for index in range(count)
    ]


def work(address: str, name: str, seconds: float, folder: Path | None) -> None:
    """One worker, until the run is over."""

    def prepare(config: RunConfig) -> Prepared:
        compression = Compression.from_config(config)
        runner = SleepingRunner(seconds, compression)
        return Prepared(runner, "none", VIEW, compression)

    shown = None if folder is None else identity.load(folder)
    worker = WorkerDriver(
        GrpcLink(address, shown),
        lambda post: ComputeThread(prepare, post),
        policy=WorkerPolicy(once=True),
        name=name,
        versions=fingerprint.own_versions(),
    )
    asyncio.run(worker.run())


class ToyCluster:
    """A coordinator in this process, and worker processes by name."""

    def __init__(self, runtime: Runtime, address: str) -> None:
        self.runtime = runtime
        self.address = address
        self.workers: dict[str, subprocess.Popen[bytes]] = {}

    def start_worker(
        self, name: str, seconds: float = 0.0, folder: Path | None = None
    ) -> None:
        """Start one more."""
        command = [sys.executable, "-m", "benchmarks.cluster", "--worker", self.address]
        command += ["--name", name, "--seconds", str(seconds)]
        if folder is not None:
            command += ["--identity", str(folder)]
        self.workers[name] = subprocess.Popen(command)

    def wait_for_workers(self, count: int, patience_s: float = 60) -> None:
        """Until so many are connected."""
        deadline = time.monotonic() + patience_s
        while len(self.runtime.status().workers) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} workers did not connect")
            time.sleep(0.02)


@contextmanager
def toy_cluster(
    workers: int, *, seconds: float = 0.0, tls_folder: Path | None = None
) -> Iterator[ToyCluster]:
    """A running cluster; its processes end with it.

    Args:
        workers: Worker processes, w0, w1 ...
        seconds: How long each shard takes.
        tls_folder: Empty folder for certificates of a cluster under mTLS.
    """
    config = RunConfig.from_dict({"cluster": {"join_port": 0}})
    authority = None
    if tls_folder is not None:
        authority = Authority.create(tls_folder / "ca", ["127.0.0.1"])

    def no_local_worker(_config: RunConfig) -> Prepared:
        raise NotImplementedError("workers are processes here")

    runtime = Runtime(
        config, VIEW, fingerprint.own_versions(), no_local_worker, authority
    )
    made = ToyCluster(runtime, runtime.start("127.0.0.1", 0))
    try:
        for index in range(workers):
            name, folder = f"w{index}", None
            if authority is not None and tls_folder is not None:
                assert runtime.join_address is not None  # noqa: S101 - it has one
                token = authority.new_token(runtime.join_address)
                folder = tls_folder / name
                enrol(token, folder, name)
            made.start_worker(name, seconds, folder)
        made.wait_for_workers(workers)
        yield made
    finally:
        runtime.close("measured")
        for process in made.workers.values():
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def prepare_no_op(_config: RunConfig) -> Prepared:
    """What a worker of an engine gets ready for a round that computes nothing."""
    return Prepared(SleepingRunner(0.0), "none", VIEW)
