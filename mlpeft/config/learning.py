"""What is learned and from what: the run, the algorithm, the tasks, evaluation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from mlpeft.config.base import BoundedCount, Fraction, Section, Width

Shots = Annotated[list[PositiveInt], Field(min_length=1)]


class RunSection(Section):
    """Which run this is."""

    name: str = Field(
        default="run",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Name of the run's folder under paths.checkpoint_dir; where a "
        "file leaves it out, the file's own name",
    )
    seed: NonNegativeInt = Field(
        default=0, description="Seed of everything that is random in the run"
    )


class MetaLearningSection(Section):
    """The algorithm, its inner and its outer loop."""

    algorithm: Literal["reptile", "fomaml"] = Field(
        default="reptile",
        description="Meta-learning algorithm: reptile, or fomaml (first-order MAML, "
        "which learns from the queries)",
    )
    meta_batch_size: BoundedCount = Field(
        default=4, description="Tasks per meta-iteration"
    )
    num_meta_iterations: PositiveInt = Field(
        default=1000, description="Meta-iterations in all"
    )
    inner_lr: PositiveFloat = Field(
        default=0.01, description="Inner step size (alpha in the Reptile paper)"
    )
    outer_lr: NonNegativeFloat = Field(
        default=0.001, description="Outer step size (epsilon in the Reptile paper)"
    )
    num_inner_steps: NonNegativeInt = Field(
        default=5,
        description="Gradient steps on one task; 0, with fomaml and a prototype head, "
        "trains a prototypical network",
    )
    eval_interval: PositiveInt = Field(
        default=100, description="Meta-iterations between validations"
    )
    save_interval: PositiveInt = Field(
        default=500, description="Meta-iterations between checkpoints"
    )
    inner_optimizer: Literal["sgd", "adam"] = Field(
        default="sgd", description="Optimiser of the inner loop"
    )
    inner_beta1: Fraction = Field(
        default=0.0, description="Adam's beta1 in the inner loop (the paper: 0)"
    )
    inner_beta2: Fraction = Field(
        default=0.999, description="Adam's beta2 in the inner loop"
    )
    inner_state: Literal["reset", "carry"] = Field(
        default="reset",
        description="Inner optimiser's moments: fresh for each task (reset), or part "
        "of the meta-state and averaged over tasks like theta (carry)",
    )
    inner_batch_size: PositiveInt | None = Field(
        default=None,
        description="Support examples per inner step, cyclic without replacement; "
        "null: the whole support set",
    )
    inner_micro_batch: PositiveInt | None = Field(
        default=None,
        description="Examples of an inner step that are computed at a time, their "
        "gradients averaged: the same step from less memory, but for rounding and "
        "dropout's masks; null: all. Not under vmap, nor with batch norm",
    )
    inner_grad_clip: PositiveFloat | None = Field(
        default=None, description="Clip each inner gradient to this global norm"
    )
    outer_optimizer: Literal["sgd", "adam"] = Field(
        default="sgd",
        description="Outer step on theta - mean(adapted); sgd is Reptile's "
        "interpolation",
    )
    outer_schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="Course of outer_lr over the run"
    )
    outer_lr_final: NonNegativeFloat = Field(
        default=0.0, description="outer_lr at the end of a linear or cosine schedule"
    )
    aggregation: Literal["mean", "trimmed_mean", "coordinate_median"] = Field(
        default="mean",
        description="How a meta-batch becomes one: its mean, or, number by number, a "
        "trimmed mean or the median over shards, which a few bad ones cannot move far "
        "(compute.shard_size is then 1 unless set)",
    )
    trim_fraction: float = Field(
        default=0.25,
        gt=0,
        lt=0.5,
        description="Share of the shards that trimmed_mean leaves out at each end",
    )
    update_clip: PositiveFloat | None = Field(
        default=None, description="Clip the outer pseudo-gradient to this global norm"
    )
    patience: PositiveInt | None = Field(
        default=None,
        description="Stop after so many validations without a better one; null: never",
    )

    @field_validator("num_inner_steps")
    @classmethod
    def _steps_to_learn_from(cls, steps: int, info: ValidationInfo) -> int:
        if steps == 0 and info.data.get("algorithm") == "reptile":
            raise ValueError(
                "reptile learns from its inner steps; set 1 or more, or algorithm: "
                "fomaml"
            )
        return steps


class TaskDistributionSection(Section):
    """Which tasks, and how large their episodes are."""

    task_families: list[str] = Field(
        default=["linear_classification"],
        min_length=1,
        description="Kinds of task, in turn over the tasks (mlpeft data list)",
    )
    k_shot: BoundedCount = Field(
        default=5,
        description="Support examples: per class for class-pool families (omniglot, "
        "digits, folder), in all for synthetic ones",
    )
    query_size: BoundedCount = Field(
        default=50, description="Query examples of an episode, all classes together"
    )
    num_train_tasks: BoundedCount | None = Field(
        default=100,
        description="Distinct training tasks; null: a new one for every episode",
    )
    num_val_tasks: BoundedCount | None = Field(
        default=20, description="Distinct validation tasks; null: likewise"
    )
    num_test_tasks: BoundedCount | None = Field(
        default=100, description="Distinct test tasks; null: likewise"
    )
    num_classes: Width = Field(
        default=2, description="Classes of an episode (N-way), or outputs"
    )
    input_dim: PositiveInt | None = Field(
        default=None,
        description="Numbers in one input; null: the family's own (2 for synthetic "
        "classification, 1 for sinusoid, the image's size for images)",
    )
    train_num_classes: Width | None = Field(
        default=None,
        description="num_classes while training; null: num_classes. The model has as "
        "many outputs as the larger of the two",
    )
    train_k_shot: PositiveInt | Shots | None = Field(
        default=None,
        description="k_shot while training; a list: each for as many tasks as the "
        "others; null: k_shot",
    )
    train_query_size: NonNegativeInt | None = Field(
        default=None,
        description="query_size while training; 0 saves the query loss; null: "
        "query_size",
    )
    task_params: dict[str, Any] = Field(
        default_factory=dict, description="Passed to every task of the families"
    )


class EvaluationSection(Section):
    """How validation and test are done."""

    num_val_episodes: BoundedCount = Field(
        default=50, description="Episodes of one validation"
    )
    num_test_episodes: BoundedCount = Field(
        default=600, description="Episodes of mlpeft evaluate and compare"
    )
    num_inner_steps: NonNegativeInt | None = Field(
        default=None,
        description="Inner steps at evaluation, 0: without adapting; null: as in "
        "training, and 10 at least",
    )
    inner_batch_size: PositiveInt | None = Field(
        default=None,
        description="Inner batch at evaluation; null: as in training",
    )
    steps: list[NonNegativeInt] = Field(
        default=[0, 1, 5, 10],
        description="Inner steps after which queries are scored; the last inner step "
        "is always added, and steps after it are left out",
    )
