"""Episodes from a pool of classes: N of them, K examples of each (N-way K-shot).

What `omniglot`, `digits` and `folder` share. A pool holds characters, each with its
drawings; a class is a character as drawn, or turned by a quarter, half or three
quarters where the pool says that this makes another class. A task is a choice of
num_classes of them and the order of their labels, fixed by its task_id; an episode
draws examples of each without replacement, so that no query is among the supports.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from mlpeft.errors import ConfigError, nearest
from mlpeft.tasks.check import Problems
from mlpeft.tasks.episode import Episode, frozen_params
from mlpeft.tasks.sampling import TaskRandom

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlpeft.tasks.episode import FrozenParams, TaskConfig

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Character:
    """What one or more classes of a pool are made of.

    Attributes:
        name: As in `task_params.classes`.
        drawings: (count, height, width); uint8, or float32 in [0, 1].
        turns: The quarter turns, counter-clockwise, that make other classes of it.
    """

    name: str
    drawings: npt.NDArray[Any]
    turns: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The classes of one split of a data set.

    Attributes:
        characters: In a fixed order.
        full: The value that becomes 1.0: 255 for 8-bit images.
        rotated: Turned characters are classes where a task does not say.
    """

    characters: tuple[Character, ...]
    full: int = 255
    rotated: bool = False

    @property
    def image_shape(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.characters[0].drawings.shape[1:]
        return height, width


@dataclass(frozen=True, slots=True, eq=False)
class PoolClass:
    """One class: a character and how far it is turned."""

    character: Character
    turn: int

    @property
    def name(self) -> str:
        """The character's name, with `@degrees` if it is turned."""
        degrees = f"@{90 * self.turn}" if self.turn else ""
        return self.character.name + degrees


class Source(Protocol):
    """A data set that has classes: what a class-pool family is made with."""

    params: tuple[str, ...]
    """task_params of its own, beside split, rotations and classes."""

    def pool(self, split: str, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a split. Cached by the source.

        Raises:
            DataError: If the data set is missing or damaged.
        """
        ...

    def digests(self, task_params: Mapping[str, Any]) -> dict[str, str]:
        """SHA-256 of the data set, by its name."""
        ...

    def check(self, problems: Problems) -> None:
        """Add what is wrong with the source's own task_params."""
        ...


class ClassPoolFamily:
    """A family whose tasks choose classes from a pool.

    task_params: `split` (train, val, test; train if left open), `rotations` (whether
    turned characters are classes; as the pool says if left open), `classes` (the names
    of num_classes classes, in the order of their labels) and the source's own.

    Args:
        name: The task_family that it answers to.
        source: Where the classes come from.
    """

    regression = False
    pooled = True
    per_class = True

    def __init__(self, name: str, source: Source) -> None:
        self.name = name
        self._source = source
        self._choose = lru_cache(maxsize=4096)(self._choose_anew)

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task cannot be drawn.

        Raises:
            ConfigError: With the problems of the task.
            DataError: If the data set is missing or damaged.
        """
        problems = Problems(
            config, ("split", "rotations", "classes", *self._source.params)
        )
        problems.choice("split", SPLITS)
        problems.flag("rotations")
        self._source.check(problems)
        problems.done()
        height, width = self._pool(config.task_params).image_shape
        if config.input_dim != height * width:
            problems.found.append(
                f"input_dim: {self.name} has images of {height} x {width} x 1 = "
                f"{height * width} numbers, got {config.input_dim}"
            )
        try:
            _check_supply(config, self._chosen(config))
        except ConfigError as error:
            problems.found.extend(error.problems)
        problems.done()

    def draw(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """A fresh episode: x (n, height, width, 1) float32 in [0, 1], y int32.

        Examples come in turn, one of each class after the other, so that every prefix
        is balanced as far as it divides.
        """
        pool = self._pool(config.task_params)
        chosen = self._chosen(config)
        num_classes, supports = config.num_classes, config.support_size
        shape = (*pool.image_shape, 1)
        x = np.empty((supports, *shape), np.float32)
        query_x = np.empty((config.query_size, *shape), np.float32)
        order = rng.permutation(num_classes).astype(np.int32)
        for place, label in enumerate(order):
            one = chosen[label]
            slots, query_slots = x[place::num_classes], query_x[place::num_classes]
            drawings = one.character.drawings
            count = len(slots) + len(query_slots)
            picked = drawings[rng.permutation(len(drawings))[:count]]
            picked = _turned(picked, one.turn)[..., None]
            _scaled(picked[: len(slots)], pool.full, slots)
            _scaled(picked[len(slots) :], pool.full, query_slots)
        return Episode(
            x,
            order[np.arange(supports) % num_classes],
            query_x,
            order[np.arange(config.query_size) % num_classes],
        )

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """Pixels of one image."""
        height, width = self._pool(task_params).image_shape
        return height * width

    def input_shape(self, config: TaskConfig) -> tuple[int, ...]:
        """(height, width, 1)."""
        return (*self._pool(config.task_params).image_shape, 1)

    def digests(self, config: TaskConfig) -> dict[str, str]:
        """SHA-256 of the data set, by its name."""
        return self._source.digests(config.task_params)

    def class_names(self, config: TaskConfig) -> list[str]:
        """The task's classes, in the order of their labels."""
        return [one.name for one in self._chosen(config)]

    def _pool(self, task_params: Mapping[str, Any]) -> Pool:
        return self._source.pool(task_params.get("split", SPLITS[0]), task_params)

    def _chosen(self, config: TaskConfig) -> tuple[PoolClass, ...]:
        return self._choose(config.task_id, config.num_classes, frozen_params(config))

    def _choose_anew(
        self, task_id: str, num_classes: int, frozen: FrozenParams
    ) -> tuple[PoolClass, ...]:
        params = dict(frozen)
        pool = self._pool(params)
        rotated = params.get("rotations", pool.rotated)
        if "classes" in params:
            return _named(pool, params["classes"], num_classes)
        return _sampled(pool, rotated, num_classes, TaskRandom(task_id))


def _sampled(
    pool: Pool, rotated: bool, num_classes: int, chance: TaskRandom
) -> tuple[PoolClass, ...]:
    """Different classes in a random order; no character twice while there are more."""

    def turns(index: int) -> tuple[int, ...]:
        return pool.characters[index].turns if rotated else (0,)

    chosen: list[PoolClass] = []
    taken: dict[int, list[int]] = {}
    left: Sequence[int] = range(len(pool.characters))
    while len(chosen) < num_classes:
        if not left:
            hint = "" if rotated else " or set task_params.rotations: true"
            problem = (
                f"num_classes: asked for {num_classes}, but there are {len(chosen)} "
                f"classes; lower it{hint}"
            )
            raise ConfigError([problem])
        for index in chance.sample(left, min(len(left), num_classes - len(chosen))):
            already = taken.setdefault(index, [])
            still = [turn for turn in turns(index) if turn not in already]
            already.append(still[chance.below(len(still))])
            chosen.append(PoolClass(pool.characters[index], already[-1]))
        # Every character has been taken once, or there are enough classes already.
        left = [index for index in taken if len(taken[index]) < len(turns(index))]
    return tuple(chosen)


def _named(pool: Pool, names: Any, num_classes: int) -> tuple[PoolClass, ...]:
    """The classes of these names, in their order."""
    if not isinstance(names, tuple) or len(set(map(str, names))) != num_classes:
        problem = (
            f"task_params.classes: expected a list of num_classes = {num_classes} "
            f"different names, got {names!r}"
        )
        raise ConfigError([problem])
    known = {
        one.name: one
        for character in pool.characters
        for turn in character.turns
        for one in [PoolClass(character, turn)]
    }
    problems = [
        f"task_params.classes: no class {name!r} in this split; "
        f"{nearest(str(name), known)}"
        for name in names
        if str(name) not in known
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(known[str(name)] for name in names)


def _check_supply(config: TaskConfig, chosen: Sequence[PoolClass]) -> None:
    """Every class has the drawings that an episode may need of it."""
    supports = -(-config.support_size // config.num_classes)
    queries = -(-config.query_size // config.num_classes)
    poorest = min(chosen, key=lambda one: len(one.character.drawings))
    there = len(poorest.character.drawings)
    if supports + queries > there:
        problem = (
            f"support_size, query_size: {config.support_size} and {config.query_size} "
            f"need {supports} + {queries} examples of a class, but {poorest.name!r} "
            f"has {there}; lower one of them"
        )
        raise ConfigError([problem])


def _turned(images: npt.NDArray[Any], turn: int) -> npt.NDArray[Any]:
    """(count, height, width) images by `turn` quarter turns (np.rot90, but quick)."""
    if turn == 1:
        return images.swapaxes(1, 2)[:, ::-1]
    if turn == 2:
        return images[:, ::-1, ::-1]
    if turn == 3:
        return images.swapaxes(1, 2)[:, :, ::-1]
    return images


def _scaled(images: npt.NDArray[Any], full: int, out: npt.NDArray[np.float32]) -> None:
    if images.dtype == np.uint8:
        np.divide(images, np.float32(full), out=out)
    else:
        out[...] = images
