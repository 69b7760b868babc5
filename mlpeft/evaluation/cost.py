"""What it costs to adapt to a task: time and memory of an evaluation."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import mlx.core as mx

if TYPE_CHECKING:
    from collections.abc import Callable


class CostMeter:
    """Measures an evaluation as its `progress`.

    Args:
        progress: Called as the evaluation's own.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        progress: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._progress = progress
        self._clock = clock
        self._done = 0
        self._at = clock()
        self._seconds: list[float] = []
        mx.reset_peak_memory()

    def __call__(self, done: int) -> None:
        """Note the number of episodes done."""
        now = self._clock()
        self._seconds.append((now - self._at) / max(1, done - self._done))
        self._done, self._at = done, now
        self._progress(done)

    @property
    def seconds(self) -> float | None:
        """Median seconds to adapt to an episode and score it.

        Over groups of episodes without the first, which compiles; None for a single
        group.
        """
        return statistics.median(self._seconds[1:]) if self._seconds[1:] else None

    @property
    def peak_bytes(self) -> int:
        """The most memory that MLX's arrays took at a time."""
        return int(mx.get_peak_memory())

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain values, for JSON."""
        return {"seconds_per_episode": self.seconds, "peak_bytes": self.peak_bytes}
