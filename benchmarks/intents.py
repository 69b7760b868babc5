"""Does a meta-learned start beat what one would do without? Few-shot intents.

Every start is scored on the same episodes of classes that no training saw, after 0, 1,
5 and 10 inner steps; differences are paired. What is done is kept under `--out`, so the
command goes on where it was stopped.

    python -m benchmarks.intents                       # Banking77, all starts
    python -m benchmarks.intents --no-adapt            # without inner steps: minutes
    python -m benchmarks.intents --train-on clinc150 --test-on clinc150
    python -m benchmarks.intents --train-on banking77 --test-on clinc150
    python -m benchmarks.intents --table               # what is there by now
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mlpeft
from benchmarks import joint
from benchmarks.nearest import Nearest
from mlpeft import checkpoint
from mlpeft.config import RunConfig
from mlpeft.evaluate import load_trained
from mlpeft.meta.plan import test_shards, validation_shards
from mlpeft.meta.runner import ShardRunner
from mlpeft.models.build import build_model
from mlpeft.npz import read_npz
from mlpeft.results import half_width
from mlpeft.runs import run_folder
from mlpeft.tasks.build import build_tasks
from mlpeft.train import train

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.params import ParamTree

STEPS = [0, 1, 5, 10]
K_SHOTS = (1, 5)
DATA_SETS = ("banking77", "clinc150")
TUNED_STEPS = 5
TUNING_EPISODES = 40
LR_FACTORS = (0.3, 1.0, 3.0)
"""Each start may choose its inner step size, on validation classes."""

STARTS = {
    "centroid": "frozen, nearest centroid",
    "projection": "projection of the frozen embedding",
    "projection_named": "the same, trained with names",
    "random": "LoRA, random start",
    "joint": "LoRA, jointly trained",
    "reptile": "LoRA, Reptile",
    "fomaml": "LoRA, FOMAML",
}
PROJECTIONS = ("projection", "projection_named")
FROZEN = ("centroid", *PROJECTIONS)
"""Starts that are scored without adapting."""

AGAINST = {
    "centroid": "the centroid",
    "projection": "the projection",
    "joint": "the joint start",
    "random": "the random start",
}
"""What others are held against."""

PROJECTION: dict[str, dict[str, Any]] = {
    "model": {"projected": True},
    "peft": {"method": "head", "train_also": ["projection"]},
    "meta_learning": {
        "outer_lr": 3e-4,
        "outer_schedule": "constant",
        "num_meta_iterations": 600,
        "meta_batch_size": 1,
        "eval_interval": 100,
        "save_interval": 100,
    },
}
"""600 episodes of Adam, prototype loss; the best of six validations."""


@dataclass(frozen=True)
class Setting:
    """What a figure is about: a start, what made it, where and with how many shots.

    Attributes:
        start: One of `STARTS`.
        train_on: Data set.
        test_on: Data set.
        k_shot: Examples of each intent.
        named: Whether the names of intents are examples of them, too, at the test.
    """

    start: str
    train_on: str
    test_on: str
    k_shot: int
    named: bool = False

    @property
    def name(self) -> str:
        """Names its files."""
        kind = "named" if self.named else "plain"
        return f"{self.start}-{self.train_on}-{self.test_on}-{self.k_shot}-{kind}"

    @classmethod
    def of(cls, name: str) -> Setting:
        """The setting that a file is named after."""
        start, train_on, test_on, k_shot, kind = name.split("-")
        return cls(start, train_on, test_on, int(k_shot), kind == "named")


class Laboratory:
    """Makes starts and scores them; keeps what it made.

    Args:
        out: Folder of runs and scores.
        episodes: How many test episodes to score.
        recipes: Configuration by algorithm.
    """

    def __init__(self, out: Path, episodes: int, recipes: dict[str, RunConfig]) -> None:
        self.out = out
        self.episodes = episodes
        self.recipes = recipes
        self._models: dict[str, nn.Module] = {}

    def config(self, start: str, data: str) -> RunConfig:
        """The configuration of a start's run, on one of the data sets."""
        recipe = self.recipes["reptile" if start == "reptile" else "fomaml"]
        params = recipe.task_distribution.task_params | {"dataset": data}
        if start == "projection":
            params["label_names"] = False
        changes: dict[str, dict[str, Any]] = {
            "run": {"name": f"{start}-{data}"},
            "paths": {"checkpoint_dir": str(self.out / "runs")},
            "task_distribution": {"task_params": params},
        }
        if start in PROJECTIONS:
            for section, keys in PROJECTION.items():
                changes[section] = changes.get(section, {}) | keys
            changes["task_distribution"] |= {"train_k_shot": None}
        return recipe.with_changes(**changes)

    def test_config(self, setting: Setting) -> RunConfig:
        """The configuration that a start is scored with."""
        config = self.config(setting.start, setting.test_on)
        params = config.task_distribution.task_params
        return config.with_changes(
            task_distribution={
                "k_shot": setting.k_shot,
                "task_params": params | {"label_names": setting.named},
            },
            evaluation={"steps": STEPS, "num_inner_steps": STEPS[-1]},
        )

    def meta(self, start: str, data: str) -> ParamTree:
        """The meta-state of a start, trained if it is not there yet."""
        config = self.config(start, data)
        if start in ("centroid", "random"):
            return self._runner(config, start).initial_meta()
        if start == "joint":
            file = self.out / "joint" / f"{data}.npz"
            if not file.is_file():
                joint.train(self._runner(config, start), file)
            return read_npz(file)
        folder = run_folder(config)
        found, _ = checkpoint.newest(folder)
        iterations = config.meta_learning.num_meta_iterations
        if found is None or found.progress.iteration < iterations:
            print(f"training {config.run.name}", flush=True)
            train(config, runner=self._runner(config, start), resume=found is not None)
        return load_trained(folder).meta

    def score(self, setting: Setting, *, adapt: bool = True) -> np.ndarray:
        """Accuracy (episodes, steps), as far as it is not there yet.

        Args:
            setting: What to score.
            adapt: After all of `STEPS`; else, and for what is frozen, after none.
        """
        adapt = adapt and setting.start not in FROZEN
        folder = "adapted" if adapt else "unadapted"
        file = self.out / folder / f"{setting.name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        done = _read(file)
        if len(done) >= self.episodes:
            return done[: self.episodes]
        meta = self.meta(setting.start, setting.train_on)
        config = self.test_config(setting)
        if adapt:
            lr = self._tuned_lr(setting, meta, config)
            config = config.with_changes(meta_learning={"inner_lr": lr})
        runner = self._runner(config, setting.start)
        nearest = None if adapt else Nearest(runner, meta)
        for shard in test_shards(runner.config, runner.tasks, self.episodes):
            if shard.index * len(shard.tasks) < len(done):
                continue
            if nearest is None:
                acc = runner.run(meta, shard).per_task["acc"]
            else:
                acc = np.stack([nearest.acc(spec) for spec in shard.tasks])[:, None]
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(np.round(acc, 6).tolist()) + "\n")
        scores = _read(file)
        print(f"{setting.name}: {_cells(scores)}", flush=True)
        return scores

    def _tuned_lr(self, setting: Setting, meta: ParamTree, config: RunConfig) -> float:
        """The inner step size that suits a start best on validation episodes."""
        file = self.out / "tuned" / f"{setting.name}.json"
        if file.is_file():
            return float(json.loads(file.read_text())["lr"])
        tried: dict[float, float] = {}
        for factor in LR_FACTORS:
            lr = config.meta_learning.inner_lr * factor
            candidate = config.with_changes(
                meta_learning={"inner_lr": lr},
                evaluation={
                    "steps": [TUNED_STEPS],
                    "num_inner_steps": TUNED_STEPS,
                    "num_val_episodes": TUNING_EPISODES,
                },
            )
            runner = self._runner(candidate, setting.start)
            shards = validation_shards(runner.config, runner.tasks, 0)
            found = [runner.run(meta, shard).per_task["acc"] for shard in shards]
            tried[lr] = float(np.concatenate(found)[:, -1].mean())
        best = max(tried, key=lambda lr: (tried[lr], -lr))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"lr": best, "tried": tried}))
        return best

    def _runner(self, config: RunConfig, start: str) -> ShardRunner:
        """Models are shared, so that frozen layers are computed once a sentence."""
        kind = "projection" if start in PROJECTIONS else "lora"
        tasks = build_tasks(config)
        if kind not in self._models:
            self._models[kind] = build_model(
                config.model,
                tasks.input_shape,
                tasks.num_outputs,
                config.run.seed,
                peft=config.peft,
            )
        return ShardRunner(config, tasks, self._models[kind])


def _read(file: Path) -> np.ndarray:
    """(episodes, steps); a line that a kill cut short is dropped, from the file too."""
    if not file.is_file():
        return np.zeros((0, len(STEPS)))
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        file.write_text("".join(whole), encoding="utf-8")
    rows = [row for line in whole for row in json.loads(line)]
    return np.array(rows) if rows else np.zeros((0, len(STEPS)))


def _cells(scores: np.ndarray) -> list[str]:
    means, widths = 100 * scores.mean(axis=0), 100 * half_width(scores)
    return [f"{m:.1f} ± {w:.1f}" for m, w in zip(means, widths, strict=True)]


class Table:
    """All figures that are there, and paired differences."""

    def __init__(self, out: Path) -> None:
        self.out = out

    @cached_property
    def scores(self) -> dict[Setting, np.ndarray]:
        """Accuracies (episodes, steps) by setting."""
        found = {}
        for folder in ("unadapted", "adapted"):
            for file in sorted((self.out / folder).glob("*.jsonl")):
                setting = Setting.of(file.stem)
                scores = _read(file)
                if len(scores) >= max(len(found.get(setting, [])), 1):
                    found[setting] = scores
        return found

    def markdown(self) -> str:
        """One table for each pair of data sets."""
        kinds = sorted({(s.train_on, s.test_on, s.named) for s in self.scores})
        return "\n\n".join(self._one(*kind) for kind in kinds)

    def _one(self, train_on: str, test_on: str, named: bool) -> str:
        head = "| start | shots | " + " | ".join(f"step {s}" for s in STEPS)
        kind = "with" if named else "without"
        lines = [
            f"Trained on {train_on}, tested on {test_on}, {kind} names of intents:\n",
            f"{head} | {' | '.join(f'to {AGAINST[one]}' for one in AGAINST)} |",
            "| --- " * (len(STEPS) + 2 + len(AGAINST)) + "|",
        ]
        for k in K_SHOTS:
            for start, title in STARTS.items():
                scores = self.scores.get(Setting(start, train_on, test_on, k, named))
                if scores is None:
                    continue
                cells = _cells(scores) + [""] * (len(STEPS) - scores.shape[1])
                gains = [
                    self._gain(scores, Setting(other, train_on, test_on, k, named))
                    for other in AGAINST
                ]
                lines.append(f"| {title} | {k} | {' | '.join([*cells, *gains])} |")
        return "\n".join(lines)

    def _gain(self, scores: np.ndarray, against: Setting) -> str:
        """Paired difference after as many steps as suit each start best."""
        other = self.scores.get(against)
        if other is None or other is scores:
            return ""
        n = min(len(scores), len(other))
        best = [rows[:n, rows[:n].mean(axis=0).argmax()] for rows in (scores, other)]
        gain = best[0] - best[1]
        return f"{100 * gain.mean():+.1f} ± {100 * half_width(gain):.1f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            setting.name: {
                "episodes": len(scores),
                "steps": STEPS[: scores.shape[1]],
                "acc": scores.mean(axis=0).tolist(),
                "acc_ci95": half_width(scores).tolist(),
            }
            for setting, scores in self.scores.items()
        }


def main() -> None:
    """Score what is asked for and print all that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/intents"))
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--train-on", choices=DATA_SETS, default=DATA_SETS[0])
    parser.add_argument("--test-on", choices=DATA_SETS, default=DATA_SETS[0])
    parser.add_argument("--k-shot", nargs="+", type=int, default=list(K_SHOTS))
    parser.add_argument(
        "--names",
        choices=("without", "with", "both"),
        default="both",
        help="whether the names of intents are examples of them",
    )
    parser.add_argument("--recipe", type=Path, default=Path("configs/intents.yaml"))
    parser.add_argument(
        "--reptile", type=Path, default=Path("configs/intents_reptile.yaml")
    )
    parser.add_argument(
        "--no-adapt", action="store_true", help="score without inner steps only"
    )
    parser.add_argument("--table", action="store_true", help="print, compute nothing")
    args = parser.parse_args()
    if not args.table:
        recipes = {
            "fomaml": RunConfig.load(args.recipe),
            "reptile": RunConfig.load(args.reptile),
        }
        laboratory = Laboratory(args.out, args.episodes, recipes)
        kinds = {"without": [False], "with": [True], "both": [False, True]}
        chosen = product(args.starts, kinds[args.names], args.k_shot)
        for start, named, k_shot in chosen:
            setting = Setting(start, args.train_on, args.test_on, k_shot, named)
            laboratory.score(setting, adapt=not args.no_adapt)
    table = Table(args.out)
    print(f"\nmlpeft {mlpeft.__version__}, {args.episodes} episodes, ± 95 %\n")
    print(table.markdown())
    (args.out / "results.json").write_text(json.dumps(table.to_dict(), indent=1))


if __name__ == "__main__":
    main()
