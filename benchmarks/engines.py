"""What do Dask and Ray cost beside our own cluster?

    python -m benchmarks.engines rounds              # rounds that compute nothing
    python -m benchmarks.engines rounds --engines cluster,dask --bytes 10240,104857600
    python -m benchmarks.engines omniglot            # trainings with W2's settings

Two worker processes on this machine; extras dask and ray. The engines take turns, each
in a process of its own, --repeats times; rows are medians. A round's time leaves out
the first of its payload. CPU is that of all processes together, which a busy machine
disturbs less.

omniglot trains with configs/omniglot.yaml, a BLAS thread a worker; the rate is that of
the second half of a run, when every kernel is compiled.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.cluster.rounds import rounds_for
from benchmarks.cluster.toy import (
    VIEW,
    prepare_no_op,
    shards_of,
    theta_of,
    toy_cluster,
)
from benchmarks.scaling import rate
from mlpeft.config import RunConfig
from mlpeft.runtime.coordinator.executor import ClusterExecutor
from mlpeft.runtime.engines.executor import EngineExecutor
from mlpeft.runtime.engines.kinds import EngineKind
from mlpeft.runtime.engines.patience import wait_for_workers
from mlpeft.runtime.engines.session import open_engine
from mlpeft.runtime.engines.shard import RunSpec, versions_with_blas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlpeft.work import Executor

ROOT = Path(__file__).resolve().parents[1]
OURS = "cluster"
ENGINES = (OURS, *EngineKind)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rounds", "omniglot"])
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--bytes", default="10240,1048576,10485760,104857600")
    parser.add_argument("--rounds", type=int, default=20, help="of a payload, at most")
    parser.add_argument("--iterations", type=int, default=60, help="of omniglot")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.bytes.split(",")]
    if arguments.case:
        for row in no_op_rounds(
            arguments.case, arguments.workers, sizes, arguments.rounds
        ):
            print(json.dumps(row), flush=True)
        return
    engines = arguments.engines.split(",")
    if arguments.what == "rounds":
        words = [f"--workers={arguments.workers}", f"--bytes={arguments.bytes}"]
        words.append(f"--rounds={arguments.rounds}")
        show_rounds(
            repeated(engines, arguments.repeats, partial(in_a_process, words=words))
        )
        return
    print("| engine | it/s | of ours |")
    print("| --- | ---: | ---: |")
    rates = repeated(
        engines,
        arguments.repeats,
        partial(omniglot, workers=arguments.workers, iterations=arguments.iterations),
    )
    first = statistics.median(next(iter(rates.values())))
    for name, values in rates.items():
        middle = statistics.median(values)
        print(f"| {name} | {middle:.2f} | {middle / first:.2f} |", flush=True)


def repeated(
    engines: list[str], repeats: int, measure: Callable[[str], Any]
) -> dict[str, list[Any]]:
    """What is measured of each engine, by turns."""
    found: dict[str, list[Any]] = {name: [] for name in engines}
    for _ in range(repeats):
        for name in engines:
            found[name].append(measure(name))
            print(f"{name}: {found[name][-1]}", file=sys.stderr, flush=True)
    return found


def show_rounds(measured: dict[str, list[list[dict[str, float]]]]) -> None:
    """The table: medians over the repeats."""
    print("| payload | engine | round, ms | of ours | CPU, ms | of ours |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    sizes = [row["bytes"] for row in next(iter(measured.values()))[0]]
    for place, size in enumerate(sizes):
        ours: list[float] = []
        for name, turns in measured.items():
            values = [
                statistics.median(turn[place][key] for turn in turns)
                for key in ("round_s", "cpu_s")
            ]
            ours = ours or values
            cells = [
                f"{value * 1e3:.1f} | {value / first:.1f}"
                for value, first in zip(values, ours, strict=True)
            ]
            print(f"| {size:,.0f} | {name} | {' | '.join(cells)} |", flush=True)


def in_a_process(name: str, words: list[str]) -> list[dict[str, float]]:
    """An engine's rows, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.engines", "rounds", "--case", name]
    done = subprocess.run(
        [*command, *words], check=True, stdout=subprocess.PIPE, text=True
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"]


def no_op_rounds(
    name: str, workers: int, sizes: list[int], most: int
) -> Iterator[dict[str, float]]:
    """Rounds that compute nothing, a new theta each: medians for each payload."""
    with executor_of(name, workers) as executor:
        version = 0
        for size in sizes:
            theta = theta_of(size)
            seconds: list[float] = []
            for turn in range(1 + min(most, rounds_for(workers, size))):
                if turn == 1:  # what is compiled and connected once is done
                    before = cpu_seconds()
                version += 1
                theta["layers.0.weight"][0] = version
                shards = shards_of(workers, version)
                start = time.perf_counter()
                executor.run(version, theta, shards)
                seconds.append(time.perf_counter() - start)
            yield {
                "bytes": size,
                "round_s": statistics.median(seconds[1:]),
                "cpu_s": (cpu_seconds() - before) / (len(seconds) - 1),
            }


@contextmanager
def executor_of(name: str, workers: int) -> Iterator[Executor]:
    """Our cluster, or an engine, with workers that compute nothing."""
    if name == OURS:
        with toy_cluster(workers) as cluster:
            yield ClusterExecutor(cluster.runtime)
        return
    config = RunConfig.from_dict({"engine": {"workers": workers}})
    run = RunSpec(config.to_yaml(), versions_with_blas(), VIEW, prepare=prepare_no_op)
    engine = open_engine(EngineKind(name), None, run, config)
    executor = EngineExecutor(engine, config)
    try:
        wait_for_workers(engine, 1, 60.0, lambda: False)
        yield executor
    finally:
        executor.close()


def cpu_seconds() -> float:
    """What this process and all that it started have computed so far."""
    here = psutil.Process()
    total = 0.0
    for process in [here, *here.children(recursive=True)]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def omniglot(name: str, workers: int, iterations: int) -> float:
    """Meta-iterations a second of a training with an even meta-batch."""
    with tempfile.TemporaryDirectory() as folder:
        changes = {
            "paths.checkpoint_dir": folder,
            "run.name": "engines",
            "compute.threads": 1,
            "meta_learning.meta_batch_size": 8,
            "meta_learning.num_meta_iterations": iterations,
            "meta_learning.eval_interval": iterations * 10,
            "evaluation.num_val_episodes": 1,
        }
        if name == OURS:
            command = [sys.executable, "-m", "coordinator.cli", "--processes"]
            command += [f"--local-workers={workers}", "--listen=127.0.0.1:0"]
        else:
            command = [sys.executable, "-m", "mlpeft", "train"]
            command += [f"--engine={name}", f"--workers={workers}"]
        command += ["--config", str(ROOT / "configs" / "omniglot.yaml")]
        for key, value in changes.items():
            command += ["--set", f"{key}={value}"]
        subprocess.run(command, check=True, capture_output=True)
        return rate(Path(folder) / "engines" / "metrics.jsonl")


if __name__ == "__main__":
    main()
