"""A collection of tasks, and the episodes drawn from it."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import TYPE_CHECKING, Any

from mlpeft import seeds
from mlpeft.errors import ConfigError, TaskSamplingError, nearest
from mlpeft.seeds import Purpose
from mlpeft.tasks import source, storage
from mlpeft.tasks.families import admit, get_family

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from pathlib import Path

    import numpy as np

    from mlpeft.tasks.episode import Episode, TaskConfig
    from mlpeft.tasks.source import Sample

_MOST_TOLD = 20


class TaskDistribution:
    """A fixed set of related tasks.

        configs = [TaskConfig(f"task_{i}", "linear_classification") for i in range(20)]
        dist = TaskDistribution(configs, seed=42)
        config, support_x, support_y, query_x, query_y = dist.sample_episode()

    `sample_episode` goes through a stream of episodes that the seed fixes; `episode`
    and `choose` are pure.

    Args:
        configs: The tasks, each with a task_id of its own.
        seed: Fixes the stream of `sample_episode` and the cut of `split_tasks`.
        data_dir: Where the families' data may lie, see `mlpeft.datasets.folders`.
        allow_modules: Modules of the user's own that may be imported because a `custom`
            task names them; None: any.

    Raises:
        ConfigError: Listing what is wrong with the tasks, or ids given twice.
        DataError: If the data of a family is missing or damaged.
    """

    def __init__(
        self,
        configs: Iterable[TaskConfig],
        seed: int = 0,
        data_dir: str | Path | None = None,
        allow_modules: Container[str] | None = None,
    ) -> None:
        configs = tuple(configs)
        for config in configs:
            admit([config.task_family], config.task_params, allow_modules)
        self._take(configs, seed, None if data_dir is None else str(data_dir))
        self.check()

    @property
    def configs(self) -> tuple[TaskConfig, ...]:
        """The tasks, in the order in which they were given."""
        return tuple(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[TaskConfig]:
        return iter(self.configs)

    def __repr__(self) -> str:
        families = ", ".join(sorted({config.task_family for config in self}))
        return f"TaskDistribution({len(self)} tasks of {families}, seed={self.seed})"

    def sample_episode(self, task_id: str | None = None) -> Sample:
        """The next episode of the stream.

        Args:
            task_id: Draw from this task; None: from one chosen at random.

        Returns:
            The task's config, support_x (support_size, *input shape), support_y,
            query_x and query_y as `mx.array`: x float32, y int32 labels or float32
            targets.

        Raises:
            TaskSamplingError: If there is no such task.
        """
        sampled = source.sample(self, self.seed, self._drawn, task_id)
        self._drawn += 1
        return sampled

    def choose(self, rng: np.random.Generator) -> str:
        """A task_id, each as likely as the others."""
        return self._ids[int(rng.integers(len(self._ids)))]

    def config(self, task_id: str) -> TaskConfig:
        """The task of this id.

        Raises:
            TaskSamplingError: If there is none, naming the nearest that there is.
        """
        try:
            return self._by_id[task_id]
        except (KeyError, TypeError):
            raise TaskSamplingError(
                f"no task {task_id!r} among the {len(self)} of this distribution; "
                f"{_hint(str(task_id), self._ids)}"
            ) from None

    def episode(self, task_id: str, seed: int) -> Episode:
        """The episode of a task that a seed fixes; NumPy arrays. Pure.

        Raises:
            TaskSamplingError: If there is no such task.
        """
        config = self.config(task_id)
        family = get_family(config.task_family, self.data_dir)
        return family.draw(config, source.episode_generator(seed))

    def split_tasks(
        self, train_ratio: float = 0.8
    ) -> tuple[TaskDistribution, TaskDistribution]:
        """Cut the tasks in two by chance, as the seed fixes it.

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
        """Write to a file: .json, .yaml or .yml, or .pkl; folders are made.

        Raises:
            DataError: If the suffix is another.
        """
        storage.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> TaskDistribution:
        """Read what `save` (or the standard pickle) wrote.

        A .pkl file is read by an unpickler that admits this class only.

        Raises:
            FileNotFoundError: Naming the path that was looked at.
            DataError: If the file is not a saved task distribution.
            ConfigError: If its tasks cannot be drawn here.
        """
        loaded = storage.load(path, cls)
        loaded.check()
        return loaded

    def check(self) -> None:
        """Have every task's family check it; done already, unless it was unpickled.

        Raises:
            ConfigError: Listing every problem; one that many tasks share is told once.
            DataError: If the data of a family is missing or damaged.
        """
        found: dict[str, list[str]] = {}
        for config in self:
            try:
                get_family(config.task_family, self.data_dir).check(config)
            except ConfigError as error:
                for problem in error.problems:
                    found.setdefault(problem, []).append(config.task_id)
        if found:
            raise ConfigError(_told(found))

    def __getstate__(self) -> dict[str, Any]:
        return storage.state_of(self.configs, self.seed, self.data_dir, self._drawn)

    def __setstate__(self, state: dict[str, Any]) -> None:
        configs, seed, data_dir, drawn = storage.read_state(state)
        self._take(configs, seed, data_dir)
        self._drawn = drawn

    def _take(
        self, configs: Iterable[TaskConfig], seed: int, data_dir: str | None
    ) -> None:
        self.seed = seed
        self.data_dir = data_dir
        self._drawn = 0
        self._by_id: dict[str, TaskConfig] = {}
        twice = []
        for config in configs:
            if config.task_id in self._by_id:
                twice.append(config.task_id)
            self._by_id[config.task_id] = config
        self._ids = tuple(self._by_id)
        if twice:
            raise ConfigError(
                [f"task_id {task_id!r} is given more than once" for task_id in twice]
            )
        if not isinstance(seed, Integral) or seed < 0:
            raise ConfigError([f"seed: expected a whole number from 0, got {seed!r}"])
        if not self._by_id:
            raise ConfigError(["a task distribution needs at least one task, got none"])

    def _part(self, chosen: Iterable[int], which: int) -> TaskDistribution:
        """Some of the tasks, with a stream of their own."""
        part, configs = copy.copy(self), self.configs
        part.__setstate__(
            storage.state_of(
                [configs[index] for index in sorted(chosen)],
                seeds.seed_word(self.seed, Purpose.TASK, which),
                self.data_dir,
                drawn=0,
            )
        )
        return part


def _told(found: dict[str, list[str]]) -> list[str]:
    """A line for each problem, with the tasks that have it."""
    problems = []
    for problem, ids in found.items():
        more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
        problems.append(f"task {ids[0]!r}{more}: {problem}")
    rest = len(problems) - _MOST_TOLD
    if rest > 0:
        problems = [*problems[:_MOST_TOLD], f"and {rest} more like these"]
    return problems


def _hint(task_id: str, known: tuple[str, ...]) -> str:
    """The nearest id; where none is near and there are many, the first and last."""
    near = nearest(task_id, known)
    few = len(known) <= _MOST_TOLD
    return near if few or "?" in near else f"they are {known[0]!r} to {known[-1]!r}"
