"""The configuration of a run: one section a concern, every key checked.

One rule of precedence: `--set a.b=c` over the file over the defaults below. A field's
description is its documentation; `mlpeft config` prints them all. The Reptile paper
(arXiv 1803.02999) calls `inner_lr` alpha and `outer_lr` epsilon, the meta step size.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from mlpeft.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Held = Annotated[int, Field(ge=1, le=1_000_000)]
"""How many of something are held in memory, one by one."""
Width = Annotated[int, Field(ge=1, le=65_536)]
"""Side of a matrix: its square still fits into a large machine."""


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )


SectionT = TypeVar("SectionT", bound=Section)


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

    algorithm: Literal["reptile"] = Field(
        default="reptile", description="Meta-learning algorithm"
    )
    meta_batch_size: Held = Field(default=4, description="Tasks per meta-iteration")
    num_meta_iterations: PositiveInt = Field(
        default=1000, description="Meta-iterations in all"
    )
    inner_lr: PositiveFloat = Field(
        default=0.01, description="Inner step size (alpha in the Reptile paper)"
    )
    outer_lr: NonNegativeFloat = Field(
        default=0.001, description="Outer step size (epsilon in the Reptile paper)"
    )
    num_inner_steps: PositiveInt = Field(
        default=5, description="Gradient steps on one task"
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
    update_clip: PositiveFloat | None = Field(
        default=None, description="Clip the outer pseudo-gradient to this global norm"
    )
    patience: PositiveInt | None = Field(
        default=None,
        description="Stop after so many validations without a better one; null: never",
    )


class TaskDistributionSection(Section):
    """Which tasks, and how large their episodes are."""

    task_families: list[str] = Field(
        default=["linear_classification"],
        min_length=1,
        description="Kinds of task, in turn over the tasks (mlpeft data list)",
    )
    k_shot: Held = Field(
        default=5,
        description="Support examples: per class for class-pool families (omniglot, "
        "digits, folder), in all for synthetic ones",
    )
    query_size: Held = Field(
        default=50, description="Query examples of an episode, all classes together"
    )
    num_train_tasks: Held | None = Field(
        default=100,
        description="Distinct training tasks; null: a new one for every episode",
    )
    num_val_tasks: Held | None = Field(
        default=20, description="Distinct validation tasks; null: likewise"
    )
    num_test_tasks: Held | None = Field(
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
    train_k_shot: PositiveInt | None = Field(
        default=None, description="k_shot while training; null: k_shot"
    )
    train_query_size: NonNegativeInt | None = Field(
        default=None,
        description="query_size while training; 0 saves the query loss; null: "
        "query_size",
    )
    task_params: dict[str, Any] = Field(
        default_factory=dict, description="Passed to every task of the families"
    )


class ModelSection(Section):
    """The model that is meta-learned."""

    backbone: str = Field(
        default="linear",
        description="linear (num_layers hidden layers of hidden_dim, ReLU), tanh (the "
        "same with tanh), logistic (no hidden layer), conv4, encoder (a pretrained "
        "sentence encoder, see weights), or module:callable of your own",
    )
    hidden_dim: Width = Field(
        default=128, description="Units of a hidden layer, filters of conv4"
    )
    num_layers: PositiveInt = Field(default=2, description="Hidden layers")
    weights: str | None = Field(
        default=None,
        description="Pretrained model of backbone encoder: its Hugging Face folder, "
        "or package:NAME/FOLDER inside an installed package",
    )
    head: Literal["prototype", "zero", "learned"] = Field(
        default="prototype",
        description="Head of backbone encoder: made anew in each episode from its "
        "class means (prototype) or from zeros (zero), or a part of theta (learned)",
    )
    logit_scale: PositiveFloat = Field(
        default=10.0, description="Factor of the head's logits in backbone encoder"
    )
    transductive: bool = Field(
        default=True,
        description="Queries of an episode share one batch-norm batch at evaluation; "
        "false: each is classified alone beside the support set",
    )


class PeftSection(Section):
    """Which few parameters of the model adapt; the rest is frozen."""

    method: Literal["none", "lora", "bitfit", "head"] = Field(
        default="none",
        description="none (all parameters adapt), lora, bitfit (biases), or head "
        "(train_also alone)",
    )
    rank: Width = Field(default=8, description="Rank of lora")
    scale: PositiveFloat = Field(
        default=2.0,
        description="Factor of lora's change, as in mlx-lm (Hugging Face PEFT: "
        "lora_alpha / r)",
    )
    keys: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Linear layers to change, by name or pattern (query, "
        "layers.0.*); null: the method's own (lora: query and value projections; "
        "bitfit: all)",
    )
    num_layers: PositiveInt | None = Field(
        default=None, description="Only so many of the last layers; null: all"
    )
    train_also: list[str] = Field(
        default=["head"],
        description="Modules that are not frozen, by name or pattern",
    )


class EvaluationSection(Section):
    """How validation and test are done."""

    num_val_episodes: Held = Field(default=50, description="Episodes of one validation")
    num_test_episodes: Held = Field(
        default=600, description="Episodes of mlpeft evaluate and compare"
    )
    num_inner_steps: PositiveInt | None = Field(
        default=None,
        description="Inner steps at evaluation; null: as in training, and 10 at least",
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


class ComputeSection(Section):
    """How the numbers are computed. Part of a run's identity: it decides bits."""

    strategy: Literal["auto", "loop", "compiled", "vmap"] = Field(
        default="auto",
        description="Inner loops as Python, compiled, or compiled and vectorised over "
        "tasks; auto: vmap for plain MLPs, compiled for the rest",
    )
    threads: PositiveInt = Field(
        default=1, description="BLAS threads of a process (Linux)"
    )
    shard_size: PositiveInt | None = Field(
        default=None,
        description="Tasks computed as one unit; null: the meta-batch under vmap, "
        "else 1",
    )


class LoggingSection(Section):
    """What is written about a run, and where."""

    log_dir: Path = Field(
        default=Path("logs"), description="Folder of log files, one a run"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severe level that is logged"
    )
    wandb_enabled: bool = Field(
        default=False, description="Report to Weights & Biases (extra: wandb)"
    )
    tensorboard_enabled: bool = Field(
        default=False, description="Write TensorBoard events (extra: tensorboard)"
    )


class PathsSection(Section):
    """Where things are kept."""

    checkpoint_dir: Path = Field(
        default=Path("checkpoints"), description="Run folders are made in here"
    )
    data_dir: Path = Field(
        default=Path("data"),
        description="Data sets; the variable MLPEFT_DATA_DIR comes before it",
    )
    keep_last: PositiveInt = Field(
        default=3, description="Checkpoints to keep, beside the best one"
    )


class ClusterSection(Section):
    """The coordinator and its workers. Decides no bits."""

    listen: str = Field(
        default="127.0.0.1:50051",
        pattern=r"^.+:\d+$",
        description="host:port of the coordinator",
    )
    join_port: int = Field(
        default=50052,
        ge=0,
        lt=1 << 16,
        description="Port where workers join with a token, once, when there is TLS",
    )
    slots: PositiveInt = Field(default=1, description="Shards a worker takes at once")
    min_workers: PositiveInt = Field(
        default=1, description="Workers to wait for before the first round"
    )
    heartbeat_s: PositiveFloat = Field(
        default=1.0, description="Seconds between a worker's heartbeats"
    )
    lost_after_s: PositiveFloat = Field(
        default=4.0, description="Seconds without a heartbeat until a worker is lost"
    )
    lease_s: PositiveFloat = Field(
        default=600.0, description="Longest time that a shard may take, in seconds"
    )
    max_attempts: PositiveInt = Field(
        default=4, description="Failures of one shard after which the run stops"
    )


class RunConfig(Section):
    """All of a run's configuration."""

    run: RunSection = RunSection()
    meta_learning: MetaLearningSection = MetaLearningSection()
    task_distribution: TaskDistributionSection = TaskDistributionSection()
    model: ModelSection = ModelSection()
    peft: PeftSection = PeftSection()
    evaluation: EvaluationSection = EvaluationSection()
    compute: ComputeSection = ComputeSection()
    logging: LoggingSection = LoggingSection()
    paths: PathsSection = PathsSection()
    cluster: ClusterSection = ClusterSection()

    @model_validator(mode="after")
    def _keys_that_belong_together(self) -> Self:
        meta = self.meta_learning
        shard = self.compute.shard_size
        if shard is not None and shard > meta.meta_batch_size:
            raise ValueError(
                f"compute.shard_size: {shard} is more than "
                f"meta_learning.meta_batch_size {meta.meta_batch_size}; lower it"
            )
        if self.cluster.lost_after_s <= self.cluster.heartbeat_s:
            raise ValueError(
                f"cluster.lost_after_s: {self.cluster.lost_after_s} must be more than "
                f"cluster.heartbeat_s {self.cluster.heartbeat_s}"
            )
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
        """Read a YAML file and apply `a.b=c` overrides.

        A run that does not name itself is named after the file.

        Raises:
            FileNotFoundError: Naming the absolute path that was looked at.
            ConfigError: Listing every problem of file and overrides at once.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"no configuration file at {path.absolute()}; give the path of a YAML "
                "file, such as configs/default.yaml"
            )
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError("not a text file (UTF-8)", str(path)) from error
        tree = parse_yaml(text, str(path))
        if tree.get("run") is None:
            tree["run"] = {}
        run = tree["run"]
        if isinstance(run, dict):
            run.setdefault("name", path.stem)
        return cls.from_dict(tree, overrides, str(path))

    @classmethod
    def from_dict(
        cls, tree: Mapping[str, Any], overrides: Iterable[str] = (), source: str = ""
    ) -> RunConfig:
        """Check a nested dict and apply `a.b=c` overrides.

        Raises:
            ConfigError: Listing every problem at once.
        """
        # A section whose keys are all commented out is an empty one.
        merged = {
            name: dict(section) if isinstance(section, dict) else section
            for name, section in tree.items()
            if section is not None
        }
        problems = [
            problem
            for text in overrides
            if (problem := _override(merged, text)) is not None
        ]
        try:
            config = cls.model_validate(merged)
        except ValidationError as error:
            problems += [_problem(detail) for detail in error.errors()]
        if problems:
            raise ConfigError(problems, source)
        return config

    def with_changes(self, **sections: Mapping[str, Any]) -> RunConfig:
        """The same configuration with some keys of some sections changed.

        Raises:
            ConfigError: Listing every problem at once.
        """
        tree = self.to_dict()
        for section, changes in sections.items():
            tree[section] = tree[section] | dict(changes)
        return RunConfig.from_dict(tree)

    def to_dict(self) -> dict[str, Any]:
        """A nested dict of plain values, as in a YAML file."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The whole configuration as YAML; `from_dict(parse_yaml(...))` reads it."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)


class _Loader(yaml.SafeLoader):
    """safe_load, but for 1e-3 being a number (YAML 1.2), not a string (YAML 1.1)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)$"
        r"|^[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*)$"
        r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def parse_yaml(text: str, source: str = "") -> dict[str, Any]:
    """A YAML mapping as a dict; an empty document is an empty one.

    Raises:
        ConfigError: If it is not YAML, or not a mapping.
    """
    try:
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError([f"not valid YAML: {error}"], source) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        kind = type(tree).__name__
        raise ConfigError(
            [f"expected sections such as 'meta_learning:', got a {kind}"], source
        )
    return tree


def checked(section: type[SectionT], **keys: Any) -> SectionT:
    """One section from its keys, for code that has no whole configuration.

    Raises:
        ConfigError: Listing every problem at once.
    """
    try:
        return section(**keys)
    except ValidationError as error:
        raise ConfigError(_problem(detail) for detail in error.errors()) from error


def _override(tree: dict[str, Any], text: str) -> str | None:
    """Apply one `section.key=value`; the problem, if it is not of that form."""
    path, equals, value = text.partition("=")
    section, dot, key = path.strip().partition(".")
    if not (equals and dot and section and key):
        return f"--set {text}: expected section.key=value"
    branch = tree.setdefault(section, {})
    if not isinstance(branch, dict):
        return f"--set {text}: {section} is not a section"
    *parents, leaf = key.split(".")
    for parent in parents:
        branch = branch.setdefault(parent, {})
        if not isinstance(branch, dict):
            return f"--set {text}: {parent} has no keys"
    try:
        branch[leaf] = yaml.load(value, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError:
        return f"--set {text}: the value is not valid YAML"
    return None


def _problem(detail: Any) -> str:
    """One line for one pydantic error: the key's path, what was given, what to do."""
    path = ".".join(str(part) for part in detail["loc"])
    kind, given = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        valid = _keys_at(detail["loc"][:-1])
        return f"{path}: unknown key; {nearest(str(detail['loc'][-1]), valid)}"
    message = detail["msg"].removeprefix("Value error, ")
    if not path:
        return str(message)
    message = message[0].lower() + message[1:]
    hint = ""
    if kind == "literal_error" and isinstance(given, str):
        valid = re.findall(r"'([^']+)'", detail["ctx"]["expected"])
        hint = f"; {nearest(given, valid)}"
    elif kind == "list_type" and isinstance(given, str):
        hint = f"; write [{given}]"
    elif kind == "string_type" and given is not None:
        hint = "; put quotes around it to make it a text"
    elif kind == "path_type":
        message = "expected a path"
    return f"{path}: {message}, got {given!r}{hint}"


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    """The valid keys of the section at a location, for "did you mean"."""
    model: type[BaseModel] = RunConfig
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            return []
        if not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)
