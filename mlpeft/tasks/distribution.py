"""A fixed collection of tasks, and the episodes sampled from it."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import TYPE_CHECKING, Any

from mlpeft import seeds
from mlpeft.charts import notebook
from mlpeft.errors import ConfigError, TaskSamplingError, counted, nearest
from mlpeft.file_caches import forget_changed_files
from mlpeft.seeds import Purpose
from mlpeft.tasks import source, storage
from mlpeft.tasks.embedding import task_embedding
from mlpeft.tasks.families import admit, get_family

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from pathlib import Path

    import mlx.nn as nn
    import numpy as np

    from mlpeft.tasks.embedding import Method
    from mlpeft.tasks.episode import Episode, TaskConfig
    from mlpeft.tasks.source import Sample

_MAX_SHOWN = 20


class TaskDistribution:
    """A fixed set of related tasks.

        configs = [TaskConfig(f"task_{i}", "linear_classification") for i in range(20)]
        dist = TaskDistribution(configs, seed=42)
        config, support_x, support_y, query_x, query_y = dist.sample_episode()

    `sample_episode` advances a stream of episodes that the seed determines; `episode`
    and `sample_task` are pure.

    Args:
        configs: The tasks, with distinct task_ids.
        seed: Determines the stream of `sample_episode` and the parts of `split_tasks`.
        data_dir: Folder of the families' data, see `mlpeft.datasets.folders`.
        allow_modules: The user's modules that a `custom` task may import; None: any.

    Raises:
        ConfigError: Listing all problems of the tasks, and duplicate ids.
        DataError: If the data of a family is missing or damaged.
    """

    def __init__(
        self,
        configs: Iterable[TaskConfig],
        seed: int = 0,
        data_dir: str | Path | None = None,
        allow_modules: Container[str] | None = None,
    ) -> None:
        forget_changed_files()
        configs = tuple(configs)
        for config in configs:
            admit([config.task_family], config.task_params, allow_modules)
        self._set(configs, seed, None if data_dir is None else str(data_dir))
        self.check()

    @property
    def configs(self) -> tuple[TaskConfig, ...]:
        """The tasks, in their original order."""
        return tuple(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[TaskConfig]:
        return iter(self.configs)

    def __repr__(self) -> str:
        families = ", ".join(sorted({config.task_family for config in self}))
        count = counted(len(self), "task")
        return f"TaskDistribution({count} of {families}, seed={self.seed})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        header = ("task", "family", "classes", "support", "query")
        rows = [
            (
                config.task_id,
                config.task_family,
                config.num_classes,
                config.support_size,
                config.query_size,
            )
            for config in self
        ]
        title = f"{counted(len(rows), 'task')}, seed {self.seed}"
        return notebook.table(title, header, rows)

    def sample_episode(self, task_id: str | None = None) -> Sample:
        """The next episode of the stream.

        Args:
            task_id: The task to sample from; None: a random one.

        Returns:
            The task's config, support_x (support_size, *input shape), support_y,
            query_x and query_y as `mx.array`: x float32, y int32 labels or float32
            targets.

        Raises:
            TaskSamplingError: If there is no such task.
        """
        sample = source.sample(self, self.seed, self._num_sampled, task_id)
        self._num_sampled += 1
        return sample

    def sample_task(self, rng: np.random.Generator) -> str:
        """A task_id, uniformly at random."""
        return self._ids[int(rng.integers(len(self._ids)))]

    def config(self, task_id: str) -> TaskConfig:
        """The task with this id.

        Raises:
            TaskSamplingError: If there is none, with the nearest id.
        """
        try:
            return self._by_id[task_id]
        except (KeyError, TypeError):
            raise TaskSamplingError(
                f"no task {task_id!r} among the {len(self)} of this distribution; "
                f"{_suggest(str(task_id), self._ids)}"
            ) from None

    def episode(self, task_id: str, seed: int) -> Episode:
        """The episode determined by task and seed; NumPy arrays. Pure.

        Raises:
            TaskSamplingError: If there is no such task.
        """
        config = self.config(task_id)
        family = get_family(config.task_family, self.data_dir)
        return family.sample(config, source.episode_generator(seed))

    def get_task_embedding(
        self,
        task_id: str,
        model: nn.Module | None = None,
        method: Method = "features",
        episodes: int = 4,
    ) -> np.ndarray:
        """A vector (dims,) that is near to those of similar tasks.

        `task_similarity` compares such vectors, and `task_map` puts them on a plane.

        Args:
            task_id: The task.
            model: Whose gradients or features; None: features of the inputs.
            method: "gradient", "fisher" or "features", see `mlpeft.tasks.embedding`.
            episodes: Episodes to take examples from.

        Raises:
            TaskSamplingError: If there is no such task.
            ConfigError: If the method is unknown or needs a model.
        """
        return task_embedding(self, task_id, model, method, episodes)

    def split_tasks(
        self, train_ratio: float = 0.8
    ) -> tuple[TaskDistribution, TaskDistribution]:
        """Split the tasks at random into two parts, determined by the seed.

        Args:
            train_ratio: Share of the tasks in the first part, in (0, 1). Both parts get
                at least one task.

        Raises:
            ConfigError: If the ratio is not in (0, 1) or there is only one task.
        """
        if not 0.0 < train_ratio < 1.0:
            raise ConfigError(
                [f"train_ratio: expected a share in (0, 1), got {train_ratio!r}"]
            )
        if len(self) < 2:
            raise ConfigError(["split_tasks: one task cannot be split; give more"])
        cut = min(max(round(train_ratio * len(self)), 1), len(self) - 1)
        order = seeds.generator(self.seed, Purpose.TASK).permutation(len(self))
        return self._part(order[:cut], 0), self._part(order[cut:], 1)

    def save(self, path: str | Path) -> None:
        """Write a .json, .yaml, .yml or .pkl file; missing folders are created.

        Raises:
            DataError: If the suffix is another.
        """
        storage.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> TaskDistribution:
        """Read a file written by `save` or by the standard pickle.

        A .pkl file is read by an unpickler that allows this class only.

        Raises:
            FileNotFoundError: Naming the path.
            DataError: If the file is not a saved task distribution.
            ConfigError: If its tasks cannot be sampled here.
        """
        distribution = storage.load(path, cls)
        distribution.check()
        return distribution

    def check(self) -> None:
        """Check every task by its family; needed only after unpickling.

        Raises:
            ConfigError: Listing every problem; one that tasks share is listed once.
            DataError: If the data of a family is missing or damaged.
        """
        problems: dict[str, list[str]] = {}
        for config in self:
            try:
                get_family(config.task_family, self.data_dir).check(config)
            except ConfigError as error:
                for problem in error.problems:
                    problems.setdefault(problem, []).append(config.task_id)
        if problems:
            raise ConfigError(_list_problems(problems))

    def __getstate__(self) -> dict[str, Any]:
        return storage.state_of(
            self.configs, self.seed, self.data_dir, self._num_sampled
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        configs, seed, data_dir, num_sampled = storage.read_state(state)
        self._set(configs, seed, data_dir)
        self._num_sampled = num_sampled

    def _set(
        self, configs: Iterable[TaskConfig], seed: int, data_dir: str | None
    ) -> None:
        self.seed = seed
        self.data_dir = data_dir
        self._num_sampled = 0
        self._by_id: dict[str, TaskConfig] = {}
        duplicates = []
        for config in configs:
            if config.task_id in self._by_id:
                duplicates.append(config.task_id)
            self._by_id[config.task_id] = config
        self._ids = tuple(self._by_id)
        if duplicates:
            raise ConfigError(
                [f"task_id {id_!r} is given more than once" for id_ in duplicates]
            )
        if not isinstance(seed, Integral) or seed < 0:
            raise ConfigError([f"seed: expected an integer from 0, got {seed!r}"])
        if not self._by_id:
            raise ConfigError(["a task distribution needs at least one task, got none"])

    def _part(self, indices: Iterable[int], number: int) -> TaskDistribution:
        """Some of the tasks, with a stream of their own."""
        part, configs = copy.copy(self), self.configs
        part.__setstate__(
            storage.state_of(
                [configs[index] for index in sorted(indices)],
                seeds.seed_word(self.seed, Purpose.TASK, number),
                self.data_dir,
                num_sampled=0,
            )
        )
        return part


def _list_problems(tasks_of: dict[str, list[str]]) -> list[str]:
    """A line for each problem, with the tasks that have it."""
    lines = []
    for problem, ids in tasks_of.items():
        more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
        lines.append(f"task {ids[0]!r}{more}: {problem}")
    rest = len(lines) - _MAX_SHOWN
    if rest > 0:
        lines = [*lines[:_MAX_SHOWN], f"and {rest} more like these"]
    return lines


def _suggest(task_id: str, ids: tuple[str, ...]) -> str:
    """The nearest id; if none of many is near, the first and the last."""
    hint = nearest(task_id, ids)
    few = len(ids) <= _MAX_SHOWN
    return hint if few or "?" in hint else f"they are {ids[0]!r} to {ids[-1]!r}"
