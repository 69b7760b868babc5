"""How much faster are two workers than one on a real run?

Omniglot, Conv4, the settings of configs/omniglot.yaml (workload W2 on real data). Real
processes over loopback, one BLAS thread each; one worker is the baseline, the runs are
interleaved, and the rate is that of the second half of each run, when every kernel is
compiled.

    python -m benchmarks.scaling                        # a table
    python -m benchmarks.scaling --meta-batch 5,8 --iterations 120 --repeats 3

`--one-core` gives each worker a core of its own (Linux, with taskset): MLX's two
threads and the coordinator give a lone worker more than one core, which two workers on
two cores do not have.

A meta-batch of 5 in shards of one task leaves a worker of two idle for a sixth of the
round: 5 / 3 = 1.67 is the most that it can gain. An even meta-batch shows the overhead.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--meta-batch", default="5,8")
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one-core", action="store_true", help="a core a worker")
    parser.add_argument("--json", action="store_true", help="one JSON line a run")
    args = parser.parse_args()
    workers = [int(n) for n in args.workers.split(",")]
    batches = [int(n) for n in args.meta_batch.split(",")]
    rates: dict[tuple[int, int], list[float]] = {}
    for _ in range(args.repeats):
        for batch, count in product(batches, workers):
            rate = measure(count, batch, args.iterations, one_core=args.one_core)
            rates.setdefault((batch, count), []).append(rate)
            if args.json:
                record = {"meta_batch": batch, "workers": count, "it_per_s": rate}
                print(json.dumps(record), flush=True)
    if not args.json:
        table(rates, batches, workers)


def table(
    rates: dict[tuple[int, int], list[float]], batches: list[int], workers: list[int]
) -> None:
    """Medians, and each as a multiple of the first number of workers."""
    print("| meta-batch | workers | it/s (median) | of the first |")
    print("| --- | --- | --- | --- |")
    for batch in batches:
        first = statistics.median(rates[batch, workers[0]])
        for count in workers:
            rate = statistics.median(rates[batch, count])
            print(f"| {batch} | {count} | {rate:.2f} | {rate / first:.2f} |")


def measure(
    workers: int, meta_batch: int, iterations: int, *, one_core: bool = False
) -> float:
    """Meta-iterations a second of one run with its own processes."""
    with tempfile.TemporaryDirectory() as folder:
        changes = {
            "paths.checkpoint_dir": folder,
            "run.name": "scaling",
            "compute.threads": 1,
            "meta_learning.meta_batch_size": meta_batch,
            "meta_learning.num_meta_iterations": iterations,
            "meta_learning.eval_interval": iterations * 10,
            "evaluation.num_val_episodes": 1,
        }
        command = [sys.executable, "-m", "coordinator.cli"]
        command += ["--config", str(ROOT / "configs" / "omniglot.yaml")]
        command += ["--listen", "127.0.0.1:0"]
        for key, value in changes.items():
            command += ["--set", f"{key}={value}"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as run:
            join = [sys.executable, "-m", "worker.cli", "--once", "--coordinator"]
            join.append(_address(run))
            joined = [
                subprocess.Popen(
                    [*(["taskset", "-c", str(core)] if one_core else []), *join],
                    stderr=subprocess.DEVNULL,
                )
                for core in range(workers)
            ]
            try:
                run.communicate(timeout=600)
            finally:
                for worker in joined:
                    worker.kill()
                    worker.wait()
        if run.returncode:
            sys.exit("the coordinator failed; run it by hand to see why")
        return rate(Path(folder) / "scaling" / "metrics.jsonl")


def _address(run: subprocess.Popen[str]) -> str:
    if run.stderr is not None:
        for line in run.stderr:
            if line.startswith("listening on "):
                return line.removeprefix("listening on ").partition(": ")[0]
    sys.exit("the coordinator did not start; is Omniglot there (mlpeft data list)?")


def rate(metrics: Path) -> float:
    """Iterations a second in the second half of a run."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    times = [line["time"] for line in lines if line["kind"] == "train"]
    half = len(times) // 2
    return (len(times) - 1 - half) / (times[-1] - times[half])


if __name__ == "__main__":
    main()
