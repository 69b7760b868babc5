"""Classification in a plane: what the linear and the nonlinear family share.

The class of a point hangs on its first two coordinates only, and that plane is the same
for all tasks; further coordinates are normal and say nothing. Tasks differ in the
rotation and the translation of the pattern. So there is something to learn across
tasks: which directions matter, what shape the classes have, and that they meet near the
origin.

A pattern is drawn on the unit square of (radius quantile, turn): with p and a uniform
in [0, 1), the point SCALE * sqrt(-2 ln(1 - p)) * (cos 2 pi a, sin 2 pi a) is normal. A
pattern says which part of the square belongs to a class, all parts of equal area.
Points of a class are drawn there directly, so sets are balanced exactly, nothing is
rejected, and the inputs of a task are normal whatever the pattern. With one input
dimension the pattern is drawn on the quantile q of a line instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from mlpeft.tasks.check import Problems
from mlpeft.tasks.episode import Episode, frozen_params
from mlpeft.tasks.sampling import TaskRandom, balanced_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlpeft.tasks.episode import FrozenParams, TaskConfig

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]

SCALE = 2.0
"""Standard deviation of the inputs along each axis, without translation and noise."""
MAX_SHIFT = 0.5
"""A translation that is left open is uniform in [-MAX_SHIFT, MAX_SHIFT] an axis."""
_LAST_QUANTILE = 1.0 - 1e-9


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which part of the square, or of the line, belongs to which class.

    Attributes:
        square: (label, num_classes, u, v) -> (p, a), for u and v uniform in [0, 1).
        line: (label, num_classes, u, v) -> q.
        max_turn: A rotation that is left open is uniform in [-max_turn, max_turn] full
            turns. So tasks have a direction in common, as related tasks do, and each
            still has to be adapted to.
    """

    square: Callable[[Labels, int, Floats, Floats], tuple[Floats, Floats]]
    line: Callable[[Labels, int, Floats, Floats], Floats]
    max_turn: float = 1.0 / 6.0


@dataclass(frozen=True, slots=True)
class Placed:
    """One task: a pattern, and where it lies.

    Attributes:
        pattern: The shape of the classes.
        turns: Rotation about the pattern's centre, in full turns.
        shift: Translation of the whole task: a number an axis, (input_dim,).
        noise: Standard deviation of normal noise on the inputs, added after labelling.
    """

    pattern: Pattern
    turns: float
    shift: Floats
    noise: float


class PlaneFamily:
    """A family whose tasks are patterns in a plane.

    Args:
        name: The task_family that it answers to.
        patterns: What a task may look like; the first one where it is left open.
    """

    regression = False
    pooled = False
    per_class = False
    params: ClassVar = ("rotation_angle", "translation", "noise")

    def __init__(self, name: str, patterns: Mapping[str, Pattern]) -> None:
        self.name = name
        self._patterns = patterns
        self._params = self.params + (("pattern",) if len(patterns) > 1 else ())
        self._place = lru_cache(maxsize=4096)(self._place_anew)

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task cannot be drawn."""
        problems = Problems(config, self._params)
        problems.number("rotation_angle")
        problems.numbers("translation", config.input_dim)
        problems.number("noise", low=0.0)
        problems.choice("pattern", tuple(self._patterns))
        problems.done()

    def draw(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """A fresh episode, sets balanced over classes as far as they divide."""
        placed = self._place(config.task_id, config.input_dim, frozen_params(config))
        num_classes = config.num_classes
        labels = np.concatenate(
            (
                balanced_labels(rng, config.support_size, num_classes),
                balanced_labels(rng, config.query_size, num_classes),
            )
        )
        x = _points(placed, labels, num_classes, rng)
        cut = config.support_size
        return Episode(x[:cut], labels[:cut], x[cut:], labels[cut:])

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """A plane has two."""
        return 2

    def input_shape(self, config: TaskConfig) -> tuple[int, ...]:
        """Flat inputs."""
        return (config.input_dim,)

    def digests(self, config: TaskConfig) -> dict[str, str]:
        """Synthetic tasks draw from no data set."""
        return {}

    def _place_anew(self, task_id: str, input_dim: int, frozen: FrozenParams) -> Placed:
        params = dict(frozen)
        pattern = self._patterns[params.get("pattern", next(iter(self._patterns)))]
        chance = TaskRandom(task_id)
        # Drawn whether or not they are given: a given one must not change the others.
        turns = chance.uniform(-pattern.max_turn, pattern.max_turn)
        shift = np.zeros(input_dim)
        for axis in range(min(2, input_dim)):
            shift[axis] = chance.uniform(-MAX_SHIFT, MAX_SHIFT)
        if "rotation_angle" in params:
            turns = float(params["rotation_angle"]) / (2.0 * math.pi)
        if "translation" in params:
            shift[:] = params["translation"]
        return Placed(
            pattern=pattern,
            turns=turns,
            shift=shift,
            noise=float(params.get("noise", 0.0)),
        )


def _points(
    placed: Placed,
    labels: Labels,
    num_classes: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """One point for each label, (len(labels), input_dim)."""
    count, input_dim = len(labels), len(placed.shift)
    u, v = rng.random((2, count))
    x = np.empty((count, input_dim))
    if input_dim == 1:
        q = placed.pattern.line(labels, num_classes, u, v)
        side = 2.0 * q - 1.0
        # A line has two directions: the rotation picks the nearer one.
        way = SCALE if math.cos(2.0 * math.pi * placed.turns) >= 0.0 else -SCALE
        x[:, 0] = np.copysign(way * _radius(np.abs(side)), way * side)
    else:
        p, a = placed.pattern.square(labels, num_classes, u, v)
        radius = SCALE * _radius(p)
        angle = (2.0 * math.pi) * (a + placed.turns)
        x[:, 0] = radius * np.cos(angle)
        x[:, 1] = radius * np.sin(angle)
        if input_dim > 2:
            x[:, 2:] = SCALE * rng.standard_normal((count, input_dim - 2))
    x += placed.shift
    if placed.noise:
        x += placed.noise * rng.standard_normal(x.shape)
    return x.astype(np.float32)


def _radius(p: Floats) -> Floats:
    """Quantile p of the distance of a standard normal point of the plane from 0."""
    return np.sqrt(-2.0 * np.log1p(-np.minimum(p, _LAST_QUANTILE)))
