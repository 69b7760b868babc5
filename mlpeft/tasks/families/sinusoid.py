"""Sinusoid regression: y = amplitude sin(z + phase), z = x . u.

Amplitude uniform in [0.1, 5], phase in [0, 2 pi], x uniform in [-5, 5], as in section 6
of the Reptile paper (arXiv 1803.02999), after Finn et al. 2017 (arXiv 1703.03400, phase
in [0, pi] there). With several input dimensions every axis is uniform in [-5, 5] and u
is the unit vector (1, ..., 1) / sqrt(input_dim), the same for all tasks. With several
outputs each has its own amplitude and phase.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlpeft.tasks.check import Problems
from mlpeft.tasks.episode import Episode, frozen_params
from mlpeft.tasks.sampling import TaskRandom

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.tasks.episode import FrozenParams, TaskConfig

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, 2.0 * math.pi)
REACH = 5.0

Wave = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Amplitudes and phases, (outputs,) each."""


class Sinusoid:
    """`sinusoid`; task_params: amplitude, phase (a number, or one for each output)."""

    name = "sinusoid"
    regression = True
    pooled = False
    per_class = False

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task is invalid."""
        problems = Problems(config, ("amplitude", "phase"), min_classes=1)
        problems.check_numbers("amplitude", config.num_classes)
        problems.check_numbers("phase", config.num_classes)
        problems.raise_any()

    def sample(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """Sample an episode: x (n, input_dim), y (n, num_classes), both float32."""
        amplitude, phase = _wave(
            config.task_id, config.num_classes, frozen_params(config)
        )
        count = config.support_size + config.query_size
        x = rng.uniform(-REACH, REACH, (count, config.input_dim)).astype(np.float32)
        # Computed from the float32 inputs, so that y is exactly a function of x.
        z = x.sum(axis=1, keepdims=True, dtype=np.float64) / math.sqrt(config.input_dim)
        y = (amplitude * np.sin(z + phase)).astype(np.float32)
        cut = config.support_size
        return Episode(x[:cut], y[:cut], x[cut:], y[cut:])

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """One, as in the papers."""
        return 1

    def input_shape(self, config: TaskConfig) -> tuple[int, ...]:
        """Flat inputs."""
        return (config.input_dim,)

    def digests(self, config: TaskConfig) -> dict[str, str]:
        """Empty: synthetic tasks have no data set."""
        return {}


@lru_cache(maxsize=4096)
def _wave(task_id: str, outputs: int, frozen: FrozenParams) -> Wave:
    params = dict(frozen)
    rng = TaskRandom(task_id)
    pairs = [(rng.uniform(*AMPLITUDE), rng.uniform(*PHASE)) for _ in range(outputs)]
    amplitude, phase = np.array(pairs).T.copy()
    amplitude[:] = params.get("amplitude", amplitude)
    phase[:] = params.get("phase", phase)
    return amplitude, phase
