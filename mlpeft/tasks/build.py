"""From a configuration to the tasks of a run: train, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice, product
from typing import TYPE_CHECKING

from mlpeft import seeds
from mlpeft.errors import ConfigError
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
"""Both have choose, config, episode, sample_episode, configs."""

_OF_TEXT = {"intents", "completions"}
"""Families whose tasks need a tokenizer."""
SPLITS = {"train": Purpose.TRAIN, "val": Purpose.VALIDATE, "test": Purpose.TEST}


@dataclass(frozen=True, slots=True)
class TaskSplits:
    """The tasks of a run, and what a model needs to know of them.

    Attributes:
        train: Tasks to meta-learn from.
        val: Tasks to choose the best checkpoint by.
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
        """SHA-256 of each data set that the tasks draw from, by its name."""
        found: dict[str, str] = {}
        for tasks in (self.train, self.val, self.test):
            for config in tasks.configs:
                family = get_family(config.task_family, tasks.data_dir)
                if family.pooled:
                    found |= family.digests(config)
        return found


def build_tasks(
    config: RunConfig, allow_modules: Container[str] | None = None
) -> TaskSplits:
    """The tasks that a configuration asks for.

    Families take turns over the tasks of a split. Ids name split, family and number, so
    the tasks do not hang on the run's seed, and class-pool families draw each split
    from classes or examples of its own.

    Args:
        config: The configuration.
        allow_modules: Modules of the user's own that may be imported because the
            configuration names them (family `custom`); None: any, as it is this
            machine's own.

    Raises:
        ConfigError: Listing every problem.
        DataError: If a data set is missing or damaged, saying what to do.
    """
    config = _with_tokenizer(config)
    section = config.task_distribution
    data_dir = str(config.paths.data_dir)
    admit(section.task_families, section.task_params, allow_modules)
    families = _families(section, data_dir)
    shapes = _check(section, families)
    return TaskSplits(
        train=_tasks("train", section.num_train_tasks, families, config),
        val=_tasks("val", section.num_val_tasks, families, config),
        test=_tasks("test", section.num_test_tasks, families, config),
        input_shape=shapes[0],
        num_outputs=max(
            section.num_classes, section.train_num_classes or section.num_classes
        ),
        regression=families[0].regression,
    )


def _with_tokenizer(config: RunConfig) -> RunConfig:
    """Tasks of text take the tokenizer of the pretrained model if they name none."""
    section = config.task_distribution
    if not _OF_TEXT & set(section.task_families) or config.model.weights is None:
        return config
    params = {"tokenizer": config.model.weights} | section.task_params
    section = section.model_copy(update={"task_params": params})
    return config.model_copy(update={"task_distribution": section})


def _families(section: TaskDistributionSection, data_dir: str) -> list[Family]:
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


def _check(
    section: TaskDistributionSection, families: list[Family]
) -> list[tuple[int, ...]]:
    """The families' input shapes, if a run of one model can be made of all of them."""
    found: dict[str, list[str]] = {}
    shapes = []
    if "split" in section.task_params:
        found["task_params.split: each split is drawn from its own; remove it"] = []
    for family in families:
        for split, k_shot in _splits_and_shots(section):
            task = _task(split, family, section, k_shot)
            try:
                family.check(task)
            except ConfigError as error:
                for problem in error.problems:
                    found.setdefault(problem, []).append(f"{family.name}, {split}")
        shapes.append(family.input_shape(task))
    kinds = [
        (*shape, family.regression)
        for shape, family in zip(shapes, families, strict=True)
    ]
    if len(set(kinds)) > 1:
        told = ", ".join(
            f"{family.name} {list(shape)}{' regression' if family.regression else ''}"
            for family, shape in zip(families, shapes, strict=True)
        )
        problem = (
            "task_families: families of one run share a model, but their inputs or "
            f"targets differ ({told}); set input_dim, or choose families that fit"
        )
        found[problem] = []
    if found:
        raise ConfigError(
            f"task_distribution.{problem}" + (f" ({'; '.join(where)})" if where else "")
            for problem, where in found.items()
        )
    return shapes


def _tasks(
    split: str, count: int | None, families: list[Family], config: RunConfig
) -> Tasks:
    section, data_dir = config.task_distribution, config.paths.data_dir
    seed = seeds.seed_word(config.run.seed, SPLITS[split])
    shots = _shots(split, section)
    if count is None:
        kinds = [
            _task(split, family, section, k, f"/{k}-shot" if len(shots) > 1 else "")
            for family, k in product(families, shots)
        ]
        return FreshTasks(kinds, seed, data_dir)
    turns = islice(cycle(product(shots, families)), count)
    tasks = [
        _task(split, family, section, k, f"/{number}")
        for number, (k, family) in enumerate(turns)
    ]
    return TaskDistribution(tasks, seed, data_dir)


def _shots(split: str, section: TaskDistributionSection) -> list[int]:
    """The values that k_shot takes in the tasks of a split."""
    shots = section.train_k_shot if split == "train" else None
    return shots if isinstance(shots, list) else [shots or section.k_shot]


def _splits_and_shots(section: TaskDistributionSection) -> list[tuple[str, int]]:
    return [(split, k) for split in SPLITS for k in _shots(split, section)]


def k_is_per_class(section: TaskDistributionSection) -> bool:
    """Whether `k_shot` counts examples of a class, not of a task in all."""
    return all(get_family(name).pooled for name in section.task_families)


def _task(
    split: str,
    family: Family,
    section: TaskDistributionSection,
    k_shot: int,
    number: str = "",
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
        task_id=f"{split}/{family.name}{number}",
        task_family=family.name,
        num_classes=ways,
        input_dim=section.input_dim or family.input_dim(params),
        support_size=k_shot * ways if family.per_class else k_shot,
        query_size=query_size,
        task_params=params,
    )
