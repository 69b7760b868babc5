"""What is struck, when and for how long: from a seed, before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np


class Fault(StrEnum):
    """What happens to a part of the training."""

    KILL_WORKER = "worker killed"
    """SIGKILL; another is started in its place."""
    FREEZE_WORKER = "worker frozen"
    """SIGSTOP, later SIGCONT."""
    SLOW_WORKER = "worker slowed"
    """Stopped most of the time, in short stretches."""
    RESTART_WORKER = "worker restarted"
    """SIGTERM: it finishes its shard; another is started in its place."""
    KILL_COORDINATOR = "coordinator killed"
    """SIGKILL, later the same command again."""
    FREEZE_COORDINATOR = "coordinator frozen"
    """SIGSTOP, later SIGCONT."""
    RESTART_COORDINATOR = "coordinator restarted"
    """SIGTERM: it saves and ends; then the same command again."""
    CUT_NETWORK = "network cut"
    """All connections are reset, and new ones refused for a while."""
    FILL_DISK = "disk filled"
    """No file of the coordinator can grow for a while."""


ON_A_WORKER: Final = frozenset(
    {
        Fault.KILL_WORKER,
        Fault.FREEZE_WORKER,
        Fault.SLOW_WORKER,
        Fault.RESTART_WORKER,
    }
)
GAP_S: Final = (1.0, 4.0)
"""Seconds from one fault to the next, least and most."""
LASTS_S: Final[dict[Fault, tuple[float, float]]] = {
    Fault.KILL_WORKER: (0.0, 2.0),
    Fault.FREEZE_WORKER: (1.0, 8.0),
    Fault.SLOW_WORKER: (3.0, 8.0),
    Fault.RESTART_WORKER: (0.0, 2.0),
    Fault.KILL_COORDINATOR: (0.0, 1.5),
    Fault.FREEZE_COORDINATOR: (0.5, 6.0),
    Fault.RESTART_COORDINATOR: (0.0, 1.5),
    Fault.CUT_NETWORK: (0.2, 5.0),
    Fault.FILL_DISK: (2.0, 8.0),
}
"""Seconds that it lasts, or until the process is started again; least and most."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault.

    Attributes:
        at_s: Seconds from the first round.
        fault: What happens.
        worker: To which worker; 0 where it is not about one.
        lasts_s: How long.
    """

    at_s: float
    fault: Fault
    worker: int
    lasts_s: float


def schedule(
    seed: int, seconds: float, workers: int, faults: frozenset[Fault]
) -> tuple[Strike, ...]:
    """The strikes of a seed, in the order of their times.

    Every kind comes once before any comes twice.

    Args:
        seed: Decides all.
        seconds: Times lie before this.
        workers: How many there are.
        faults: The kinds that are possible here.
    """
    rng = np.random.default_rng(seed)
    kinds = [fault for fault in Fault if fault in faults]
    strikes: list[Strike] = []
    waiting: list[Fault] = []
    at_s = float(rng.uniform(*GAP_S))
    while at_s < seconds:
        if not waiting:
            waiting = [kinds[int(place)] for place in rng.permutation(len(kinds))]
        fault = waiting.pop()
        worker = int(rng.integers(workers))
        lasts_s = float(rng.uniform(*LASTS_S[fault]))
        strikes.append(
            Strike(at_s, fault, worker if fault in ON_A_WORKER else 0, lasts_s)
        )
        at_s += float(rng.uniform(*GAP_S))
    return tuple(strikes)
