"""Does a meta-learned start beat what one would do without? Writing styles.

LoRA starts of a language model: random, trained jointly on the messages of all training
people (at its better step size that is configs/style.yaml), and meta-learned by
configs/style_reptile.yaml. All are scored on the same episodes of people whom no
training saw, each with the inner step size that suits it best on people to validate on;
differences are paired. The joint training takes as many gradient steps on as many
messages as the meta-learning. Each seed trains and draws episodes anew.

Episodes of one person are much alike, so 95 % intervals are over people, not episodes.
Whatever is done is kept under `--out`: the command goes on where it was stopped, and a
larger `--episodes` scores what is missing.

    python -m benchmarks.language          # trains, then scores 100 episodes a seed
    python -m benchmarks.language --table  # what is there by now
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import mlpeft
from mlpeft.config import RunConfig
from mlpeft.evaluation.joint_start import joint_config
from mlpeft.platform import set_blas_threads
from mlpeft.tasks.families.completions import Completions
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from mlpeft.training.plan import test_shards, validation_shards
from mlpeft.training.run_folder import run_folder
from mlpeft.training.runner import ShardRunner
from mlpeft.training.trained import load_trained

if TYPE_CHECKING:
    from mlpeft.params import ParamTree

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "style_reptile.yaml"
STEPS = [0, 4, 8]
STARTS = {
    "random": "random",
    "joint": "trained jointly",
    "reptile": "meta-learned",
}
LR_FACTORS = (1.0, 3.0)
"""Each start may choose its inner step size: the recipe's times one of these."""
TUNING_EPISODES = 6
JOINT_LRS = (5e-4, 2e-3)
"""Step sizes of joint training, falling to zero as a cosine."""


@dataclass(frozen=True)
class Scores:
    """Test episodes of one start, in the order in which they are drawn.

    Attributes:
        people: (episodes,) whose messages they are.
        loss: (episodes, steps) a token, in nats.
        exact: (episodes, steps) share of messages matched word for word.
    """

    people: np.ndarray
    loss: np.ndarray
    exact: np.ndarray

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, which: slice) -> Scores:
        return Scores(self.people[which], self.loss[which], self.exact[which])


class Laboratory:
    """Makes starts and scores them; keeps what it made.

    Args:
        out: Folder of runs and scores of one seed.
        episodes: How many test episodes to score.
        recipe: What is meta-learned, and from what.
    """

    def __init__(self, out: Path, episodes: int, recipe: RunConfig) -> None:
        self.out = out
        self.episodes = episodes
        self.config = recipe.with_changes(
            paths={"checkpoint_dir": str(out / "runs")},
            evaluation={"steps": STEPS, "num_inner_steps": STEPS[-1]},
        )

    @cached_property
    def runner(self) -> ShardRunner:
        """One for all, so that frozen layers are computed once a message."""
        return ShardRunner.from_config(self.config)

    def meta(self, start: str) -> ParamTree:
        """The meta-state of a start, trained if it is not there yet."""
        if start == "random":
            return self.runner.initial_meta()
        if start == "joint":
            return self._joint()
        return self._trained(self.config)

    def _trained(self, config: RunConfig) -> ParamTree:
        """The start of a run, brought to its end."""
        folder = run_folder(config)
        found, _ = checkpoint.newest(folder)
        iterations = config.meta_learning.num_meta_iterations
        if found is None or found.progress.iteration < iterations:
            runner = ShardRunner(config, self.runner.tasks, self.runner.model)
            train(config, runner=runner, resume=found is not None)
        return load_trained(folder).meta

    def _joint(self) -> ParamTree:
        """The better of some step sizes of training, on people to validate on."""
        found: dict[float, ParamTree] = {}
        for lr in JOINT_LRS:
            found[lr] = self._trained(self.joint_training(lr))
        tuned = {lr: self._tuned(f"joint-{lr:g}", meta) for lr, meta in found.items()}
        best = min(found, key=lambda lr: min(tuned[lr].values()))
        shutil.copy(self._tuned_file(f"joint-{best:g}"), self._tuned_file("joint"))
        return found[best]

    def joint_training(self, lr: float) -> RunConfig:
        """Batches of one message of each of several people, as many messages in all."""
        joint = joint_config(self.config, self.out / "runs")
        settings, batch = joint.meta_learning, joint.task_distribution.k_shot
        steps = settings.num_meta_iterations * settings.meta_batch_size
        return joint.with_changes(
            run={"name": f"joint-{lr:g}"},
            meta_learning={
                "outer_lr": lr,
                "meta_batch_size": batch,
                "inner_batch_size": 1,
                "num_meta_iterations": steps,
                "eval_interval": steps,
                "save_interval": max(steps // 4, 1),
            },
        )

    def score(self, start: str) -> None:
        """Score the episodes that are missing, and write them down one by one."""
        file = _scores_file(self.out, start)
        file.parent.mkdir(parents=True, exist_ok=True)
        done = len(read_scores(file))
        if done >= self.episodes:
            return
        meta = self.meta(start)
        runner = self._with_lr(self.inner_lr(start, meta))
        for shard in test_shards(runner.config, runner.tasks, self.episodes):
            for number, task in enumerate(shard.tasks, shard.index * 10):
                if number < done:
                    continue
                alone = replace(shard, index=number, tasks=(task,))
                found = runner.run(meta, alone).per_task
                line = {
                    "person": _person(runner, task.task_id),
                    "loss": np.round(found["loss"][0], 6).tolist(),
                    "exact": np.round(found["exact"][0], 6).tolist(),
                }
                with file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(line) + "\n")

    def inner_lr(self, start: str, meta: ParamTree) -> float:
        """The inner step size that suits a start best on people to validate on."""
        tried = self._tuned(start, meta)
        return min(tried, key=lambda lr: (tried[lr], lr))

    def _tuned(self, name: str, meta: ParamTree) -> dict[float, float]:
        """Loss after all steps by inner step size."""
        file = self._tuned_file(name)
        if not file.is_file():
            tried = []
            for factor in LR_FACTORS:
                runner = self._with_lr(self.config.meta_learning.inner_lr * factor)
                shards = validation_shards(runner.config, runner.tasks, 0)
                found = [runner.run(meta, shard).per_task["loss"] for shard in shards]
                loss = float(np.concatenate(found)[:, -1].mean())
                tried.append((runner.config.meta_learning.inner_lr, loss))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(tried))
            print(f"{name}, loss by inner step size: {tried}", flush=True)
        return {float(lr): float(loss) for lr, loss in json.loads(file.read_text())}

    def _tuned_file(self, name: str) -> Path:
        return self.out / "tuned" / f"{name}.json"

    def _with_lr(self, lr: float) -> ShardRunner:
        config = self.config.with_changes(
            meta_learning={"inner_lr": lr},
            evaluation={"num_val_episodes": TUNING_EPISODES},
        )
        return ShardRunner(config, self.runner.tasks, self.runner.model)


def _person(runner: ShardRunner, task_id: str) -> str:
    return Completions().task_name(runner.tasks.test.config(task_id))


def _scores_file(out: Path, start: str) -> Path:
    return out / "scores" / f"{start}.jsonl"


def read_scores(file: Path) -> Scores:
    """What is there; a line that a kill cut short is dropped, from the file too."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    if text != "".join(whole):
        file.write_text("".join(whole), encoding="utf-8")
    rows = [json.loads(line) for line in whole]
    shape = (len(rows), len(STEPS))
    return Scores(
        np.array([row["person"] for row in rows]),
        np.array([row["loss"] for row in rows]).reshape(shape),
        np.array([row["exact"] for row in rows]).reshape(shape),
    )


def half_width(values: np.ndarray, people: np.ndarray) -> float:
    """Half of the 95 % interval of a mean over episodes, for other people.

    `t sqrt(G / (G - 1) sum_g (sum of person g's residuals)^2) / n`; t is Student's of
    G - 1 degrees of freedom, expanded about the normal one: 2.26 for ten people.

    Args:
        values: (episodes,).
        people: (episodes,) whose each is.

    Returns:
        NaN of one person alone.
    """
    names, whose = np.unique(people, return_inverse=True)
    if len(names) < 2:
        return float("nan")
    residuals = np.bincount(whose, values - values.mean())
    freedom, z = len(names) - 1, 1.96
    t = z + (z**3 + z) / (4 * freedom)
    t += (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    spread = np.sqrt(len(names) / freedom * np.sum(residuals**2))
    return float(t * spread / len(values))


def of_all_seeds(out: Path) -> dict[str, Scores]:
    """Scores of each start, over the episodes of each seed that all starts have."""
    seeds = [
        {start: read_scores(_scores_file(folder, start)) for start in STARTS}
        for folder in sorted(out.glob("seed*"))
    ]
    scored = [start for start in STARTS if any(len(seed[start]) for seed in seeds)]
    found: dict[str, list[Scores]] = {start: [] for start in scored}
    for seed in seeds:
        n = min((len(seed[start]) for start in scored), default=0)
        for start in scored:
            found[start].append(seed[start][:n])
    return {
        start: Scores(
            np.concatenate([each.people for each in parts]),
            np.concatenate([each.loss for each in parts]),
            np.concatenate([each.exact for each in parts]),
        )
        for start, parts in found.items()
    }


def table(out: Path) -> str:
    """All that is there, in Markdown."""
    found = of_all_seeds(out)
    people = next(iter(found.values())).people if found else np.array([])
    n = len(people)
    best = found.get("reptile")
    lines = [
        f"{n} episodes of {len(set(people))} people:\n",
        "| LoRA start | "
        + " | ".join(f"loss, {step} steps" for step in STEPS)
        + " | exact match, 8 steps | loss, to meta-learned | exact, to meta-learned |",
        "| --- " + "| ---: " * (len(STEPS) + 3) + "|",
    ]
    for start, scores in found.items():
        loss, exact = scores.loss, 100 * scores.exact[:, -1]
        cells = [_cell(column, people, 2) for column in loss.T]
        cells.append(_cell(exact, people, 0, " %"))
        if best is not None and scores is not best:
            cells.append(_cell(loss[:, -1] - best.loss[:, -1], people, 2))
            cells.append(_cell(exact - 100 * best.exact[:, -1], people, 0, " %"))
        else:
            cells += ["", ""]
        lines.append(f"| {STARTS[start]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: np.ndarray, people: np.ndarray, digits: int, unit: str = "") -> str:
    width = half_width(values, people)
    return f"{values.mean():.{digits}f} ± {width:.{digits}f}{unit}"


def main() -> None:
    """Score what is asked for and print all that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/language"))
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="print, compute nothing")
    args = parser.parse_args()
    if not args.table:
        set_blas_threads(1)
        for seed in args.seeds:
            recipe = RunConfig.load(args.recipe, [f"run.seed={seed}"])
            laboratory = Laboratory(args.out / f"seed{seed}", args.episodes, recipe)
            for start in args.starts:
                laboratory.score(start)
    print(f"\nmlpeft {mlpeft.__version__}, ± 95 % over people\n")
    print(table(args.out))


if __name__ == "__main__":
    main()
