"""The run, the algorithm, the tasks and the evaluation."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from mlpeft.config import algorithms
from mlpeft.config.algorithms import AlgorithmName  # noqa: TC001 - pydantic reads it
from mlpeft.config.base import BoundedCount, Fraction, Section, Width

Shots = Annotated[list[PositiveInt], Field(min_length=1)]
HeadName: TypeAlias = Literal[
    "inner_steps", "prototype", "ridge", "logistic", "mean", "auto"
]
"""What classifies at evaluation: the adapted model, or a head of `mlpeft.heads`."""
INNER_STEPS: Final = "inner_steps"


class RunSection(Section):
    """The run's name and seed."""

    name: str = Field(
        default="run",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Name of the run's folder under paths.checkpoint_dir; if a file "
        "omits it, the file's name",
    )
    seed: NonNegativeInt = Field(
        default=0, description="Seed of all randomness in the run"
    )
    init: str | None = Field(
        default=None,
        description="Run to start from, whatever algorithm made it: its folder, one of "
        "its steps, or an .npz file; null: new parameters",
    )


class MetaLearningSection(Section):
    """The algorithm with its inner and outer loop."""

    algorithm: AlgorithmName = Field(
        default="reptile",
        description="Meta-learning algorithm: reptile, reptile_serial; of the queries' "
        "gradient fomaml, maml, anil, boil, meta_sgd, maml++, meta_curvature, cavia, "
        "imaml; without inner steps protonet, matching, relation; or joint (no "
        "meta-learning: one model of all training tasks, the baseline of the others)",
    )
    meta_batch_size: BoundedCount = Field(
        default=4,
        description="Tasks per meta-iteration; in a cluster, at least one for each "
        "worker (see compute.shard_size)",
    )
    num_meta_iterations: PositiveInt = Field(
        default=1000, description="Meta-iterations of the run"
    )
    inner_lr: PositiveFloat = Field(
        default=0.01, description="Inner step size (alpha in the Reptile paper)"
    )
    outer_lr: NonNegativeFloat = Field(
        default=0.001,
        description="Outer step size: with reptile theta's share of the way to the "
        "adapted parameters (epsilon in the paper; 0.1 to 1 is usual), with fomaml the "
        "factor of a gradient (with sgd start at a tenth of reptile's)",
    )
    num_inner_steps: NonNegativeInt = Field(
        default=5,
        description="Gradient steps on one task (joint: only at evaluation); 0, with "
        "fomaml and a prototype head, trains a prototypical network",
    )
    first_order: bool = Field(
        default=False,
        description="Gradients of inner steps count as constants: maml and its kin "
        "without second derivatives",
    )
    head_leaves: list[str] | None = Field(
        default=None,
        min_length=1,
        description="What the names of the head's leaves begin with, for anil and "
        "boil; null: the model's last layer",
    )
    rates: Literal["element", "leaf"] = Field(
        default="element",
        description="Step sizes that meta_sgd learns: one for each number, or for each "
        "leaf",
    )
    multi_step_iterations: NonNegativeInt = Field(
        default=1000,
        description="Meta-iterations over which maml++ moves from the loss after every "
        "inner step to that after the last alone; 0: the last from the start",
    )
    per_step_norm: bool = Field(
        default=True,
        description="Scale and shift of batch norms have learned values of their own "
        "in each inner step of maml++",
    )
    context_size: PositiveInt = Field(
        default=5, description="Numbers of a task's context in cavia"
    )
    context_leaves: list[str] | None = Field(
        default=None,
        min_length=1,
        description="What the names of the vectors begin with that cavia's context "
        "shifts; null: those of the first layer, of convolutions the last",
    )
    proximal: PositiveFloat = Field(
        default=2.0,
        description="Strength with which imaml draws a task back to theta (lambda in "
        "the paper)",
    )
    cg_steps: PositiveInt = Field(
        default=5, description="Steps of conjugate gradients in imaml"
    )
    relation_dim: PositiveInt = Field(
        default=64, description="Units of the hidden layer that relation compares by"
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
        description="Moments of the inner optimiser: reset for each task (reset), or "
        "part of the meta-state and averaged over tasks like theta (carry)",
    )
    batch_norm: Literal["batch", "running", "per-step"] = Field(
        default="batch",
        description="What batch norms of an adapted model normalise queries by at "
        "evaluation: the batch at hand (batch), averages over training (running), or "
        "averages of each inner step by itself, as in MAML++ (per-step). Training and "
        "inner steps normalise by the batch, and training keeps the averages as part "
        "of the meta-state",
    )
    inner_batch_size: PositiveInt | None = Field(
        default=None,
        description="Support examples per inner step, cyclic without replacement; "
        "null: the whole support set. joint: examples of a task per meta-iteration; "
        "null: its support and query sets",
    )
    inner_micro_batch: PositiveInt | None = Field(
        default=None,
        description="Examples of an inner step to compute at a time; gradients are "
        "averaged. Saves memory; the step is the same except for rounding and dropout "
        "masks. null: all. Not with vmap or batch norm",
    )
    inner_grad_clip: PositiveFloat | None = Field(
        default=None, description="Clip each inner gradient to this global norm"
    )
    outer_optimizer: Literal["sgd", "nesterov", "adam"] = Field(
        default="sgd",
        description="Optimiser of the outer step, on theta - mean(adapted); sgd is "
        "Reptile's interpolation, nesterov DiLoCo's outer step (start at a tenth of "
        "sgd's outer_lr)",
    )
    outer_momentum: Fraction = Field(
        default=0.9, description="Momentum of nesterov (DiLoCo: 0.9); 0: sgd"
    )
    outer_schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="Schedule of outer_lr over the run"
    )
    outer_lr_final: NonNegativeFloat = Field(
        default=0.0, description="outer_lr at the end of a linear or cosine schedule"
    )
    aggregation: Literal["mean", "trimmed_mean", "coordinate_median"] = Field(
        default="mean",
        description="Aggregation of a meta-batch: the mean, or elementwise a trimmed "
        "mean or the median over shards, which a few bad shards cannot move far "
        "(compute.shard_size is then 1 unless set)",
    )
    trim_fraction: float = Field(
        default=0.25,
        gt=0,
        lt=0.5,
        description="Share of the shards that trimmed_mean drops at each end",
    )
    update_clip: PositiveFloat | None = Field(
        default=None, description="Clip the outer pseudo-gradient to this global norm"
    )
    patience: PositiveInt | None = Field(
        default=None,
        description="Stop after this many validations without improvement; null: never",
    )

    @model_validator(mode="after")
    def _check_algorithm(self) -> Self:
        problem = algorithms.problem(self)
        if problem is not None:
            raise ValueError(problem)
        return self


class TaskDistributionSection(Section):
    """The tasks and the size of their episodes."""

    task_families: list[str] = Field(
        default=["linear_classification"],
        min_length=1,
        description="Task families, which tasks use in turn (mlpeft data list)",
    )
    k_shot: BoundedCount = Field(
        default=5,
        description="Support examples: per class for class-pool families (omniglot, "
        "digits, folder, intents), in total for the others",
    )
    query_size: BoundedCount = Field(
        default=50, description="Query examples of an episode, over all classes"
    )
    num_train_tasks: BoundedCount | None = Field(
        default=100,
        description="Distinct training tasks; null: a new one for every episode",
    )
    num_val_tasks: BoundedCount | None = Field(
        default=20,
        description="Distinct validation tasks; null: a new one for every episode",
    )
    num_test_tasks: BoundedCount | None = Field(
        default=100,
        description="Distinct test tasks; null: a new one for every episode",
    )
    num_classes: Width = Field(
        default=2, description="Classes of an episode (N-way), or outputs"
    )
    input_dim: PositiveInt | None = Field(
        default=None,
        description="Numbers in one input; null: the family's default (2 for synthetic "
        "classification, 1 for sinusoid, the image's size for images)",
    )
    train_num_classes: Width | None = Field(
        default=None,
        description="num_classes while training; null: num_classes. The larger of the "
        "two is the number of the model's outputs",
    )
    train_k_shot: PositiveInt | Shots | None = Field(
        default=None,
        description="k_shot while training; tasks use the values of a list in equal "
        "shares; null: k_shot",
    )
    train_query_size: NonNegativeInt | None = Field(
        default=None,
        description="query_size while training; 0 skips the query loss; null: "
        "query_size",
    )
    task_params: dict[str, Any] = Field(
        default_factory=dict, description="Parameters of the families' tasks"
    )


class EvaluationSection(Section):
    """Validation and test."""

    num_val_episodes: BoundedCount = Field(
        default=50, description="Episodes of one validation"
    )
    num_test_episodes: BoundedCount = Field(
        default=600, description="Episodes of mlpeft evaluate and compare"
    )
    test_seed: NonNegativeInt | None = Field(
        default=None,
        description="Seed of the test episodes, so that runs of other seeds are scored "
        "on the same ones; null: run.seed",
    )
    head: HeadName = Field(
        default=INNER_STEPS,
        description="What classifies at evaluation: inner_steps, the adapted model; "
        "or, with theta as it is, a head fitted to the support set's embeddings: "
        "prototype, ridge, logistic, mean (of the last two), or auto, whichever of "
        "these does best on support examples that are held out",
    )
    num_inner_steps: NonNegativeInt | None = Field(
        default=None,
        description="Inner steps at evaluation; 0: no adaptation; null: as in "
        "training, but at least 10",
    )
    inner_batch_size: PositiveInt | None = Field(
        default=None,
        description="Inner batch at evaluation; null: as in training",
    )
    steps: list[NonNegativeInt] = Field(
        default=[0, 1, 5, 10],
        description="Inner steps after which queries are scored; the last inner step "
        "is always included, and later ones are dropped",
    )
