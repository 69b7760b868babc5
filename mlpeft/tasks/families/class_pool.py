"""Episodes from a pool of classes: N of them, K examples of each (N-way K-shot).

The base of `omniglot`, `digits`, `folder` and the colour data sets. A pool consists of
characters, each with drawings. A class is a character as drawn, or rotated by 90, 180
or 270 degrees if the pool counts that as another class. A task is a selection of
num_classes classes and the order of their labels, determined by its task_id. An episode
samples examples of each without replacement, so that support and query sets are
disjoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from mlpeft.errors import ConfigError, DataError, nearest
from mlpeft.tasks.check import Problems
from mlpeft.tasks.episode import Episode, frozen_params
from mlpeft.tasks.sampling import TaskRandom

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlpeft.tasks.episode import FrozenParams, TaskConfig

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Character:
    """The images of one or more classes of a pool.

    Attributes:
        name: Its name in `task_params.classes`.
        drawings: (count, height, width), or with an axis of channels; uint8, or float32
            in [0, 1].
        rotations: Quarter turns, counter-clockwise, each of which gives a class.
    """

    name: str
    drawings: npt.NDArray[Any]
    rotations: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The classes of one split of a data set.

    Attributes:
        characters: In a fixed order.
        full: The value that becomes 1.0: 255 for 8-bit images.
        rotated: Whether rotated characters are classes by default.
    """

    characters: tuple[Character, ...]
    full: int = 255
    rotated: bool = False

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, *channels = self.characters[0].drawings.shape[1:]
        return height, width, channels[0] if channels else 1


def describe_pools(pools: Mapping[str, Pool]) -> str:
    """The numbers of images and classes of the pools of each split, for people.

    Rotated characters are not counted as classes of their own.
    """
    sizes = {
        (split, character.name): len(character.drawings)
        for split, pool in pools.items()
        for character in pool.characters
    }
    rarest = min(sizes, key=sizes.__getitem__)
    splits = ", ".join(
        f"{split} {len(pool.characters)}" for split, pool in pools.items()
    )
    return (
        f"{sum(sizes.values()):,} images; classes: {splits}; {sizes[rarest]} "
        f"({rarest[1]!r}) to {max(sizes.values())} images each"
    )


@dataclass(frozen=True, slots=True, eq=False)
class PoolClass:
    """One class: a character and its rotation in quarter turns."""

    character: Character
    rotation: int

    @property
    def name(self) -> str:
        """The character's name, with `@degrees` if it is rotated."""
        degrees = f"@{90 * self.rotation}" if self.rotation else ""
        return self.character.name + degrees


class Source(Protocol):
    """A data set with classes, the source of a class-pool family."""

    params: tuple[str, ...]
    """Its task_params besides split, rotations and classes."""

    def pool(self, split: str, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a split, cached by the source.

        Raises:
            DataError: If the data set is missing or damaged.
        """
        ...

    def digests(self, task_params: Mapping[str, Any]) -> dict[str, str]:
        """SHA-256 of the data set, by its name."""
        ...

    def check(self, problems: Problems) -> None:
        """Add the problems of the source's task_params."""
        ...


class ClassPoolFamily:
    """A family whose tasks select classes from a pool.

    task_params: `split` (train, val, test; default train), `rotations` (whether rotated
    characters are classes; default as in the pool), `classes` (the names of num_classes
    classes, in the order of their labels) and those of the source.

    Args:
        name: Its task_family.
        source: The source of the classes.
    """

    regression = False
    pooled = True
    per_class = True

    def __init__(self, name: str, source: Source) -> None:
        self.name = name
        self._source = source
        self._sample_classes = lru_cache(maxsize=4096)(self._sample_classes_uncached)

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task is invalid.

        Raises:
            ConfigError: With the problems of the task.
            DataError: If the data set is missing or damaged.
        """
        problems = Problems(
            config, ("split", "rotations", "classes", *self._source.params)
        )
        problems.check_choice("split", SPLITS)
        problems.check_flag("rotations")
        self._source.check(problems)
        problems.raise_any()
        shape = self._pool(config.task_params).image_shape
        if config.input_dim != math.prod(shape):
            problems.add(
                f"input_dim: {self.name} has images of {' x '.join(map(str, shape))} = "
                f"{math.prod(shape)} numbers, got {config.input_dim}"
            )
        try:
            _check_supply(config, self._classes(config))
        except ConfigError as error:
            problems.add(*error.problems)
        problems.raise_any()

    def sample(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """Sample an episode: x (n, height, width, channels) in [0, 1], y int32.

        Examples cycle through the classes, so that every prefix is balanced.
        """
        pool = self._pool(config.task_params)
        classes = self._classes(config)
        num_classes, supports = config.num_classes, config.support_size
        shape = pool.image_shape
        x = np.empty((supports, *shape), np.float32)
        query_x = np.empty((config.query_size, *shape), np.float32)
        order = rng.permutation(num_classes).astype(np.int32)
        for position, label in enumerate(order):
            rows, query_rows = x[position::num_classes], query_x[position::num_classes]
            drawings = classes[label].character.drawings
            count = len(rows) + len(query_rows)
            images = drawings[rng.permutation(len(drawings))[:count]]
            images = _rotate(images, classes[label].rotation)
            images = images.reshape(*images.shape[:3], shape[2])
            _scale_into(rows, images[: len(rows)], pool.full)
            _scale_into(query_rows, images[len(rows) :], pool.full)
        return Episode(
            x,
            order[np.arange(supports) % num_classes],
            query_x,
            order[np.arange(config.query_size) % num_classes],
        )

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """Numbers of one image."""
        return math.prod(self._pool(task_params).image_shape)

    def input_shape(self, config: TaskConfig) -> tuple[int, ...]:
        """(height, width, channels)."""
        return self._pool(config.task_params).image_shape

    def digests(self, config: TaskConfig) -> dict[str, str]:
        """SHA-256 of the data set, by its name."""
        return self._source.digests(config.task_params)

    def class_names(self, config: TaskConfig) -> list[str]:
        """The task's classes, in the order of their labels."""
        return [pool_class.name for pool_class in self._classes(config)]

    def pool_names(self, config: TaskConfig) -> list[str]:
        """All classes of the pool that tasks like this one select from."""
        pool = self._pool(config.task_params)
        rotated = config.task_params.get("rotations", pool.rotated)
        return [
            PoolClass(character, rotation).name
            for character in pool.characters
            for rotation in (character.rotations if rotated else (0,))
        ]

    def _pool(self, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a task's split.

        Raises:
            DataError: If there are none.
        """
        split = task_params.get("split", SPLITS[0])
        pool = self._source.pool(split, task_params)
        if not pool.characters:
            raise DataError(
                f"the data of {self.name} has no classes for {split}; a run needs some "
                "for each of train, val and test, so get data that has all three"
            )
        return pool

    def _classes(self, config: TaskConfig) -> tuple[PoolClass, ...]:
        return self._sample_classes(
            config.task_id, config.num_classes, frozen_params(config)
        )

    def _sample_classes_uncached(
        self, task_id: str, num_classes: int, frozen: FrozenParams
    ) -> tuple[PoolClass, ...]:
        params = dict(frozen)
        pool = self._pool(params)
        rotated = params.get("rotations", pool.rotated)
        if "classes" in params:
            return _find_classes(pool, params["classes"], num_classes)
        return _sample_classes(pool, rotated, num_classes, TaskRandom(task_id))


def _sample_classes(
    pool: Pool, rotated: bool, num_classes: int, rng: TaskRandom
) -> tuple[PoolClass, ...]:
    """Distinct classes in random order; a character repeats only when all are used."""

    def rotations(index: int) -> tuple[int, ...]:
        return pool.characters[index].rotations if rotated else (0,)

    classes: list[PoolClass] = []
    used: dict[int, list[int]] = {}
    available: Sequence[int] = range(len(pool.characters))
    while len(classes) < num_classes:
        if not available:
            hint = "" if rotated else " or set task_params.rotations: true"
            problem = (
                f"num_classes: asked for {num_classes}, but there are {len(classes)} "
                f"classes; lower it{hint}"
            )
            raise ConfigError([problem])
        count = min(len(available), num_classes - len(classes))
        for index in rng.sample(available, count):
            of_character = used.setdefault(index, [])
            unused = [turns for turns in rotations(index) if turns not in of_character]
            of_character.append(unused[rng.below(len(unused))])
            classes.append(PoolClass(pool.characters[index], of_character[-1]))
        # Now every character is used, or there are enough classes.
        available = [
            index for index in used if len(used[index]) < len(rotations(index))
        ]
    return tuple(classes)


def _find_classes(pool: Pool, names: object, num_classes: int) -> tuple[PoolClass, ...]:
    """The classes with these names, in their order."""
    if not isinstance(names, tuple) or len(set(map(str, names))) != num_classes:
        problem = (
            f"task_params.classes: expected a list of num_classes = {num_classes} "
            f"different names, got {names!r}"
        )
        raise ConfigError([problem])
    by_name = {
        pool_class.name: pool_class
        for character in pool.characters
        for rotation in character.rotations
        for pool_class in [PoolClass(character, rotation)]
    }
    problems = [
        f"task_params.classes: no class {name!r} in this split; "
        f"{nearest(str(name), by_name)}"
        for name in names
        if str(name) not in by_name
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(by_name[str(name)] for name in names)


def _check_supply(config: TaskConfig, classes: Sequence[PoolClass]) -> None:
    """Every class must have the drawings that an episode may need."""
    supports = -(-config.support_size // config.num_classes)
    queries = -(-config.query_size // config.num_classes)
    smallest = min(classes, key=lambda pool_class: len(pool_class.character.drawings))
    available = len(smallest.character.drawings)
    if supports + queries > available:
        problem = (
            f"support_size, query_size: {config.support_size} and {config.query_size} "
            f"need {supports} + {queries} examples of a class, but {smallest.name!r} "
            f"has {available}; lower one of them"
        )
        raise ConfigError([problem])


def _rotate(images: npt.NDArray[Any], quarter_turns: int) -> npt.NDArray[Any]:
    """Rotate images (count, height, width, ...); faster than np.rot90."""
    if quarter_turns == 1:
        return images.swapaxes(1, 2)[:, ::-1]
    if quarter_turns == 2:
        return images[:, ::-1, ::-1]
    if quarter_turns == 3:
        return images.swapaxes(1, 2)[:, :, ::-1]
    return images


def _scale_into(
    out: npt.NDArray[np.float32], images: npt.NDArray[Any], full: int
) -> None:
    if images.dtype == np.uint8:
        np.divide(images, np.float32(full), out=out)
    else:
        out[...] = images
