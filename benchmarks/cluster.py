"""How long is a cluster round that computes nothing, and what does it add to raw gRPC?

A round sends theta to N worker processes and waits for N updates of the same size, with
leases, checks and all that a training round has. Baseline: the same bytes over raw
grpc.aio (raw_echo.py), measured right after each case because machines are noisy.

    python -m benchmarks.cluster                         # a table
    python -m benchmarks.cluster --workers 1,4 --bytes 10240,10485760 --json
    python -m benchmarks.cluster --floor path/to/script.py   # another floor beside it

A script given with --floor is called with `--workers N --bytes B` and prints JSON lines
with `seconds`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.raw_echo import raw_rounds
from coordinator.runtime import ClusterExecutor, Runtime
from mlpeft.cluster.worker_state import WorkerPolicy
from mlpeft.config import RunConfig
from mlpeft.node import versions
from mlpeft.node.agent import Agent
from mlpeft.node.compute import ComputeThread, Prepared
from mlpeft.work import Kind, Shard, ShardUpdate, TaskSpec
from worker.link import GrpcLink

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.params import ParamTree

VIEW = "benchmark"


class NoOpRunner:
    """Returns theta as the sum of one task."""

    def run(
        self,
        meta: ParamTree,
        shard: Shard,
        progress: Callable[[int], None] | None = None,
    ) -> ShardUpdate:
        """The update of one shard."""
        del progress
        loss = np.zeros(1, dtype=np.float32)
        return ShardUpdate(shard.index, 1, meta, {"support_loss": loss})


def prepare(_config: RunConfig) -> Prepared:
    """What a compute thread needs."""
    return Prepared(NoOpRunner(), "none", VIEW)


def work(address: str) -> None:
    """One worker process, until the run is over."""
    agent = Agent(
        GrpcLink(address),
        lambda post: ComputeThread(prepare, post),
        policy=WorkerPolicy(once=True),
        name="no-op",
        versions=versions.here(),
    )
    asyncio.run(agent.run())


def cluster_rounds(workers: int, size_bytes: int, rounds: int) -> list[float]:
    """Seconds of each of so many rounds on a cluster."""
    runtime = Runtime(RunConfig(), VIEW, versions.here(), prepare)
    address = runtime.start("127.0.0.1", 0)
    command = [sys.executable, "-m", "benchmarks.cluster", "--worker", address]
    children = [subprocess.Popen(command) for _ in range(workers)]
    executor = ClusterExecutor(runtime)
    leaves = 8
    numbers = np.random.default_rng(0).standard_normal
    theta = {
        f"layers.{index}.weight": numbers(size_bytes // 4 // leaves, dtype=np.float32)
        for index in range(leaves)
    }
    try:
        while len(runtime.status().workers) < workers:
            time.sleep(0.05)
        seconds = []
        for version in range(rounds):
            shards = [
                Shard(version, index, Kind.TRAIN, (TaskSpec("no-op", index),))
                for index in range(workers)
            ]
            start = time.perf_counter()
            executor.run(version, theta, shards)
            seconds.append(time.perf_counter() - start)
        return seconds
    finally:
        executor.close()
        for child in children:
            child.wait(timeout=30)


def other_floor(script: str, workers: int, size_bytes: int) -> float:
    """Seconds that another script measures for the case."""
    command = [sys.executable, script, f"--workers={workers}", f"--bytes={size_bytes}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def measure(workers: int, size_bytes: int, floor: str | None) -> dict[str, float]:
    """One case: medians over rounds, without the first."""
    rounds = max(4, min(200, int(2e8 / size_bytes / workers)))
    ours = statistics.median(cluster_rounds(workers, size_bytes, rounds)[1:])
    raw = statistics.median(raw_rounds(workers, size_bytes, rounds)[1:])
    row = {
        "workers": workers,
        "bytes": size_bytes,
        "cluster_s": ours,
        "raw_s": raw,
        "ratio": ours / raw,
    }
    if floor is not None:
        row["floor_s"] = other_floor(floor, workers, size_bytes)
        row["floor_ratio"] = ours / row["floor_s"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row["peak_mib"] = peak / (1024 if sys.platform == "linux" else 1024**2)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--bytes", default="10240,1048576,10485760,104857600")
    parser.add_argument("--floor", help="another floor script to run beside")
    parser.add_argument("--json", action="store_true", help="one JSON line a case")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker)
        return
    for size_bytes in map(int, arguments.bytes.split(",")):
        for workers in map(int, arguments.workers.split(",")):
            row = measure(workers, size_bytes, arguments.floor)
            if arguments.json:
                print(json.dumps(row), flush=True)
                continue
            print(
                f"N={workers}  {size_bytes / 1e6:8.2f} MB  "
                f"cluster {row['cluster_s'] * 1e3:8.1f} ms  "
                f"raw {row['raw_s'] * 1e3:8.1f} ms  x{row['ratio']:.2f}  "
                + (
                    f"floor {row['floor_s'] * 1e3:8.1f} ms  x{row['floor_ratio']:.2f}  "
                    if "floor_s" in row
                    else ""
                )
                + f"peak {row['peak_mib']:.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
