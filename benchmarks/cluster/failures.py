"""A worker is killed or frozen in the middle of a shard: how long until it is noticed?

Three workers, two shards of a second each, so that one worker is idle; the holder of
shard 0 is struck. *noticed*: the coordinator no longer counts the worker. *leased*: the
shard is with another one. *done*: the round has all its updates.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.cluster.toy import shards_of, theta_of, toy_cluster

if TYPE_CHECKING:
    from concurrent.futures import Future

    from benchmarks.cluster.toy import ToyCluster
    from mlpeft.rounds import RoundResult

SHARD_S = 1.0
SIZE_BYTES = 1 << 20
PATIENCE_S = 60.0


def strike(number: int) -> dict[str, float]:
    """One blow; seconds from it until what followed."""
    with toy_cluster(3, seconds=SHARD_S) as cluster:
        result = cluster.runtime.submit(0, theta_of(SIZE_BYTES), shards_of(2, 0))
        victim = _holder_of_shard_0(cluster)
        process = cluster.workers[victim]
        time.sleep(SHARD_S / 4)
        os.kill(process.pid, number)
        try:
            return _watch(cluster, victim, result)
        finally:
            process.kill()


def _holder_of_shard_0(cluster: ToyCluster) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for lease in cluster.runtime.status().leases:
            if lease.key.shard == 0:
                return lease.worker
    raise TimeoutError("shard 0 was not leased")


def _watch(
    cluster: ToyCluster, victim: str, result: Future[RoundResult]
) -> dict[str, float]:
    start, seen = time.perf_counter(), dict[str, float]()
    while time.perf_counter() - start < PATIENCE_S:
        picture, now = cluster.runtime.status(), time.perf_counter() - start
        if victim not in {worker.name for worker in picture.workers}:
            seen.setdefault("noticed_s", now)
        if any(
            lease.key.shard == 0 and lease.worker != victim for lease in picture.leases
        ):
            seen.setdefault("leased_s", now)
        if result.done():
            seen["done_s"] = now
            return seen
        time.sleep(0.002)
    raise TimeoutError(f"the round did not end after {victim} was struck: {seen}")


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Medians and the worst of so many blows with a signal ("SIGKILL", "SIGSTOP")."""
    blows = [strike(signal.Signals[name]) for _ in range(repeats)]
    row: dict[str, Any] = {"signal": name, "repeats": repeats}
    for key in ("noticed_s", "leased_s", "done_s"):
        times = [blow[key] for blow in blows if key in blow]
        row[key] = statistics.median(times) if times else None
        row[f"worst_{key}"] = max(times, default=None)
    return row
