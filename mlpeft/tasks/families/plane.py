"""Classification in a plane: the base of the linear and the nonlinear family.

The class of a point depends on its first two coordinates only, and that plane is the
same for all tasks; further coordinates are normal noise. Tasks differ in the rotation
and the translation of the pattern. So there is something to learn across tasks: which
directions matter, the shape of the classes, and that they meet near the origin.

A pattern is defined on the unit square of (radius quantile, turn): with p and a uniform
in [0, 1), the point SCALE * sqrt(-2 ln(1 - p)) * (cos 2 pi a, sin 2 pi a) is normal. A
pattern assigns a part of the square to each class, all parts of equal area. Points of a
class are sampled there directly, so sets are balanced exactly, nothing is rejected, and
the inputs of a task are normal whatever the pattern. With one input dimension the
pattern is defined on the quantile q of a line instead.
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
"""The default translation is uniform in [-MAX_SHIFT, MAX_SHIFT] along each axis."""
_LAST_QUANTILE = 1.0 - 1e-9


@dataclass(frozen=True, slots=True)
class Pattern:
    """The part of the square, or of the line, of each class.

    Attributes:
        square: (label, num_classes, u, v) -> (p, a), for u and v uniform in [0, 1).
        line: (label, num_classes, u, v) -> q.
        max_turn: The default rotation is uniform in [-max_turn, max_turn] full turns.
            So related tasks share a direction, but each still needs adaptation.
    """

    square: Callable[[Labels, int, Floats, Floats], tuple[Floats, Floats]]
    line: Callable[[Labels, int, Floats, Floats], Floats]
    max_turn: float = 1.0 / 6.0


@dataclass(frozen=True, slots=True)
class PlaneTask:
    """One task: a pattern with its rotation, translation and noise.

    Attributes:
        pattern: The shape of the classes.
        turns: Rotation about the pattern's centre, in full turns.
        shift: Translation of the whole task, (input_dim,).
        noise: Standard deviation of normal noise on the inputs, added after labelling.
    """

    pattern: Pattern
    turns: float
    shift: Floats
    noise: float


class PlaneFamily:
    """A family whose tasks are patterns in a plane.

    Args:
        name: Its task_family.
        patterns: The patterns of its tasks; the first one is the default.
    """

    regression = False
    pooled = False
    per_class = False
    params: ClassVar = ("rotation_angle", "translation", "noise")

    def __init__(self, name: str, patterns: Mapping[str, Pattern]) -> None:
        self.name = name
        self._patterns = patterns
        self._params = self.params + (("pattern",) if len(patterns) > 1 else ())
        self._task = lru_cache(maxsize=4096)(self._task_uncached)

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task is invalid."""
        problems = Problems(config, self._params)
        problems.check_number("rotation_angle")
        problems.check_numbers("translation", config.input_dim)
        problems.check_number("noise", low=0.0)
        problems.check_choice("pattern", tuple(self._patterns))
        problems.raise_any()

    def sample(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """Sample an episode whose sets are balanced over classes."""
        task = self._task(config.task_id, config.input_dim, frozen_params(config))
        num_classes = config.num_classes
        labels = np.concatenate(
            (
                balanced_labels(rng, config.support_size, num_classes),
                balanced_labels(rng, config.query_size, num_classes),
            )
        )
        x = _sample_points(task, labels, num_classes, rng)
        cut = config.support_size
        return Episode(x[:cut], labels[:cut], x[cut:], labels[cut:])

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """A plane has two."""
        return 2

    def input_shape(self, config: TaskConfig) -> tuple[int, ...]:
        """Flat inputs."""
        return (config.input_dim,)

    def digests(self, config: TaskConfig) -> dict[str, str]:
        """Empty: synthetic tasks have no data set."""
        return {}

    def _task_uncached(
        self, task_id: str, input_dim: int, frozen: FrozenParams
    ) -> PlaneTask:
        params = dict(frozen)
        pattern = self._patterns[params.get("pattern", next(iter(self._patterns)))]
        rng = TaskRandom(task_id)
        # Sampled even if task_params has them: one must not change the others.
        turns = rng.uniform(-pattern.max_turn, pattern.max_turn)
        shift = np.zeros(input_dim)
        for axis in range(min(2, input_dim)):
            shift[axis] = rng.uniform(-MAX_SHIFT, MAX_SHIFT)
        if "rotation_angle" in params:
            turns = float(params["rotation_angle"]) / (2.0 * math.pi)
        if "translation" in params:
            shift[:] = params["translation"]
        return PlaneTask(
            pattern=pattern,
            turns=turns,
            shift=shift,
            noise=float(params.get("noise", 0.0)),
        )


def _sample_points(
    task: PlaneTask,
    labels: Labels,
    num_classes: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """One point for each label, (len(labels), input_dim)."""
    count, input_dim = len(labels), len(task.shift)
    u, v = rng.random((2, count))
    x = np.empty((count, input_dim))
    if input_dim == 1:
        q = task.pattern.line(labels, num_classes, u, v)
        side = 2.0 * q - 1.0
        # A line has two directions: the rotation selects the nearer one.
        scale = SCALE if math.cos(2.0 * math.pi * task.turns) >= 0.0 else -SCALE
        x[:, 0] = np.copysign(scale * _radius(np.abs(side)), scale * side)
    else:
        p, a = task.pattern.square(labels, num_classes, u, v)
        radius = SCALE * _radius(p)
        angle = (2.0 * math.pi) * (a + task.turns)
        x[:, 0] = radius * np.cos(angle)
        x[:, 1] = radius * np.sin(angle)
        if input_dim > 2:
            x[:, 2:] = SCALE * rng.standard_normal((count, input_dim - 2))
    x += task.shift
    if task.noise:
        x += task.noise * rng.standard_normal(x.shape)
    return x.astype(np.float32)


def _radius(p: Floats) -> Floats:
    """Quantile p of the distance from 0 of a standard normal point in the plane."""
    return np.sqrt(-2.0 * np.log1p(-np.minimum(p, _LAST_QUANTILE)))
