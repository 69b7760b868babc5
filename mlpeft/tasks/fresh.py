"""Tasks without end: a new one for every episode.

The id of such a task holds the 64-bit word that it was made with, so that it names the
task wherever it travels: `train/omniglot/9f0c2b6e51d7a384`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

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
    """Draws a new task of one of several kinds for every episode.

    Args:
        templates: The kinds; their task_ids are what ids of tasks begin with.
        seed: Fixes the stream of `sample_episode`.
        data_dir: Where the families' data may lie, see `mlpeft.datasets.folders`.

    Raises:
        ConfigError: Listing what is wrong with the templates.
        DataError: If the data of a family is missing or damaged.
    """

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
        self._drawn = 0
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
        """The templates: one task of each kind."""
        return tuple(self._templates.values())

    def choose(self, rng: np.random.Generator) -> str:
        """The id of a new task, its kind each as likely as the others."""
        template = self._ids[int(rng.integers(len(self._ids)))]
        return f"{template}/{int(rng.integers(2**64, dtype='uint64')):016x}"

    def config(self, task_id: str) -> TaskConfig:
        """The task of an id that `choose` made.

        Raises:
            TaskSamplingError: If it is of no kind that there is.
        """
        match = _WORD.fullmatch(task_id)
        template = self._templates.get(match["template"]) if match else None
        if template is None:
            raise TaskSamplingError(
                f"no task {task_id!r}: tasks here are new for every episode and named "
                f"{self._ids[0]}/ and 16 hexadecimal digits, as choose() does"
            )
        return dataclasses.replace(template, task_id=task_id)

    def episode(self, task_id: str, seed: int) -> Episode:
        """The episode of a task that a seed fixes; NumPy arrays. Pure.

        Raises:
            TaskSamplingError: If the id is of no kind that there is.
        """
        config = self.config(task_id)
        family = get_family(config.task_family, self.data_dir)
        return family.draw(config, source.episode_generator(seed))

    def sample_episode(self, task_id: str | None = None) -> Sample:
        """The next episode of the stream; see `TaskDistribution.sample_episode`."""
        sampled = source.sample(self, self.seed, self._drawn, task_id)
        self._drawn += 1
        return sampled
