"""What each algorithm travels with, costs and reaches, on three small problems.

    python -m benchmarks.algorithms --out FOLDER             train, test and measure
    python -m benchmarks.algorithms --out FOLDER --table     print what is there
    python -m benchmarks.algorithms --out FOLDER --bytes     compare theta's bytes

Everything is resumed: a result that is in the folder is not made again, and a training
that was killed goes on. All algorithms see the same episodes: meta-batch, support and
query sets, inner steps and meta-iterations are the problem's. What a row may choose, it
chooses on validation tasks with the first seed: one of two inner step sizes (outer,
where there are no inner steps; iMAML: one of two lambdas, and twice the steps). Tests
take as many inner steps as training.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before mlx.core: mlpeft loads a BLAS that MLX then uses.
from mlpeft import RunConfig, evaluate, load_trained, train

# isort: split
import mlx.core as mx
import numpy as np

from benchmarks import algorithms_bytes, algorithms_table
from mlpeft.training.plan import train_shards
from mlpeft.training.runner import ShardRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlpeft.results import EvalResult
    from mlpeft.work import Shard

SEEDS = (0, 1, 2)
Tree = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Problem:
    """Tasks, a model, and what all algorithms share.

    Attributes:
        keys: Of the configuration.
        inner_lrs: To choose from.
        context_lrs: The same for CAVIA, whose steps are in a context.
        context_size: Numbers of that.
        episodes: Of the test.
    """

    keys: Tree
    inner_lrs: tuple[float, float]
    context_lrs: tuple[float, float] = (1.0, 10.0)
    context_size: int = 100
    episodes: int = 300


def _problem(iterations: int, tasks: Tree, **model: Any) -> Tree:
    anew = dict.fromkeys(("num_train_tasks", "num_val_tasks", "num_test_tasks"))
    return {
        "meta_learning": {
            "meta_batch_size": 4,
            "num_inner_steps": 5,
            "num_meta_iterations": iterations,
            "eval_interval": max(iterations // 4, 1),
            "save_interval": iterations,
            "multi_step_iterations": iterations // 3,
        },
        "task_distribution": tasks | anew,
        "model": model,
        "evaluation": {"num_inner_steps": 5, "steps": [5], "num_val_episodes": 60},
        "compute": {"threads": 1},
    }


PROBLEMS = {
    "sinusoid": Problem(
        _problem(
            2000,
            {
                "task_families": ["sinusoid"],
                "num_classes": 1,
                "k_shot": 10,
                "query_size": 10,
            },
            backbone="tanh",
            hidden_dim=40,
        ),
        (0.01, 0.05),
        context_lrs=(0.1, 1.0),
        context_size=5,  # as in the paper
    ),
    "digits": Problem(
        _problem(
            600,
            {
                "task_families": ["digits"],
                "num_classes": 3,
                "k_shot": 1,
                "query_size": 15,
            },
            backbone="linear",
            hidden_dim=64,
        ),
        (0.05, 0.3),
    ),
    "omniglot": Problem(
        _problem(
            300,
            {
                "task_families": ["omniglot"],
                "num_classes": 5,
                "k_shot": 1,
                "query_size": 15,
            },
            backbone="conv4",
            hidden_dim=16,
        ),
        (0.1, 0.4),
    ),
}


@dataclass(frozen=True)
class Row:
    """An algorithm with what it needs to be itself.

    Attributes:
        keys: Of `meta_learning`.
        metric: Whether it takes no inner steps.
        trained: Whether it is trained at all.
    """

    keys: dict[str, Any] = field(default_factory=dict)
    metric: bool = False
    trained: bool = True


ADAM = {"outer_optimizer": "adam", "outer_lr": 2e-3}
ROWS = {
    "random": Row({"algorithm": "fomaml"}, trained=False),
    "reptile": Row({"outer_lr": 0.5, "outer_schedule": "linear"}),
    "reptile_serial": Row({"outer_lr": 0.2, "outer_schedule": "linear"}),
    "fomaml": Row(ADAM),
    "maml": Row(ADAM),
    "anil": Row(ADAM),
    "boil": Row(ADAM),
    "meta_sgd": Row(ADAM),
    "maml++": Row(ADAM),
    "meta_curvature": Row(ADAM),
    "cavia": Row(ADAM),
    "imaml": Row(ADAM | {"num_inner_steps": 10}),
    "protonet": Row(ADAM, metric=True),
    "matching": Row(ADAM, metric=True),
    "relation": Row(ADAM, metric=True),
}


def candidates(problem: str, row: str) -> tuple[dict[str, float], ...]:
    """What a row chooses from."""
    if ROWS[row].metric:
        return tuple({"outer_lr": lr} for lr in (2e-3, 5e-3))
    if row == "imaml":  # with the smaller of the two step sizes
        return tuple({"proximal": strength} for strength in (1.0, 10.0))
    given = PROBLEMS[problem]
    lrs = given.context_lrs if row == "cavia" else given.inner_lrs
    return tuple({"inner_lr": lr} for lr in lrs)


def suits(problem: str, row: str) -> bool:
    """Whether an algorithm can be used for a problem."""
    return problem != "sinusoid" or not ROWS[row].metric


def config(
    out: Path, problem: str, row: str, choice: dict[str, float], seed: int
) -> RunConfig:
    """The configuration of one training."""
    tree = {section: dict(keys) for section, keys in PROBLEMS[problem].keys.items()}
    algorithm = {} if row == "random" else {"algorithm": row}
    usual = {"inner_lr": PROBLEMS[problem].inner_lrs[0]}
    tree["meta_learning"]["context_size"] = PROBLEMS[problem].context_size
    tree["meta_learning"] |= usual | algorithm | ROWS[row].keys | choice
    steps = tree["meta_learning"]["num_inner_steps"]
    tree["evaluation"] |= {"num_inner_steps": steps, "steps": [steps]}
    ((name, value),) = choice.items()
    tree["run"] = {"name": f"{row.replace('+', 'p')}-{name}-{value}-{seed}"}
    tree["run"]["seed"] = seed
    tree["paths"] = {"checkpoint_dir": str(out / "runs" / problem)}
    return RunConfig.from_dict(tree)


def one(
    out: Path, problem: str, row: str, choice: dict[str, float], seed: int
) -> dict[str, Any]:
    """Train and test, or read what is there: validation, test, seconds."""
    run = config(out, problem, row, choice, seed)
    file = out / "results" / problem / f"{run.run.name}.json"
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    if not ROWS[row].trained:
        run = run.with_changes(
            meta_learning={"num_meta_iterations": 1, "outer_lr": 0.0}
        )
    began = time.process_time()
    result = train(run, resume=None)
    seconds = time.process_time() - began
    trained = load_trained(result.run_dir)
    tested: EvalResult = evaluate(trained, PROBLEMS[problem].episodes)
    found = {
        "validation": None if result.best is None else result.best.score,
        "test": tested.to_dict(),
        "seconds": seconds,
        "choice": choice,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found))
    return found


def all_rows() -> Iterator[tuple[str, str]]:
    """Problem and algorithm, the cheap ones first."""
    for problem in PROBLEMS:
        for row in ROWS:
            if suits(problem, row):
                yield problem, row


def trainings(out: Path) -> None:
    """First seed everywhere, with the choice; then the other seeds."""
    chosen = {}
    for problem, row in all_rows():
        tried = [
            (one(out, problem, row, choice, SEEDS[0]), choice)
            for choice in candidates(problem, row)
        ]
        best = max(tried, key=lambda pair: pair[0]["validation"])
        chosen[problem, row] = best[1]
        print(problem, row, best[1], best[0]["test"], flush=True)
    for seed in SEEDS[1:]:
        for (problem, row), choice in chosen.items():
            found = one(out, problem, row, choice, seed)
            print(problem, row, seed, found["test"], flush=True)


def costs(out: Path, rounds: int = 12) -> None:
    """Time of a meta-iteration and memory, all algorithms of a problem by turns."""
    for problem in PROBLEMS:
        file = out / "results" / problem / "costs.json"
        if file.is_file():
            continue
        made = {}
        for row, given in ROWS.items():
            if suits(problem, row) and given.trained:
                made[row] = _Step(
                    config(out, problem, row, candidates(problem, row)[0], 0)
                )
        times: dict[str, list[float]] = {row: [] for row in made}
        for number in range(rounds):
            for row, step in made.items():
                times[row].append(step(number))
        found = {
            row: {
                "ms": 1000 * float(np.median(times[row][2:])),
                "peak_mb": step.peak_bytes / 1e6,
                "numbers": step.numbers,
            }
            for row, step in made.items()
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))


class _Step:
    """The shards of a meta-iteration, timed."""

    def __init__(self, run: RunConfig) -> None:
        self.runner = ShardRunner.from_config(run)
        self.meta = self.runner.initial_meta()
        self.numbers = sum(leaf.size for leaf in self.meta.values())
        self.peak_bytes = 0
        self._kept_bytes = self._run_once()

    def _run_once(self) -> int:
        """Bytes that NumPy holds after a meta-iteration: where fused loops compute."""
        shard = self._shards(0)[0]
        for spec in shard.tasks:  # reads the data
            self.runner.tasks.train.episode(spec.task_id, spec.seed)
        tracemalloc.start()
        self.runner.run(self.meta, shard)
        numpys = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
        found = tracemalloc.take_snapshot().filter_traces([numpys]).traces
        tracemalloc.stop()
        return sum(trace.size for trace in found)

    def _shards(self, iteration: int) -> list[Shard]:
        runner = self.runner
        # After the annealing of MAML++: that is most of a run.
        number = runner.config.meta_learning.multi_step_iterations + iteration
        return train_shards(runner.config, runner.tasks, number)

    def __call__(self, iteration: int) -> float:
        """Seconds of processor time, and what memory is used beside theta."""
        shards = self._shards(iteration)
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        began = time.process_time()
        for shard in shards:
            self.runner.run(self.meta, shard)
        seconds = time.process_time() - began
        found = mx.get_peak_memory() - before + self._kept_bytes
        self.peak_bytes = max(self.peak_bytes, found)
        return seconds


def main() -> None:
    """Parse the command line and do what is asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.algorithms",
        description=(__doc__ or "").partition("\n\n")[0],
    )
    parser.add_argument("--out", type=Path, required=True, help="where results go")
    parser.add_argument("--table", action="store_true", help="print what is there")
    parser.add_argument("--costs", action="store_true", help="measure costs only")
    parser.add_argument("--bytes", action="store_true", help="compare theta's bytes")
    arguments = parser.parse_args()
    logging.getLogger("mlpeft").setLevel(logging.WARNING)
    if arguments.table:
        print(algorithms_table.table(arguments.out))
    elif arguments.bytes:
        algorithms_bytes.compare(arguments.out)
    elif arguments.costs:
        costs(arguments.out)
    else:
        trainings(arguments.out)
        costs(arguments.out)
        print(algorithms_table.table(arguments.out))


if __name__ == "__main__":
    main()
