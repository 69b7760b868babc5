"""Where every random number comes from.

All randomness of a run is `SeedSequence([run_seed, purpose, *position])`: the same on
one process and on a cluster, whoever computes a task and in whatever order. No global
generator is read or changed.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream of numbers is for. The values are part of a run's identity."""

    INIT = 0
    TRAIN = 1
    VALIDATE = 2
    TEST = 3
    TASK = 4
    BATCH = 5
    SAMPLE = 6
    BASELINE = 7


def sequence(run_seed: int, purpose: Purpose, *position: int) -> np.random.SeedSequence:
    """The seed sequence of one purpose at one position (round, task index, ...)."""
    return np.random.SeedSequence([run_seed, int(purpose), *position])


def generator(run_seed: int, purpose: Purpose, *position: int) -> np.random.Generator:
    """A fresh generator for one purpose at one position."""
    return np.random.Generator(np.random.PCG64(sequence(run_seed, purpose, *position)))


def seed_word(run_seed: int, purpose: Purpose, *position: int) -> int:
    """One 64-bit word for a position: the episode seed that travels to a worker."""
    state = sequence(run_seed, purpose, *position).generate_state(1, np.uint64)
    return int(state[0])
