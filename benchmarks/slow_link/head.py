"""The coordinator at one end of the slow link; what it sees, as lines of JSON.

Started by `scenario`, in a network namespace. Its lines, in this order: `address`; for
each round `round_s`; at the end `connections` (1 per worker, if none broke), `failures`
and `waits` (what the status said). If it is to see a frozen worker, it then opens
another round: `moving` when its theta is on the way, `noticed_at` when the worker is
gone, both on the system's monotonic clock.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cluster.toy import VIEW, shards_of, theta_of
from benchmarks.slow_link.fetch import BLOB
from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.meta.compression import Compression
from mlpeft.meta.outer import OuterStep
from mlpeft.runtime import fingerprint
from mlpeft.runtime.coordinator.executor import ClusterExecutor, Runtime
from mlpeft.transport.blobs.offer import Blob, Offer

if TYPE_CHECKING:
    from mlpeft.runtime.compute import Prepared

POLL_S = 0.05
PATIENCE_S = 60.0


def tell(**record: Any) -> None:
    """One line for the parent."""
    print(json.dumps(record), flush=True)


class Watcher(threading.Thread):
    """Looks at the status all the time, so that no short connection is overlooked."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(daemon=True)
        self._runtime = runtime
        self.connections: set[str] = set()
        self.waits: list[str] = []
        self.enough = threading.Event()

    def run(self) -> None:
        """Look until it is enough."""
        while not self.enough.wait(POLL_S):
            status = self._runtime.status()
            self.connections |= {worker.worker for worker in status.workers}
            if any(worker.sending or worker.receiving for worker in status.workers):
                self.waits.append(status.wait)


def wait_for_workers(runtime: Runtime, count: int) -> None:
    """Until so many are connected."""
    deadline = time.monotonic() + PATIENCE_S
    while len(runtime.status().workers) != count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"there are not {count} workers")
        time.sleep(POLL_S / 5)


def freeze(runtime: Runtime, version: int, size_bytes: int, workers: int) -> None:
    """Open a round, and see how a worker is frozen in it."""
    result = runtime.submit(version, theta_of(size_bytes), shards_of(workers, version))
    while not any(worker.sending for worker in runtime.status().workers):
        time.sleep(POLL_S / 5)
    tell(moving=time.monotonic())
    wait_for_workers(runtime, workers - 1)
    tell(noticed_at=time.monotonic())
    assert isinstance(result, Future)  # noqa: S101 - it is left open


def main() -> None:
    """One coordinator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--compression", default="none")
    parser.add_argument("--freeze", action="store_true")
    arguments = parser.parse_args()

    def no_local_worker(_config: RunConfig) -> Prepared:
        raise NotImplementedError("workers are processes here")

    config = RunConfig.from_dict({"cluster": {"compression": arguments.compression}})
    versions = fingerprint.own_versions()
    blob = Blob("noise", arguments.bytes, content=bytes(arguments.bytes))
    offer = Offer((), {BLOB: blob})
    runtime = Runtime(config, VIEW, versions, no_local_worker, None, offer)
    tell(address=runtime.start(arguments.host, 0))
    wait_for_workers(runtime, arguments.workers)
    watcher = Watcher(runtime)
    watcher.start()
    executor = ClusterExecutor(runtime)
    theta = theta_of(arguments.bytes)
    outer = OuterStep(compression=Compression.from_config(config), state={})
    for version in range(arguments.rounds):
        start, before = time.perf_counter(), runtime.overview().bytes_moved
        executor.run(version, theta, shards_of(arguments.workers, version))
        after = runtime.overview().bytes_moved
        moved = after.up + after.down - before.up - before.down
        tell(round_s=time.perf_counter() - start, moved_bytes=moved)
        step = outer.step(theta, params.scale(theta, np.float32(0.99)), version)
        theta = step.meta
        if step.step:
            executor.note_step(version + 1, step.step)
    watcher.enough.set()
    failures = dict(runtime.status().failures)
    tell(connections=len(watcher.connections), failures=failures, waits=watcher.waits)
    if arguments.freeze:
        freeze(runtime, arguments.rounds, arguments.bytes, arguments.workers)
    runtime.close("measured")


if __name__ == "__main__":
    main()
