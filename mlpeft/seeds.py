"""The seeds of all random numbers.

All randomness of a run is `SeedSequence([run_seed, purpose, *position])`: the same in
one process and on a cluster, whichever worker computes a task and in whatever order. No
global generator is read or changed.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """The use of a random stream. The values are part of a run's identity."""

    INIT = 0
    TRAIN = 1
    VALIDATE = 2
    TEST = 3
    TASK = 4
    BATCH = 5
    SAMPLE = 6
    BASELINE = 7
    COMPRESS = 8
    COMPRESS_STEP = 9


def sequence(run_seed: int, purpose: Purpose, *position: int) -> np.random.SeedSequence:
    """The seed sequence of one purpose at one position (round, task index, ...)."""
    return np.random.SeedSequence([run_seed, int(purpose), *position])


def generator(run_seed: int, purpose: Purpose, *position: int) -> np.random.Generator:
    """A new generator for one purpose at one position."""
    return np.random.Generator(np.random.PCG64(sequence(run_seed, purpose, *position)))


def seed_word(run_seed: int, purpose: Purpose, *position: int) -> int:
    """A 64-bit seed for one position, such as the episode seed sent to a worker."""
    state = sequence(run_seed, purpose, *position).generate_state(1, np.uint64)
    return int(state[0])
