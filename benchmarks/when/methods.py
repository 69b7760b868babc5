"""The methods: what each is trained with, at equal compute."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from mlpeft.meta.algorithms import ALGORITHMS

if TYPE_CHECKING:
    from benchmarks.when.problems import Problem, Tree

SGD = "sgd"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a training is free to choose, on validation tasks.

    Attributes:
        outer: Step size of an outer Adam, or "sgd": Reptile's interpolation.
        inner_lr: Inner step size of training.
        inner_steps: Inner steps of training.
    """

    outer: float | str
    inner_lr: float
    inner_steps: int

    def __str__(self) -> str:
        outer = self.outer if isinstance(self.outer, str) else f"{self.outer:g}"
        return f"{outer}-{self.inner_lr:g}-{self.inner_steps}"


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the table.

    Attributes:
        name: For files.
        about: For the table.
        algorithm: What is trained; None: nothing.
        joint_first: Whether the first half of the gradients trains jointly.
        ridge: Whether the joint start, or the inputs where nothing is trained, get a
            head in closed form and take no step.
    """

    name: str
    about: str
    algorithm: Any = None
    joint_first: bool = False
    ridge: bool = False

    @property
    def own_rates(self) -> bool:
        """Whether it learns the step sizes of adaptation."""
        return self.algorithm == "meta_sgd"

    @property
    def metric(self) -> bool:
        """Whether it compares with the support set, and takes no inner step."""
        return (
            self.algorithm is not None and ALGORITHMS[self.algorithm].adaptation.metric
        )

    @property
    def algorithm_keys(self) -> dict[str, Any]:
        """The algorithm, as a configuration names it."""
        rates = {"rates": "leaf"} if self.own_rates else {}
        return {"algorithm": self.algorithm, **rates}

    def suits(self, problem: Problem) -> bool:
        """Whether there is such a row of a problem."""
        if self.ridge:
            inputs = self.algorithm is None
            return problem.classes and not (inputs and problem.tokens)
        if self.metric:
            return problem.classes and not problem.tokens
        return problem.second_order or self.algorithm not in ("maml", "meta_sgd")

    def choices(self, problem: Problem) -> list[Choice]:
        """What to choose from."""
        if self.algorithm == "joint":
            return [Choice(lr, problem.inner_lrs[0], 1) for lr in problem.outer_lrs]
        if self.metric:
            return [Choice(lr, problem.inner_lrs[0], 0) for lr in problem.outer_lrs]
        outers: tuple[float | str, ...] = problem.outer_lrs
        if self.algorithm == "reptile":
            outers = problem.reptile_outers or (SGD, problem.outer_lrs[0])
        steps = problem.inner_steps
        if self.algorithm == "reptile":
            steps = steps[-1:]  # with one it is joint training
        return [Choice(*each) for each in product(outers, problem.inner_lrs, steps)]

    def changes(self, problem: Problem, choice: Choice, gradients: int) -> Tree:
        """The configuration of a training that computes so many gradients."""
        config: Tree = {
            "meta_learning": {
                **self.algorithm_keys,
                "inner_lr": choice.inner_lr,
                "num_inner_steps": choice.inner_steps,
                "inner_batch_size": problem.batch,
                "outer_optimizer": "sgd" if choice.outer == SGD else "adam",
                "outer_lr": 1.0 if choice.outer == SGD else choice.outer,
                "outer_schedule": "cosine",
                "outer_lr_final": 0.0,
            },
            "task_distribution": {
                "train_k_shot": problem.shots,
                "train_query_size": problem.queries,
            },
        }
        each = gradients_of_a_task(self.algorithm, choice.inner_steps)
        config["meta_learning"]["num_meta_iterations"] = gradients // each
        return config


def gradients_of_a_task(algorithm: Any, inner_steps: int) -> int:
    """Gradients of `Problem.batch` examples that an algorithm computes for a task.

    That of a metric learner sees support and queries at once.
    """
    found = ALGORITHMS[algorithm]
    return found.gradients(inner_steps) + found.adaptation.metric


JOINT = Method("joint", "joint", "joint")
_META = {"reptile": "Reptile", "fomaml": "FOMAML", "maml": "MAML"}
PROTONET = Method("protonet", "prototypical networks", "protonet")
PER_LEAF = Method("meta_sgd", "MAML, learned step sizes", "meta_sgd")
METHODS = {
    method.name: method
    for method in (
        Method("random", "random"),
        Method("inputs-ridge", "none; ridge head on the inputs", ridge=True),
        JOINT,
        Method("joint-ridge", "joint, ridge head", "joint", ridge=True),
        *(
            Method(
                f"{start}{name}",
                f"{about}{', from joint' * bool(start)}",
                name,
                bool(start),
            )
            for start in ("", "joint-")
            for name, about in _META.items()
        ),
        PER_LEAF,
        PROTONET,
    )
}
"""By name."""
