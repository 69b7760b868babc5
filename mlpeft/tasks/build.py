"""Build the tasks of a run: train, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice, product
from typing import TYPE_CHECKING

from mlpeft import seeds
from mlpeft.errors import ConfigError
from mlpeft.file_caches import forget_changed_files
from mlpeft.seeds import Purpose
from mlpeft.tasks.distribution import TaskDistribution
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families import admit, get_family
from mlpeft.tasks.fresh import FreshTasks

if TYPE_CHECKING:
    from collections.abc import Container

    from mlpeft.config import RunConfig, TaskDistributionSection
    from mlpeft.tasks.episode import Family

Tasks = TaskDistribution | FreshTasks
"""Both have sample_task, config, episode, sample_episode, configs."""

_TOKENISED = {"intents", "completions"}
"""Families whose tasks need a tokenizer."""
SPLITS = {"train": Purpose.TRAIN, "val": Purpose.VALIDATE, "test": Purpose.TEST}


@dataclass(frozen=True, slots=True)
class TaskSplits:
    """The tasks of a run, and the shapes that a model needs.

    Attributes:
        train: Tasks to meta-learn from.
        val: Tasks that select the best checkpoint.
        test: Tasks to report on.
        input_shape: Shape of one input.
        num_outputs: Classes of an episode, or outputs of a regression.
        regression: True: float targets and mean squared error.
    """

    train: Tasks
    val: Tasks
    test: Tasks
    input_shape: tuple[int, ...]
    num_outputs: int
    regression: bool

    def digests(self) -> dict[str, str]:
        """SHA-256 of each data set of the tasks, by its name."""
        digests: dict[str, str] = {}
        for tasks in (self.train, self.val, self.test):
            for config in tasks.configs:
                family = get_family(config.task_family, tasks.data_dir)
                if family.pooled:
                    digests |= family.digests(config)
        return digests


def build_tasks(
    config: RunConfig, allow_modules: Container[str] | None = None
) -> TaskSplits:
    """Build the tasks of a configuration.

    The tasks of a split use the families in turn. Task ids consist of split, family and
    number, so tasks do not depend on the run's seed. Class-pool families have disjoint
    classes or examples in each split.

    Args:
        config: The configuration.
        allow_modules: The user's modules that the configuration may import (family
            `custom`); None: any, for a configuration of this machine.

    Raises:
        ConfigError: Listing every problem.
        DataError: If a data set is missing or damaged, with what to do.
    """
    forget_changed_files()
    config = _with_tokenizer(config)
    section = config.task_distribution
    data_dir = str(config.paths.data_dir)
    admit(section.task_families, section.task_params, allow_modules)
    families = _get_families(section, data_dir)
    shapes = _check_families(section, families)
    return TaskSplits(
        train=_build_split("train", section.num_train_tasks, families, config),
        val=_build_split("val", section.num_val_tasks, families, config),
        test=_build_split("test", section.num_test_tasks, families, config),
        input_shape=shapes[0],
        num_outputs=max(
            section.num_classes, section.train_num_classes or section.num_classes
        ),
        regression=families[0].regression,
    )


def _with_tokenizer(config: RunConfig) -> RunConfig:
    """The pretrained model's tokenizer is the default for tasks of text."""
    section = config.task_distribution
    if not _TOKENISED & set(section.task_families) or config.model.weights is None:
        return config
    params = {"tokenizer": config.model.weights} | section.task_params
    section = section.model_copy(update={"task_params": params})
    return config.model_copy(update={"task_distribution": section})


def _get_families(section: TaskDistributionSection, data_dir: str) -> list[Family]:
    families: list[Family] = []
    problems: list[str] = []
    for name in section.task_families:
        try:
            families.append(get_family(name, data_dir))
        except ConfigError as error:
            problems += [
                problem.replace("task_family", "task_distribution.task_families")
                for problem in error.problems
            ]
    if problems:
        raise ConfigError(problems)
    return families


def _check_families(
    section: TaskDistributionSection, families: list[Family]
) -> list[tuple[int, ...]]:
    """Check that one model can learn all families; return their input shapes."""
    problems: dict[str, list[str]] = {}
    shapes = []
    if "split" in section.task_params:
        problems["task_params.split: a run uses all splits; remove it"] = []
    for family in families:
        for split, k_shot in _splits_and_shots(section):
            task = _build_task(split, family, section, k_shot)
            try:
                family.check(task)
            except ConfigError as error:
                for problem in error.problems:
                    problems.setdefault(problem, []).append(f"{family.name}, {split}")
        shapes.append(family.input_shape(task))
    kinds = [
        (*shape, family.regression)
        for shape, family in zip(shapes, families, strict=True)
    ]
    if len(set(kinds)) > 1:
        described = ", ".join(
            f"{family.name} {list(shape)}{' regression' if family.regression else ''}"
            for family, shape in zip(families, shapes, strict=True)
        )
        problem = (
            "task_families: families of one run share a model, but their inputs or "
            f"targets differ ({described}); set input_dim, or choose other families"
        )
        problems[problem] = []
    if problems:
        raise ConfigError(
            f"task_distribution.{problem}" + (f" ({'; '.join(tasks)})" if tasks else "")
            for problem, tasks in problems.items()
        )
    return shapes


def _build_split(
    split: str, count: int | None, families: list[Family], config: RunConfig
) -> Tasks:
    section, data_dir = config.task_distribution, config.paths.data_dir
    seed = seeds.seed_word(config.run.seed, SPLITS[split])
    shots = _shots(split, section)
    if count is None:
        suffixes = {k: f"/{k}-shot" if len(shots) > 1 else "" for k in shots}
        templates = [
            _build_task(split, family, section, k, suffixes[k])
            for family, k in product(families, shots)
        ]
        return FreshTasks(templates, seed, data_dir)
    pairs = islice(cycle(product(shots, families)), count)
    tasks = [
        _build_task(split, family, section, k, f"/{number}")
        for number, (k, family) in enumerate(pairs)
    ]
    return TaskDistribution(tasks, seed, data_dir)


def _shots(split: str, section: TaskDistributionSection) -> list[int]:
    """The values of k_shot in the tasks of a split."""
    shots = section.train_k_shot if split == "train" else None
    return shots if isinstance(shots, list) else [shots or section.k_shot]


def _splits_and_shots(section: TaskDistributionSection) -> list[tuple[str, int]]:
    return [(split, k) for split in SPLITS for k in _shots(split, section)]


def k_is_per_class(section: TaskDistributionSection) -> bool:
    """Whether `k_shot` counts examples of each class, not of the whole task."""
    return all(get_family(name).per_class for name in section.task_families)


def _build_task(
    split: str,
    family: Family,
    section: TaskDistributionSection,
    k_shot: int,
    suffix: str = "",
) -> TaskConfig:
    query_size, ways = section.query_size, section.num_classes
    if split == "train":
        ways = section.train_num_classes or ways
        if section.train_query_size is not None:
            query_size = section.train_query_size
    params = dict(section.task_params)
    if family.pooled:
        params["split"] = split
    return TaskConfig(
        task_id=f"{split}/{family.name}{suffix}",
        task_family=family.name,
        num_classes=ways,
        input_dim=section.input_dim or family.input_dim(params),
        support_size=k_shot * ways if family.per_class else k_shot,
        query_size=query_size,
        task_params=params,
    )
