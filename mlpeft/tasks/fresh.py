"""An endless supply of tasks: a new one for every episode.

The id of such a task ends with a random 64-bit word, so that the id alone determines
the task: `train/omniglot/9f0c2b6e51d7a384`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from mlpeft.charts import notebook
from mlpeft.errors import ConfigError, TaskSamplingError
from mlpeft.tasks import source
from mlpeft.tasks.families import get_family

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from mlpeft.tasks.episode import Episode, TaskConfig
    from mlpeft.tasks.source import Sample

_WORD = re.compile(r"(?P<template>.+)/[0-9a-f]{16}")


class FreshTasks:
    """Samples a new task from one of several templates for every episode.

    Args:
        templates: The templates; their task_ids are the prefixes of the tasks' ids.
        seed: Determines the stream of `sample_episode`.
        data_dir: Folder of the families' data, see `mlpeft.datasets.folders`.

    Raises:
        ConfigError: Listing all problems of the templates.
        DataError: If the data of a family is missing or damaged.
    """

    def __repr__(self) -> str:
        families = sorted({task.task_family for task in self._templates.values()})
        return f"FreshTasks(of {', '.join(families)}, seed={self.seed})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        header = ("template", "family", "classes", "support", "query")
        rows = [
            (
                name,
                task.task_family,
                task.num_classes,
                task.support_size,
                task.query_size,
            )
            for name, task in self._templates.items()
        ]
        return notebook.table(f"A new task per episode, seed {self.seed}", header, rows)

    def __init__(
        self,
        templates: Sequence[TaskConfig],
        seed: int = 0,
        data_dir: str | Path | None = None,
    ) -> None:
        self.seed = seed
        self.data_dir = None if data_dir is None else str(data_dir)
        self._templates = {template.task_id: template for template in templates}
        self._ids = tuple(self._templates)
        self._num_sampled = 0
        problems: list[str] = []
        for template in templates:
            family = get_family(template.task_family, self.data_dir)
            try:
                family.check(template)
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)

    @property
    def configs(self) -> tuple[TaskConfig, ...]:
        """The templates."""
        return tuple(self._templates.values())

    def sample_task(self, rng: np.random.Generator) -> str:
        """The id of a new task, its template uniformly at random."""
        template = self._ids[int(rng.integers(len(self._ids)))]
        return f"{template}/{int(rng.integers(2**64, dtype='uint64')):016x}"

    def config(self, task_id: str) -> TaskConfig:
        """The task with an id from `sample_task`.

        Raises:
            TaskSamplingError: If the id belongs to none of the templates.
        """
        match = _WORD.fullmatch(task_id)
        template = self._templates.get(match["template"]) if match else None
        if template is None:
            raise TaskSamplingError(
                f"no task {task_id!r}: tasks here are new for every episode, with ids "
                f"such as {self._ids[0]}/ and 16 hexadecimal digits, see sample_task()"
            )
        return dataclasses.replace(template, task_id=task_id)

    def episode(self, task_id: str, seed: int) -> Episode:
        """The episode determined by task and seed; NumPy arrays. Pure.

        Raises:
            TaskSamplingError: If the id belongs to none of the templates.
        """
        config = self.config(task_id)
        family = get_family(config.task_family, self.data_dir)
        return family.sample(config, source.episode_generator(seed))

    def sample_episode(self, task_id: str | None = None) -> Sample:
        """The next episode of the stream; see `TaskDistribution.sample_episode`."""
        sample = source.sample(self, self.seed, self._num_sampled, task_id)
        self._num_sampled += 1
        return sample
