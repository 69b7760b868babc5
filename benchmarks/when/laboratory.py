"""Trains, chooses on validation tasks, and scores; keeps whatever is done.

Trainings are runs, which go on where they were stopped. Scores and choices are lines of
a file, each flushed as it is made: whatever is there is not made again.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.when.methods import JOINT, Choice, gradients_of_a_task
from benchmarks.when.problems import PROBLEMS, STEPS
from benchmarks.when.ridge import ridge_scores
from mlpeft.models.build import build_model
from mlpeft.platform import set_blas_threads
from mlpeft.tasks.build import build_tasks
from mlpeft.tasks.families.completions import Completions
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from mlpeft.training.plan import test_shards, train_shards, validation_shards
from mlpeft.training.run_folder import run_folder
from mlpeft.training.runner import ShardRunner
from mlpeft.training.trained import load_meta

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import mlx.nn as nn

    from benchmarks.when.methods import Method
    from benchmarks.when.problems import Tree
    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree
    from mlpeft.tasks.build import TaskSplits
    from mlpeft.work import Shard

Record = dict[str, Any]
WORST = -1e9
"""Score of what is no number."""


class Records:
    """Lines of JSON by key, as many as are whole; a later one counts.

    Args:
        file: Where they are.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: dict[str, Record] = {}
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        whole, _, cut = text.rpartition("\n")
        if cut:  # by a kill
            file.write_text(whole + "\n" * bool(whole), encoding="utf-8")
        for line in whole.splitlines():
            record = json.loads(line)
            self._found[record["key"]] = record

    def get(self, key: str) -> Record | None:
        """What is there."""
        return self._found.get(key)

    def add(self, key: str, **values: Any) -> Record:
        """Write a record down; it is on disk when this returns."""
        record = {"key": key, **values}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
        self._found[key] = record
        return record


class Laboratory:
    """One problem.

    Args:
        name: Of the problem.
        out: Folder of runs and records.
    """

    def __init__(self, name: str, out: Path) -> None:
        self.name = name
        self.problem = PROBLEMS[name]
        self.folder = out / name
        self.records = Records(out / f"{name}.jsonl")
        other = self.problem.trains_as
        self._trainer = self if other is None else Laboratory(other, out)
        self._made: tuple[int, TaskSplits, nn.Module] | None = None
        set_blas_threads(1)

    def row(self, method: Method, seed: int) -> None:
        """Everything of one method and seed, as far as it is not there yet."""
        key = f"test/{method.name}/{seed}"
        if self.records.get(key) is not None or not method.suits(self.problem):
            return
        if method.ridge:
            self._ridge_row(method, key, seed)
            return
        trainer = self._trainer
        choice = None if method.algorithm is None else trainer.choice(method)
        meta, spent = trainer.trained(method, choice, seed)
        chosen = trainer.tuned(method, choice, seed, meta)["chosen"]
        found = {
            lr: self._scores(self.runner(seed, lr, method), meta, test=True)
            for lr in {lr for lr, _ in chosen}
        }
        scores = {
            str(most): {
                kind: np.round(values[:, STEPS.index(steps)], 5).tolist()
                for kind, values in found[lr].items()
            }
            for most, (lr, steps) in zip(STEPS, chosen, strict=True)
        }
        self.records.add(
            key,
            choice=str(choice),
            chosen=chosen,
            scores=scores,
            groups=self._groups(seed),
            **spent,
        )
        means = {k: round(float(np.mean(s["score"])), 4) for k, s in scores.items()}
        print(f"{self.name} {method.name} seed {seed}: {means}", flush=True)

    def _ridge_row(self, method: Method, key: str, seed: int) -> None:
        """A head in closed form, the same after all steps."""
        choice, meta = None, None
        spent: Record = {"seconds": 0.0, "gradients": 0}
        if method.algorithm is not None:
            choice = self._trainer.choice(JOINT)
            meta, spent = self._trainer.trained(JOINT, choice, seed)
        runner = self.runner(seed)
        shards = test_shards(runner.config, runner.tasks, self.problem.test)
        found = ridge_scores(runner, meta, runner.tasks.test, shards)
        score = {"score": np.round(found, 5).tolist()}
        self.records.add(
            key,
            choice=str(choice),
            scores={str(steps): score for steps in STEPS},
            groups=None,
            **spent,
        )
        print(f"{self.name} {method.name} seed {seed}: {found.mean():.4f}", flush=True)

    def choice(self, method: Method) -> Choice:
        """What validates best with the first seed."""
        choices = method.choices(self.problem)
        if len(choices) == 1:
            return choices[0]
        found = []
        for choice in choices:
            with contextlib.suppress(FloatingPointError):
                meta, _ = self.trained(method, choice, 0)
                found.append((self.tuned(method, choice, 0, meta)["judged"], choice))
        return max(found, key=lambda pair: pair[0])[1]

    def trained(
        self, method: Method, choice: Choice | None, seed: int
    ) -> tuple[ParamTree, Record]:
        """A start, trained if it is not there yet, and what it took."""
        if choice is None:
            runner = self.runner(seed)
            return runner.initial_meta(), {"seconds": 0.0, "gradients": 0}
        gradients = (
            self.problem.gradients // self._config(seed).meta_learning.meta_batch_size
        )
        init, before = None, {"seconds": 0.0, "gradients": 0}
        if method.joint_first:
            init, before = self._joint_half(seed, gradients // 2)
            gradients -= gradients // 2
        name = f"{method.name}-{choice}-{seed}"
        changes = method.changes(self.problem, choice, gradients)
        folder, spent = self._run(name, seed, changes, init)
        total = {k: spent[k] + before[k] for k in ("seconds", "gradients")}
        return load_meta(folder).meta, total

    def _joint_half(self, seed: int, gradients: int) -> tuple[str, Record]:
        """Joint training for so many meta-iterations, with its best step size."""
        changes = JOINT.changes(self.problem, self.choice(JOINT), gradients)
        folder, spent = self._run(f"joint-half-{seed}", seed, changes, None)
        return str(folder), spent

    def _run(
        self, name: str, seed: int, changes: Tree, init: str | None
    ) -> tuple[Path, Record]:
        """The folder of a training's last step, and what it took."""
        config = self._config(seed).with_changes(**changes)
        iterations = config.meta_learning.num_meta_iterations
        config = config.with_changes(
            run={"name": name, "init": init},
            meta_learning={
                "eval_interval": iterations,
                "save_interval": max(iterations // 4, 1),
            },
            evaluation={"num_val_episodes": 1},
        )
        key = f"trained/{name}"
        step = checkpoint.step_folder(run_folder(config), iterations)
        spent = self.records.get(key)
        if spent is None or not step.is_dir():
            # Not before: it drops what another seed's frozen layers computed.
            runner = self._made_runner(seed, config)
            # What is read once, and texts that are embedded once, are not timed.
            spec = train_shards(config, runner.tasks, 0)[0].tasks[0]
            runner.tasks.train.episode(spec.task_id, spec.seed)
            started = time.process_time()
            found, _ = checkpoint.newest(run_folder(config))
            done = 0 if found is None else found.progress.iteration
            try:
                train(config, runner=runner, resume=found is not None)
            except Exception as error:
                if "finite" not in str(error):
                    raise
                raise FloatingPointError(str(error)) from error
            seconds = time.process_time() - started
            share = max(iterations - done, 1) / iterations
            batch = config.meta_learning.meta_batch_size
            spent = self.records.add(
                key,
                seconds=round(seconds / share, 2),
                gradients=iterations * batch * _gradients(config),
            )
        return step, spent

    def tuned(
        self, method: Method, choice: Choice | None, seed: int, meta: ParamTree
    ) -> Record:
        """The step size that suits each number of steps best on validation tasks."""
        key = f"tuned/{method.name}/{choice}/{seed}"
        record = self.records.get(key)
        if record is not None:
            return record
        tried = {}
        # Learned step sizes, and no steps, leave nothing to choose.
        fixed = method.own_rates or method.metric
        lrs = self.problem.eval_lrs[:1] if fixed else self.problem.eval_lrs
        for lr in lrs:
            runner = self.runner(seed, lr, method)
            scores = self._scores(runner, meta, test=False)["score"]
            mean = scores.mean(axis=0)
            tried[lr] = np.where(np.isfinite(mean), mean, WORST)
        best = [best_of(tried, most) for most in range(len(STEPS))]
        places = [STEPS.index(step) for step in self.problem.judged]
        judged = float(np.mean([best[place][0] for place in places]))
        chosen = [[lr, STEPS[column]] for _, lr, column in best]
        return self.records.add(key, chosen=chosen, judged=judged)

    def _scores(
        self, runner: ShardRunner, meta: ParamTree, *, test: bool
    ) -> dict[str, np.ndarray]:
        """(episodes, steps) each; `score` is better the larger it is."""
        shards: Sequence[Shard] = (
            test_shards(runner.config, runner.tasks, self.problem.test)
            if test
            else validation_shards(runner.config, runner.tasks, 0)
        )
        parts = [runner.run(meta, shard).per_task for shard in shards]
        found = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        if len(runner.steps) == 1:  # a metric learner has no others
            found = {k: np.repeat(v, len(STEPS), axis=1) for k, v in found.items()}
        score = found["acc"] if "acc" in found else -found["loss"]
        extra = {"exact": found["exact"]} if "exact" in found else {}
        return {"score": score} | extra

    def _groups(self, seed: int) -> list[str] | None:
        """Whose the test episodes are, where episodes of one person are alike."""
        runner = self.runner(seed)
        if runner.config.task_distribution.task_families != ["completions"]:
            return None
        shards = test_shards(runner.config, runner.tasks, self.problem.test)
        configs = [
            runner.tasks.test.config(spec.task_id) for s in shards for spec in s.tasks
        ]
        return [Completions().task_name(config) for config in configs]

    def _config(self, seed: int) -> RunConfig:
        return self.problem.config(seed, self.folder / "runs")

    def runner(
        self, seed: int, lr: float | None = None, method: Method | None = None
    ) -> ShardRunner:
        """Scores with an inner step size, or with those that a method learned."""
        config = self._config(seed)
        if lr is not None:
            config = config.with_changes(meta_learning={"inner_lr": lr})
        if method is not None and (method.own_rates or method.metric):
            config = config.with_changes(
                meta_learning=method.algorithm_keys,
                task_distribution={"train_query_size": self.problem.queries},
            )
        return self._made_runner(seed, config)

    def _made_runner(self, seed: int, config: RunConfig) -> ShardRunner:
        """A seed's trainings share a model, and what its frozen layers computed."""
        if self._made is None or self._made[0] != seed:
            own = self._config(seed)
            tasks = build_tasks(own)
            model = build_model(
                own.model,
                tasks.input_shape,
                tasks.num_outputs,
                seed,
                peft=own.peft,
            )
            self._made = (seed, tasks, model)
        return ShardRunner(config, build_tasks(config), self._made[2])


def best_of(tried: Mapping[float, np.ndarray], most: int) -> tuple[float, float, int]:
    """The best score, its step size, and its column, none of them after `most`."""
    found = [
        (float(scores[column]), lr, column)
        for lr, scores in tried.items()
        for column in range(most + 1)
    ]
    return max(found, key=lambda one: (one[0], -one[2]))


def _gradients(config: RunConfig) -> int:
    settings = config.meta_learning
    return gradients_of_a_task(settings.algorithm, settings.num_inner_steps)
