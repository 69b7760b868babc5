"""Labels that mean the same class in every episode.

An episode numbers its classes from 0 in an order of its own. A classifier of all
classes of a pool needs one number a class.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, Self, cast

import numpy as np

from mlpeft.tasks.families import get_family
from mlpeft.tasks.source import episode_generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.tasks.build import Tasks
    from mlpeft.tasks.episode import Episode, TaskConfig

    class _PoolFamily(Protocol):
        def class_names(self, config: TaskConfig) -> Sequence[str]: ...

        def pool_names(self, config: TaskConfig) -> Sequence[str]: ...


class PoolLabels:
    """The classes of all tasks of a split, numbered.

    Args:
        tasks: All of class-pool families.
    """

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._numbers: dict[tuple[str, str], int] = {}
        self._templates: dict[str, TaskConfig] = {}
        for config in tasks.configs:
            if config.task_family in self._templates:
                continue
            self._templates[config.task_family] = config
            for name in sorted(self._family(config).pool_names(config)):
                self._numbers[config.task_family, name] = len(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @classmethod
    def of(cls, tasks: Tasks) -> Self | None:
        """The labels of these tasks; None if theirs mean the same in any case."""
        families = {config.task_family for config in tasks.configs}
        pooled = [
            hasattr(get_family(name, tasks.data_dir), "pool_names") for name in families
        ]
        return cls(tasks) if all(pooled) else None

    def relabelled(self, task_id: str, episode: Episode) -> Episode:
        """The episode of a task with one number a class."""
        config = self._tasks.config(task_id)
        numbers = self._of(config)
        return episode._replace(
            support_y=numbers[episode.support_y], query_y=numbers[episode.query_y]
        )

    def examples(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Examples of each class: inputs (n, ...), and their classes (n,) int32.

        Always the same ones, as many of each class of a family.

        Args:
            most: Of a class; fewer if an episode of the tasks has fewer.
        """
        parts = [self._examples(config, most) for config in self._templates.values()]
        xs, ys = zip(*parts, strict=True)
        return np.concatenate(xs), np.concatenate(ys)

    def _examples(self, config: TaskConfig, most: int) -> tuple[np.ndarray, np.ndarray]:
        """One episode of all classes of a family."""
        of_episode = config.support_size + config.query_size
        each = max(min(most, of_episode // config.num_classes), 1)
        ways = len(self._family(config).pool_names(config))
        params = {k: v for k, v in config.task_params.items() if k != "classes"}
        task = replace(
            config,
            num_classes=ways,
            support_size=each * ways,
            query_size=0,
            task_params=params,
        )
        episode = get_family(config.task_family, self._tasks.data_dir).sample(
            task, episode_generator(0)
        )
        return np.asarray(episode.support_x), self._of(task)[episode.support_y]

    def _of(self, config: TaskConfig) -> np.ndarray:
        """(num_classes,) int32: the number of each of a task's labels."""
        names = self._family(config).class_names(config)
        numbers = [self._numbers[config.task_family, name] for name in names]
        return np.array(numbers, np.int32)

    def _family(self, config: TaskConfig) -> _PoolFamily:
        family = get_family(config.task_family, self._tasks.data_dir)
        return cast("_PoolFamily", family)
