"""Does one worker that stands still most of the time hold up the others?

    python -m benchmarks.stragglers                     # a table, about two minutes
    python -m benchmarks.stragglers --before CHECKOUT   # beside another version's
    python -m benchmarks.stragglers --shards 2 --task-ms 5 --rounds 200

Real worker processes over loopback, each shard so many milliseconds of work on a core.

- pair: two healthy workers. How many of their leases are backups?
- straggler: one of them runs a tenth of the time (SIGSTOP 90 ms, SIGCONT 10 ms).
- alone: the other one without it. The straggler should cost nothing beside this.
- hang: three workers and a first round of three shards; the computing thread of one
  never comes back. Seconds until the round is in.

Each case has processes of its own; versions and cases alternate, since machines are
noisy. Rates are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpeft.cluster.worker.machine import WorkerPolicy
from mlpeft.config import RunConfig
from mlpeft.runtime import fingerprint
from mlpeft.runtime.compute import ComputeThread, Prepared
from mlpeft.runtime.coordinator.executor import ClusterExecutor, Runtime
from mlpeft.runtime.worker.driver import WorkerDriver
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.work import Kind, Shard, ShardUpdate, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlpeft.params import ParamTree

ROOT = Path(__file__).resolve().parents[1]
VIEW = "benchmark"
CASES = {"pair": 2, "straggler": 2, "alone": 1, "hang": 3}
"""Workers of each case; the first is the one that straggles or hangs."""
STOPPED_S, RUNNING_S = 0.09, 0.01
WARM_UP = 10
"""Rounds that are not timed."""
BLOCK = bytes(1 << 18)
Row = dict[str, Any]


class BusyRunner:
    """Returns theta as the sum of one task, after so much work on a core.

    Args:
        seconds: Of this thread's time on a core: none passes while it is stopped.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def run(
        self,
        meta: ParamTree,
        shard: Shard,
        progress: Callable[[int], None] | None = None,
    ) -> ShardUpdate:
        """The update of one shard."""
        del progress
        if self._seconds < 0:
            threading.Event().wait()
        end = time.thread_time() + self._seconds
        while time.thread_time() < end:
            hashlib.sha256(BLOCK)  # without the interpreter's lock
        per_task = dict.fromkeys(("support_loss", "query_loss"), meta["w"][:1])
        return ShardUpdate(shard.index, 1, meta, per_task)


def work(address: str, name: str, seconds: float) -> None:
    """One worker, until the run is over; it hangs if `seconds` is less than 0."""

    def prepare(_config: RunConfig) -> Prepared:
        return Prepared(BusyRunner(seconds), "none", VIEW)

    worker = WorkerDriver(
        GrpcLink(address, None),
        lambda post: ComputeThread(prepare, post),
        policy=WorkerPolicy(once=True),
        name=name,
        versions=fingerprint.own_versions(),
    )
    asyncio.run(worker.run())


# --- one case, in a process of its own ------------------------------------------------


@contextmanager
def running_worker(
    address: str, name: str, seconds: float
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, killed at the end."""
    command = [sys.executable, "-P", __file__, "--worker", address]
    command += ["--name", name, "--task-ms", str(seconds * 1e3)]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def stuttering(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A process that runs a tenth of the time."""
    over = threading.Event()

    def stutter() -> None:
        while not over.wait(RUNNING_S):
            process.send_signal(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=stutter)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run_case(case: str, shards: int, task_s: float, rounds: int) -> Row:
    """Rounds per second and the share of backups; for "hang" seconds of one round."""

    def no_local_worker(_config: RunConfig) -> Prepared:
        raise NotImplementedError("workers are processes here")

    config = RunConfig.from_dict({"cluster": {"join_port": 0}})
    runtime = Runtime(config, VIEW, fingerprint.own_versions(), no_local_worker, None)
    address, workers = runtime.start("127.0.0.1", 0), []
    with ExitStack() as stack:
        stack.callback(runtime.close, "measured")
        for index in range(CASES[case]):
            hangs = case == "hang" and index == 0
            seconds = -1.0 if hangs else task_s
            worker = running_worker(address, f"w{index}", seconds)
            workers.append(stack.enter_context(worker))
            while len(runtime.status().workers) <= index:
                time.sleep(0.01)
        executor = ClusterExecutor(runtime)
        if case == "hang":
            return {"seconds": run_rounds(executor, len(workers), 0, 1)}
        run_rounds(executor, shards, 0, WARM_UP)
        if case == "straggler":
            stack.enter_context(stuttering(workers[0]))
        before = runtime.status()
        seconds = run_rounds(executor, shards, WARM_UP, rounds)
        after = runtime.status()
        backups = after.backups - before.backups
        leases = backups + after.counted - before.counted
        return {"rate": rounds / seconds, "backups": backups / leases}


def run_rounds(
    executor: ClusterExecutor, shards: int, first: int, rounds: int
) -> float:
    """Seconds of so many rounds."""
    import numpy as np

    theta = {"w": np.ones(2048, dtype=np.float32)}
    start = time.perf_counter()
    for version in range(first, first + rounds):
        tasks = [(TaskSpec("busy", index),) for index in range(shards)]
        executor.run(
            version,
            theta,
            [Shard(version, index, Kind.TRAIN, one) for index, one in enumerate(tasks)],
        )
    return time.perf_counter() - start


# --- all cases ------------------------------------------------------------------------


def measure(tree: Path, case: str, arguments: argparse.Namespace) -> Row:
    """A case with the version of a checkout; {} if it took too long."""
    command = [sys.executable, "-P", __file__, "--case", case]
    for name in ("shards", "task_ms", "rounds"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=arguments.patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return {}
    if process.returncode:
        sys.exit(f"{case} failed with {tree}")
    record: Row = json.loads(output)
    return record


def table(measured: dict[tuple[str, str], list[Row]], patience_s: float) -> None:
    """Medians of each version."""
    print(
        "| version | pair, rounds/s | backups | straggler | alone | straggler / alone "
        "| hang in the first round |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for version in dict.fromkeys(version for version, _ in measured):
        rates = {
            case: statistics.median(row.get("rate", 0.0) for row in rows)
            for (of, case), rows in measured.items()
            if of == version
        }
        backups = statistics.median(row["backups"] for row in measured[version, "pair"])
        hang = [row.get("seconds") for row in measured[version, "hang"]]
        known = [seconds for seconds in hang if seconds is not None]
        hung = f"{max(known):.2f} s" if known == hang else f"over {patience_s:.0f} s"
        print(
            f"| {version} | {rates['pair']:.1f} | {backups:.1%} "
            f"| {rates['straggler']:.1f} | {rates['alone']:.1f} "
            f"| {rates['straggler'] / rates['alone']:.2f} | {hung} |"
        )


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=8, help="shards of a round")
    parser.add_argument("--task-ms", type=float, default=12.0, help="work of each")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--before", type=Path, help="checkout of another version")
    parser.add_argument(
        "--patience-s", type=float, default=90.0, help="limit of a case"
    )
    for hidden in ("--worker", "--name", "--case"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    task_s = arguments.task_ms / 1e3
    if arguments.worker:
        work(arguments.worker, arguments.name, task_s)
    elif arguments.case:
        row = run_case(arguments.case, arguments.shards, task_s, arguments.rounds)
        print(json.dumps(row))
    else:
        trees = {"before": arguments.before} if arguments.before else {}
        trees["now"] = ROOT
        measured: dict[tuple[str, str], list[Row]] = {}
        for _ in range(arguments.repeats):
            for case in CASES:
                for version, tree in trees.items():
                    row = measure(tree, case, arguments)
                    measured.setdefault((version, case), []).append(row)
                    print(version, case, row, file=sys.stderr, flush=True)
        table(measured, arguments.patience_s)


if __name__ == "__main__":
    main()
