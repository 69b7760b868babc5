"""Rounds that compute nothing: seconds, bytes on the wire, the coordinator's memory.

Each measurement has a process of its own, so that its peak memory is its own, and runs
right beside its baselines, because machines are noisy.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.cluster.toy import shards_of, theta_of, toy_cluster
from benchmarks.raw_echo import raw_rounds
from mlpeft.runtime.coordinator.executor import ClusterExecutor

MOVED_BYTES = 4e8
"""About what a case moves each way; small payloads get many rounds, large ones few."""


def rounds_for(workers: int, size_bytes: int) -> int:
    """How many rounds a case gets."""
    return max(4, min(200, int(MOVED_BYTES / size_bytes / workers)))


def cluster_rounds(
    workers: int, size_bytes: int, rounds: int, *, tls: bool
) -> dict[str, Any]:
    """Seconds of each round, and what the coordinator's process took."""
    theta = theta_of(size_bytes)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) if tls else None
        with toy_cluster(workers, tls_folder=place) as cluster:
            executor = ClusterExecutor(cluster.runtime)
            before_bytes, before_s = loopback_bytes(), time.process_time()
            for version in range(rounds):
                shards = shards_of(workers, version)
                start = time.perf_counter()
                executor.run(version, theta, shards)
                seconds.append(time.perf_counter() - start)
            cpu_s = time.process_time() - before_s
            wire_bytes = loopback_bytes() - before_bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": seconds,
        "cpu_s": cpu_s / rounds,
        "peak_mib": peak / (1024 if sys.platform == "linux" else 1024**2),
        "wire": wire_bytes / (rounds * workers * size_bytes) if wire_bytes else None,
    }


def echo_rounds(workers: int, size_bytes: int, rounds: int) -> dict[str, Any]:
    """The same bytes over raw grpc.aio."""
    seconds, cpu_s = raw_rounds(workers, size_bytes, rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": seconds,
        "cpu_s": cpu_s / rounds,
        "peak_mib": peak / (1024 if sys.platform == "linux" else 1024**2),
    }


def loopback_bytes() -> int:
    """Bytes that the loopback interface has sent so far; 0 where there is no count.

    All of the machine's traffic is in it: the figure means something when it is quiet.
    """
    path = Path("/sys/class/net/lo/statistics/tx_bytes")
    return int(path.read_text()) if path.is_file() else 0


def in_a_process(kind: str, workers: int, size_bytes: int) -> dict[str, Any]:
    """One measurement in a process of its own; its median leaves out the first round.

    Args:
        kind: "clear", "tls" or "raw".
        workers: Worker processes.
        size_bytes: Payload.
    """
    rounds = rounds_for(workers, size_bytes)
    command = [sys.executable, "-m", "benchmarks.cluster", "--case", kind]
    command += [f"--workers={workers}", f"--bytes={size_bytes}", f"--rounds={rounds}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    record["median_s"] = statistics.median(record["seconds"][1:])
    return record


def run_case(kind: str, workers: int, size_bytes: int, rounds: int) -> dict[str, Any]:
    """What `in_a_process` starts."""
    if kind == "raw":
        return echo_rounds(workers, size_bytes, rounds)
    return cluster_rounds(workers, size_bytes, rounds, tls=kind == "tls")


def other_floor(script: str, workers: int, size_bytes: int) -> float:
    """Median seconds that another script measures for the case."""
    command = [sys.executable, script, f"--workers={workers}", f"--bytes={size_bytes}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def measure_round(workers: int, size_bytes: int, floor: str | None) -> dict[str, Any]:
    """One row: ours beside raw gRPC, and beside another floor if one is given."""
    ours = in_a_process("clear", workers, size_bytes)
    raw = in_a_process("raw", workers, size_bytes)
    row = {
        "workers": workers,
        "bytes": size_bytes,
        "round_s": ours["median_s"],
        "raw_s": raw["median_s"],
        "of_raw": ours["median_s"] / raw["median_s"],
        "cpu_s": ours["cpu_s"],
        "raw_cpu_s": raw["cpu_s"],
        "wire": ours["wire"],
        "peak_mib": ours["peak_mib"],
        "raw_peak_mib": raw["peak_mib"],
    }
    if floor is not None:
        row["floor_s"] = other_floor(floor, workers, size_bytes)
        row["of_floor"] = row["round_s"] / row["floor_s"]
    return row


def measure_tls(workers: int, size_bytes: int) -> dict[str, Any]:
    """One row: under mTLS and in the clear, by turns, medians of both."""
    clear = [in_a_process("clear", workers, size_bytes)["median_s"]]
    secured = [in_a_process("tls", workers, size_bytes)["median_s"]]
    clear.append(in_a_process("clear", workers, size_bytes)["median_s"])
    secured.append(in_a_process("tls", workers, size_bytes)["median_s"])
    row: dict[str, Any] = {
        "workers": workers,
        "bytes": size_bytes,
        "clear_s": statistics.mean(clear),
        "mtls_s": statistics.mean(secured),
    }
    row["ratio"] = row["mtls_s"] / row["clear_s"]
    return row
