"""Does another outer optimiser learn more, and does compression learn as much?

    python -m benchmarks.outer_steps optimizers --out DIR     # minutes, resumable
    python -m benchmarks.outer_steps compression --out DIR
    python -m benchmarks.outer_steps compression --out DIR --rows none powersgd

Each row is trained with every outer step size of its list on three seeds. The step size
is chosen by the mean over seeds of the best validation. The table has test scores of
the chosen one, on the same episodes for all, and differences to the first row, paired
by seed, with Student's 95 % interval over seeds. A score is an accuracy, or a loss with
its sign turned. Omniglot, whose theta is mostly matrices, is of compression alone; each
of its tasks is compressed by itself, as on as many workers.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.config import RunConfig
from mlpeft.evaluation.evaluate import evaluate
from mlpeft.evaluation.over_seeds import seed_interval
from mlpeft.training.loop import train
from mlpeft.training.trained import load_trained

if TYPE_CHECKING:
    from collections.abc import Sequence

SEEDS = 3
EPISODES = 400
_FRESH = {"num_train_tasks": None, "num_val_tasks": None, "num_test_tasks": None}

PROBLEMS: dict[str, dict[str, dict[str, Any]]] = {
    "sinusoid": {
        "meta_learning": {
            "meta_batch_size": 8,
            "num_meta_iterations": 1500,
            "inner_lr": 0.02,
            "num_inner_steps": 5,
            "eval_interval": 250,
            "save_interval": 1500,
        },
        "task_distribution": _FRESH
        | {
            "task_families": ["sinusoid"],
            "num_classes": 1,
            "k_shot": 10,
            "query_size": 50,
            "train_query_size": 0,
        },
        "model": {"backbone": "tanh", "hidden_dim": 64},
        "evaluation": {"num_val_episodes": 100, "num_inner_steps": 32, "steps": [32]},
    },
    "digits": {
        "meta_learning": {
            "meta_batch_size": 8,
            "num_meta_iterations": 600,
            "inner_lr": 0.05,
            "num_inner_steps": 5,
            "eval_interval": 100,
            "save_interval": 600,
        },
        "task_distribution": {
            "task_families": ["digits"],
            "num_classes": 3,
            "k_shot": 1,
            "query_size": 15,
            "train_query_size": 0,
        },
        "model": {"backbone": "linear", "hidden_dim": 64},
        "evaluation": {"num_val_episodes": 100, "num_inner_steps": 10, "steps": [10]},
    },
    "omniglot": {
        "meta_learning": {
            "meta_batch_size": 8,
            "num_meta_iterations": 100,
            "inner_lr": 3e-3,
            "inner_optimizer": "adam",
            "inner_beta1": 0.0,
            "inner_batch_size": 10,
            "num_inner_steps": 5,
            "eval_interval": 100,
            "save_interval": 100,
        },
        "task_distribution": _FRESH
        | {
            "task_families": ["omniglot"],
            "num_classes": 5,
            "k_shot": 1,
            "query_size": 25,
            "train_k_shot": 10,
            "train_query_size": 0,
        },
        "model": {"backbone": "conv4", "hidden_dim": 16, "transductive": True},
        "evaluation": {"num_val_episodes": 100, "num_inner_steps": 10, "steps": [10]},
        "compute": {"strategy": "fused", "shard_size": 1},
    },
}


@dataclass(frozen=True)
class Row:
    """What is trained.

    Attributes:
        keys: By section.
        outer_lrs: Outer step sizes to choose from.
    """

    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    outer_lrs: tuple[float, ...] = (0.25, 0.5, 1.0)


def _compression(name: str, **keys: float) -> Row:
    return Row({"cluster": {"compression": name} | keys}, (0.5, 1.0))


def _optimizer(name: str, *outer_lrs: float) -> Row:
    return Row({"meta_learning": {"outer_optimizer": name}}, outer_lrs)


TABLES: dict[str, dict[str, Row]] = {
    "optimizers": {
        "sgd (interpolation)": _optimizer("sgd", 0.1, 0.25, 0.5, 1.0),
        "nesterov": _optimizer("nesterov", 0.01, 0.03, 0.1, 0.3),
        "adam": _optimizer("adam", 3e-4, 1e-3, 3e-3, 1e-2),
    },
    "compression": {
        "none": _compression("none"),
        "bf16": _compression("bf16"),
        "int8": _compression("int8"),
        "topk, 10 %": _compression("topk", topk=0.1),
        "topk, 30 %": _compression("topk", topk=0.3),
        "powersgd, rank 4": _compression("powersgd", powersgd_rank=4),
        "powersgd, rank 2": _compression("powersgd", powersgd_rank=2),
    },
}
OF_COMPRESSION = {"omniglot": (1.0,)}
"""Problems of that table alone, with the outer step sizes to choose from."""


def config(out: Path, problem: str, row: Row, outer_lr: float, seed: int) -> RunConfig:
    """The configuration of one training; its name says all that differs."""
    tree = {section: dict(keys) for section, keys in PROBLEMS[problem].items()}
    for section, keys in row.keys.items():
        tree.setdefault(section, {}).update(keys)
    tree["meta_learning"] |= {"outer_lr": outer_lr, "outer_schedule": "linear"}
    tree["evaluation"]["test_seed"] = 0
    words = [str(value) for keys in row.keys.values() for value in keys.values()]
    name = "-".join([problem, *words, f"{outer_lr:g}", str(seed)])
    tree["run"] = {"name": name, "seed": seed}
    tree["paths"] = {"checkpoint_dir": str(out / "runs")}
    return RunConfig.from_dict(tree)


def one(out: Path, run: RunConfig) -> dict[str, float]:
    """Train and test, or read what is there: validation and test score."""
    file = out / "results" / f"{run.run.name}.json"
    if file.is_file():
        found: dict[str, float] = json.loads(file.read_text())
        return found
    result = train(run, resume=None)
    tested = evaluate(load_trained(result.run_dir), EPISODES)
    assert result.best is not None  # noqa: S101 - a training validates at its end
    found = {"validation": result.best.score, "test": tested.score}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found))
    return found


def chosen(out: Path, problem: str, row: Row, seeds: int) -> tuple[float, list[float]]:
    """The outer step size that validation chooses, and its test scores by seed."""
    outer_lrs = OF_COMPRESSION.get(problem, row.outer_lrs)
    found = {
        lr: [one(out, config(out, problem, row, lr, seed)) for seed in range(seeds)]
        for lr in outer_lrs
    }

    def validation(lr: float) -> float:
        return float(np.mean([each["validation"] for each in found[lr]]))

    best = max(outer_lrs, key=validation)
    return best, [each["test"] for each in found[best]]


def lines(out: Path, problem: str, rows: dict[str, Row], seeds: int) -> Sequence[str]:
    """The rows of one problem's table."""
    table, base = [], None
    for name, row in rows.items():
        lr, scores = chosen(out, problem, row, seeds)
        mean, half = seed_interval(scores)
        base = base or scores
        differences = [ours - theirs for ours, theirs in zip(scores, base, strict=True)]
        gain, width = seed_interval(differences)
        paired = "" if scores is base else f"{gain:+.4f} ± {width:.4f}"
        table.append(
            f"| {problem} | {name} | {lr:g} | {mean:.4f} ± {half:.4f} | {paired} |"
        )
    return table


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--problem", choices=PROBLEMS)
    parser.add_argument("--rows", nargs="+", help="those that begin with one of these")
    arguments = parser.parse_args()
    chosen_rows = {
        name: row
        for name, row in TABLES[arguments.table].items()
        if name.startswith(tuple(arguments.rows or [""]))
    }
    problems = [arguments.problem] if arguments.problem else list(PROBLEMS)
    if arguments.table != "compression":
        problems = [name for name in problems if name not in OF_COMPRESSION]
    print("| problem | row | outer_lr | test | difference to the first, paired |")
    print("| --- " * 5 + "|")
    for problem in problems:
        for line in lines(arguments.out, problem, chosen_rows, arguments.seeds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
