"""Does a meta-learned start beat what one would do without? Few-shot intents.

Every start is scored on the same episodes of classes that no training saw, after 0, 1,
5 and 10 inner steps; differences are paired. What is done is kept under `--out`, so the
command goes on where it was stopped.

    python -m benchmarks.intents                       # Banking77, all starts
    python -m benchmarks.intents --no-adapt            # without inner steps: minutes
    python -m benchmarks.intents --no-adapt --class-splits 01 02 03 04 05
    python -m benchmarks.intents --train-on clinc150 --test-on clinc150
    python -m benchmarks.intents --train-on banking77 --test-on clinc150
    python -m benchmarks.intents --head ridge          # in place of the class means
    python -m benchmarks.intents --table               # what is there by now
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mlpeft
from benchmarks.intents_table import (
    K_SHOTS,
    STARTS,
    STEPS,
    Setting,
    Table,
    cells,
    read_scores,
    unadapted,
)
from benchmarks.nearest import TRANSDUCTIVE, Nearest
from mlpeft.config import RunConfig
from mlpeft.datasets.intents import CLASS_SPLITS
from mlpeft.heads.auto import KINDS
from mlpeft.meta import state
from mlpeft.models.build import build_model
from mlpeft.tasks.build import build_tasks
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from mlpeft.training.plan import test_shards, validation_shards
from mlpeft.training.run_folder import run_folder
from mlpeft.training.runner import ShardRunner
from mlpeft.training.trained import load_trained

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.params import ParamTree

DATA_SETS = ("banking77", "clinc150")
TUNED_STEPS = 5
TUNING_EPISODES = 40
LR_FACTORS = (1.0, 10.0, 100.0)
"""Each start may choose its inner step size, on validation classes."""

PROJECTIONS = ("projection", "projection_named")
"""The first is trained on one-shot episodes, the second on those of the recipe."""
FROZEN = ("centroid", *PROJECTIONS)
"""Starts that are scored without adapting."""

PROJECTION: dict[str, dict[str, Any]] = {
    "model": {"projected": True},
    "peft": {"method": "head", "train_also": ["projection"]},
    "meta_learning": {
        "outer_lr": 3e-4,
        "outer_schedule": "constant",
        "num_meta_iterations": 600,
        "meta_batch_size": 1,
        "eval_interval": 600,
        "save_interval": 100,
    },
}
"""600 episodes of Adam, prototype loss; the last theta."""
JOINT: dict[str, dict[str, Any]] = {
    "meta_learning": {
        "algorithm": "joint",
        "meta_batch_size": 2,
        "num_meta_iterations": 100,
        "outer_optimizer": "adam",
        "outer_lr": 5e-4,
        "outer_schedule": "cosine",
        "eval_interval": 25,
        "save_interval": 25,
    },
    "task_distribution": {"train_k_shot": 5},
}
"""Batches of 100 utterances and the names of their intents; what validates best."""


class Laboratory:
    """Makes starts and scores them; keeps what it made.

    Args:
        out: Folder of runs and scores.
        episodes: How many test episodes to score.
        recipes: Configuration by algorithm.
        head: What is fitted to each support set, see `Nearest`; None: class means.
    """

    def __init__(
        self,
        out: Path,
        episodes: int,
        recipes: dict[str, RunConfig],
        head: str | None = None,
    ) -> None:
        self.out = out
        self.head = head
        self.episodes = episodes
        self.recipes = recipes
        self._models: dict[str, nn.Module] = {}
        self._embedded: tuple[tuple[str, ...], dict[bytes, np.ndarray]] = ((), {})

    def config(self, start: str, data: str, class_split: str) -> RunConfig:
        """The configuration of a start's run, on one of the data sets."""
        recipe = self.recipes["reptile" if start == "reptile" else "fomaml"]
        params = recipe.task_distribution.task_params
        params = params | {"dataset": data, "class_split": class_split}
        changes: dict[str, dict[str, Any]] = {
            "run": {"name": f"{start}-{data}-{class_split}"},
            "paths": {"checkpoint_dir": str(self.out / "runs")},
            "task_distribution": {"task_params": params},
        }
        if start in PROJECTIONS:
            for section, keys in PROJECTION.items():
                changes[section] = changes.get(section, {}) | keys
        if start == "joint":
            changes["meta_learning"] = JOINT["meta_learning"]
            changes["task_distribution"] |= JOINT["task_distribution"]
        if start == "projection":
            plain = {
                "train_k_shot": None,
                "task_params": params | {"label_names": False},
            }
            changes["task_distribution"] |= plain
        return recipe.with_changes(**changes)

    def test_config(self, setting: Setting) -> RunConfig:
        """The configuration that a start is scored with."""
        config = self.config(setting.start, setting.test_on, setting.class_split)
        params = config.task_distribution.task_params
        return config.with_changes(
            task_distribution={
                "k_shot": setting.k_shot,
                "task_params": params | {"label_names": setting.named},
            },
            evaluation={
                "steps": STEPS,
                "num_inner_steps": STEPS[-1],
                "inner_batch_size": self.recipes["fomaml"].evaluation.inner_batch_size,
            },
        )

    def meta(self, start: str, data: str, class_split: str) -> ParamTree:
        """The meta-state of a start, trained if it is not there yet."""
        config = self.config(start, data, class_split)
        if start in ("centroid", "random"):
            return self._runner(config, start).initial_meta()
        folder = run_folder(config)
        found, _ = checkpoint.newest(folder)
        iterations = config.meta_learning.num_meta_iterations
        if found is None or found.progress.iteration < iterations:
            print(f"training {config.run.name}", flush=True)
            train(config, runner=self._runner(config, start), resume=found is not None)
        return state.without_head(load_trained(folder).meta)

    def score(self, setting: Setting, *, adapt: bool = True) -> np.ndarray:
        """Accuracy (episodes, steps), as far as it is not there yet.

        Args:
            setting: What to score.
            adapt: After all of `STEPS`; else, and for what is frozen, after none.
        """
        adapt = adapt and setting.start not in FROZEN
        folder = "adapted" if adapt else unadapted(self.head)
        file = self.out / folder / f"{setting.name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        done = read_scores(file)
        if len(done) >= self.episodes:
            return done[: self.episodes]
        meta = self.meta(setting.start, setting.train_on, setting.class_split)
        config = self.test_config(setting)
        if adapt:
            lr = self._tuned_lr(setting, meta, config)
            config = config.with_changes(meta_learning={"inner_lr": lr})
        runner = self._runner(config, setting.start)
        nearest = (
            None
            if adapt
            else Nearest(runner, meta, self._embeddings(setting), self.head)
        )
        for shard in test_shards(runner.config, runner.tasks, self.episodes):
            if shard.index * len(shard.tasks) < len(done):
                continue
            if nearest is None:
                acc = runner.run(meta, shard).per_task["acc"]
            else:
                acc = np.stack([nearest.acc(spec) for spec in shard.tasks])[:, None]
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(np.round(acc, 6).tolist()) + "\n")
        scores = read_scores(file)
        print(f"{setting.name}: {cells(scores)}", flush=True)
        return scores

    def _embeddings(self, setting: Setting) -> dict[bytes, np.ndarray]:
        """What is known of utterances under a start; of the last one asked for."""
        start = (setting.start, setting.train_on, setting.class_split)
        if self._embedded[0] != start:
            self._embedded = (start, {})
        return self._embedded[1]

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


def main() -> None:
    """Score what is asked for and print all that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/intents"))
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--train-on", choices=DATA_SETS, default=DATA_SETS[0])
    parser.add_argument("--test-on", choices=DATA_SETS, default=DATA_SETS[0])
    parser.add_argument(
        "--class-splits", nargs="+", choices=CLASS_SPLITS, default=[CLASS_SPLITS[0]]
    )
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
    parser.add_argument(
        "--head",
        choices=(*KINDS, TRANSDUCTIVE),
        help="score without inner steps, with this head; transductive also learns "
        "from the queries of an episode, without their labels",
    )
    parser.add_argument("--table", action="store_true", help="print, compute nothing")
    args = parser.parse_args()
    if not args.table:
        recipes = {
            "fomaml": RunConfig.load(args.recipe),
            "reptile": RunConfig.load(args.reptile),
        }
        laboratory = Laboratory(args.out, args.episodes, recipes, args.head)
        kinds = {"without": [False], "with": [True], "both": [False, True]}
        chosen = product(args.class_splits, args.starts, kinds[args.names], args.k_shot)
        for class_split, start, named, k_shot in chosen:
            setting = Setting(
                start, args.train_on, args.test_on, class_split, k_shot, named
            )
            laboratory.score(setting, adapt=not args.no_adapt and args.head is None)
    folders = ("unadapted", "adapted") if args.head is None else (unadapted(args.head),)
    table = Table(args.out, folders)
    print(f"\nmlpeft {mlpeft.__version__}, {args.episodes} episodes, ± 95 %\n")
    print(table.markdown())
    name = "results.json" if args.head is None else f"results-{args.head}.json"
    (args.out / name).write_text(json.dumps(table.to_dict(), indent=1))


if __name__ == "__main__":
    main()
