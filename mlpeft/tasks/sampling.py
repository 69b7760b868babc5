"""Random numbers of tasks, and balanced labels.

What a task *is* (its boundary, its classes) follows from its `task_id` alone, through
SHA-256, so it does not depend on NumPy's version or on the process. What an episode
*contains* comes from a NumPy generator.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeVar

    import numpy.typing as npt

    T = TypeVar("T")


class TaskRandom:
    """A random stream that a task_id determines on every machine.

    Block k of the stream is SHA-256(task_id, k), read as four 64-bit words.
    """

    def __init__(self, task_id: str) -> None:
        self._words = _words(task_id)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """The next number, uniform in [low, high)."""
        # 53 bits: the precision of a double in [0, 1).
        return low + (high - low) * ((next(self._words) >> 11) * 2.0**-53)

    def below(self, count: int) -> int:
        """The next number, uniform in 0 .. count - 1 (biased by less than 2**-50)."""
        return next(self._words) % count

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items in a random order (Fisher and Yates)."""
        rest = list(items)
        for position in range(count):
            other = position + self.below(len(rest) - position)
            rest[position], rest[other] = rest[other], rest[position]
        return rest[:count]


def balanced_labels(
    rng: np.random.Generator, count: int, num_classes: int
) -> npt.NDArray[np.int32]:
    """Labels that cycle through the classes: every prefix is balanced.

    The order of the classes is random, so that no class always has the extra examples.

    Returns:
        (count,) int32.
    """
    order = rng.permutation(num_classes).astype(np.int32)
    return order[np.arange(count) % num_classes]


def _words(task_id: str) -> Iterator[int]:
    block = 0
    while True:
        digest = hashlib.sha256(f"{task_id}\0{block}".encode()).digest()
        for start in range(0, 32, 8):
            yield int.from_bytes(digest[start : start + 8], "big")
        block += 1
