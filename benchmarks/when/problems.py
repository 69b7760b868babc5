"""The problems: tasks, model, and how much is spent on each."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.when import ROOT
from mlpeft.config import RunConfig

STEPS = [0, 1, 5, 10]

Tree = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One kind of task, and a model for it.

    Attributes:
        about: For the table.
        recipe: A shipped configuration.
        changes: What differs from it.
        gradients: Gradients of one task that every training computes.
        inner_lrs: Inner step sizes of training to choose from.
        outer_lrs: Step sizes of an outer Adam to choose from, also for joint training.
        inner_steps: Inner steps of training to choose from; Reptile takes the last.
        reptile_outers: Reptile's: step sizes of an outer Adam, or "sgd" for its own
            interpolation; None: "sgd" and the first of `outer_lrs`.
        eval_lrs: Inner step sizes of adaptation to choose from.
        batch: Examples of a task that one gradient sees.
        shots: Support examples while training, as `train_k_shot` counts them.
        queries: Query examples while training.
        classes: Whether a task has classes.
        validation: Validation episodes.
        test: Test episodes of a seed.
        trains_as: The problem whose trainings and choices are taken; None: its own.
        judged: Steps whose mean validation score chooses between trainings.
    """

    about: str
    recipe: str
    changes: Tree = field(default_factory=dict)
    gradients: int
    inner_lrs: tuple[float, ...]
    outer_lrs: tuple[float, ...]
    eval_lrs: tuple[float, ...]
    batch: int
    shots: int
    queries: int
    classes: bool = True
    validation: int = 60
    test: int = 200
    inner_steps: tuple[int, ...] = (1, 4)
    reptile_outers: tuple[float | str, ...] | None = None
    trains_as: str | None = None
    judged: tuple[int, ...] = (1, 5, 10)

    @property
    def second_order(self) -> bool:
        """Whether inner steps can be differentiated through, which Adam's cannot."""
        return self.config(0, Path()).meta_learning.inner_optimizer == "sgd"

    @property
    def tokens(self) -> bool:
        """Whether inputs are tokens, which no head can be fitted to."""
        return self.recipe in ("intents.yaml", "style_reptile.yaml")

    def config(self, seed: int, folder: Path) -> RunConfig:
        """What all trainings on the problem share."""
        recipe = RunConfig.load(ROOT / "configs" / self.recipe)
        tree = recipe.to_dict()
        for section, keys in self.changes.items():
            params = tree[section].get("task_params", {})
            tree[section] |= keys
            if "task_params" in keys:
                tree[section]["task_params"] = params | keys["task_params"]
        tree["run"] |= {"seed": seed}
        tree["paths"] |= {"checkpoint_dir": str(folder), "keep_last": 1}
        tree["evaluation"] |= {
            "steps": STEPS,
            "num_inner_steps": STEPS[-1],
            "num_val_episodes": self.validation,
            "num_test_episodes": self.test,
        }
        return RunConfig.from_dict(tree)


def _plays() -> str:
    """The file of speeches in the data folder."""
    folder = Path(os.environ.get("MLPEFT_DATA_DIR", "data"))
    return str(folder / "plays" / "speeches.jsonl.gz")


def _intents(about: str, dataset: str, trains_as: str | None = None) -> Problem:
    """LoRA in the last layer, so that the others are computed once an utterance."""
    return Problem(
        about=about,
        recipe="intents.yaml",
        changes={
            "meta_learning": {"meta_batch_size": 2},
            "task_distribution": {
                "task_params": {"dataset": dataset, "label_names": False},
                "input_dim": 32,
            },
            "peft": {"num_layers": 1},
            "evaluation": {"inner_batch_size": None},
        },
        gradients=300,
        inner_lrs=(0.3,),
        inner_steps=(0, 2),
        outer_lrs=(5e-4,),
        eval_lrs=(0.03, 1.0),
        batch=25,
        shots=5,
        queries=25,
        validation=30,
        test=100,
        trains_as=trains_as,
        judged=(0, 1, 5, 10),
    )


def _people(about: str, inner_steps: tuple[int, ...], **changes: Any) -> Problem:
    """LoRA in the last layers of a small language model."""
    return Problem(
        about=about,
        recipe="style_reptile.yaml",
        changes={
            "peft": {"num_layers": 2},
            "task_distribution": {"query_size": 6} | changes,
        },
        gradients=200,
        inner_lrs=(2e-3, 6e-3),
        inner_steps=inner_steps,
        outer_lrs=(2e-3, 6e-3),
        reptile_outers=("sgd",),
        eval_lrs=(2e-3, 6e-3),
        batch=4,
        shots=4,
        queries=4,
        classes=False,
        validation=6,
        test=10,
    )


PROBLEMS = {
    "sinusoids": Problem(
        about="sinusoids, 10 points; MLP of 2 x 64",
        recipe="sinusoid.yaml",
        changes={"meta_learning": {"meta_batch_size": 4}},
        gradients=24_000,
        inner_lrs=(0.01, 0.03),
        outer_lrs=(1e-3, 3e-3),
        eval_lrs=(0.003, 0.01, 0.03, 0.1),
        batch=10,
        shots=10,
        queries=10,
        classes=False,
        validation=100,
        test=400,
    ),
    "digits": Problem(
        about="digits, 3-way 1-shot; MLP of 2 x 64",
        recipe="digits.yaml",
        changes={
            "meta_learning": {"meta_batch_size": 4},
            "compute": {"shard_size": None},
        },
        gradients=12_000,
        inner_lrs=(0.05, 0.15),
        outer_lrs=(1e-3, 3e-3),
        eval_lrs=(0.002, 0.01, 0.05, 0.2),
        batch=15,
        shots=5,
        queries=15,
        validation=100,
        test=400,
    ),
    "opposites": Problem(
        about="people who want opposite things of a text (CLINC150), 10 examples; MLP "
        "of 2 x 64 on MiniLM's embeddings",
        recipe="digits.yaml",
        changes={
            "task_distribution": {
                "task_families": ["custom"],
                "num_classes": 2,
                "input_dim": 384,
                "k_shot": 10,
                "query_size": 40,
                "task_params": {
                    "entry_point": "benchmarks.when.opposites:episode",
                    "input_shape": [384],
                },
            },
            "compute": {"shard_size": None},
        },
        gradients=12_000,
        inner_lrs=(0.05, 0.2),
        outer_lrs=(1e-3, 4e-3),
        eval_lrs=(0.03, 0.1, 0.3),
        batch=10,
        shots=10,
        queries=10,
        validation=100,
        test=400,
    ),
    "omniglot": Problem(
        about="Omniglot, 5-way 1-shot; Conv4 of 32 filters",
        recipe="omniglot.yaml",
        changes={
            # With Adam inside all that were tried did worse; MAML has no gradient.
            "meta_learning": {
                "meta_batch_size": 4,
                "inner_optimizer": "sgd",
                "inner_state": "reset",
            },
            # Each of four times as many classes would be seen a few times only.
            "task_distribution": {"task_params": {"rotations": False}},
            "model": {"hidden_dim": 32},
            "evaluation": {"inner_batch_size": None},
        },
        gradients=24_000,
        inner_lrs=(0.1,),
        outer_lrs=(1e-3, 4e-3),
        eval_lrs=(0.003, 0.01, 0.03, 0.1, 0.4, 1.5),
        batch=25,
        shots=5,
        queries=25,
        validation=60,
        test=300,
    ),
    "banking77": _intents(
        "intents, Banking77, 5-way 1-shot; LoRA, MiniLM", "banking77"
    ),
    "clinc150": _intents("intents, CLINC150, 5-way 1-shot; LoRA, MiniLM", "clinc150"),
    "across": _intents(
        "intents across: trained on Banking77, tested on CLINC150; LoRA, MiniLM",
        "clinc150",
        trains_as="banking77",
    ),
    "styles": _people("writing styles, 4 messages; LoRA, SmolLM2-135M", (1, 4)),
    "plays": _people(
        "speeches of plays, 4 of a character; LoRA, SmolLM2-135M",
        (4,),
        task_params={"path": _plays(), "template": "{prompt}"},
    ),
}
