"""All that is random in a simulation, from one seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlpeft.work import ShardUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong, and how often.

    Attributes:
        delay_s: Mean of the exponential delay of a message; reorders them, too.
        duplicate: Chance that a message is delivered twice.
        lie: Chance that an update comes back spoiled.
        exaggerate: Chance that an update comes back a million times as large, once the
            coordinator has seen enough to tell.
        fail: Chance that a worker cannot compute a shard.
        slow: Chance that a task takes thirty times as long.
        liars: Workers of which every update comes back spoiled.
        conspiracy: Whether the liars are processes of one identity that all tell the
            same lie: a million times as large, once the coordinator can tell.
        plausible: Whether the liars' updates pass all checks of one update by itself.
        machines: Identities that the workers are spread over; 0: each has its own.
        drops: Connections that break, at random times.
        crashes: Workers that die in the middle of something, and are started again.
        freezes: Workers that stand still for a while.
        hangs: Computing threads that stand still for a while; heartbeats go on.
        even: Whether tasks take about as long as each other.
        stragglers: Workers of which every task takes ten times as long.
        stuck: Workers, counted from the last, whose computing thread stops for ever at
            a random time; only their process's end frees them.
        drains: Workers that are told to finish and end, and are started again.
        pauses: Times that an operator lets nothing begin for a while.
        restarts: Times that the coordinator dies and starts again.
        absences: Times that a worker's machine is needed otherwise for a while.
        horizon_s: All these times lie before this one.
        bytes_per_s: What a line carries in each direction.
        payload_bytes: Size of theta, and of each update, for the lines.
    """

    delay_s: float = 0.05
    duplicate: float = 0.1
    lie: float = 0.1
    exaggerate: float = 0.0
    fail: float = 0.05
    slow: float = 0.03
    liars: int = 0
    conspiracy: bool = False
    plausible: bool = False
    machines: int = 0
    drops: int = 4
    crashes: int = 2
    freezes: int = 2
    hangs: int = 1
    even: bool = False
    stragglers: int = 0
    stuck: int = 0
    drains: int = 2
    pauses: int = 1
    restarts: int = 1
    absences: int = 0
    horizon_s: float = 20.0
    bytes_per_s: float = math.inf
    payload_bytes: int = 4_200_000


CALM = Faults(
    lie=0.0,
    fail=0.0,
    slow=0.0,
    drops=0,
    crashes=0,
    freezes=0,
    hangs=0,
    drains=0,
    pauses=0,
    restarts=0,
)
"""Nobody is away or hangs, so that two honest identities can be asked at any time."""
QUIET = replace(CALM, delay_s=0.001, duplicate=0.0, even=True)
"""Nothing is left to chance but the order of messages: for measuring."""


class FaultInjector:
    """Draws what happens.

    Args:
        seed: Decides everything.
        faults: How often what goes wrong.
    """

    def __init__(self, seed: int, faults: Faults) -> None:
        self.faults = faults
        self._rng = np.random.default_rng(seed)
        self._exaggerated = 0

    def happens(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self._rng.random() < probability)

    def jitter(self) -> float:
        """A number in [0, 1)."""
        return float(self._rng.random())

    def between(self, low: float, high: float) -> float:
        """A number from a range."""
        return float(self._rng.uniform(low, high))

    def below(self, number: int) -> int:
        """An integer in [0, number)."""
        return int(self._rng.integers(number))

    def delay_s(self) -> float:
        """How long a message is under way."""
        return float(self._rng.exponential(self.faults.delay_s))

    def task_s(self, *, straggler: bool = False) -> float:
        """How long a task takes, on a worker that straggles or does not."""
        slowness = 30.0 if self.happens(self.faults.slow) else 1.0
        if straggler:
            slowness *= 10.0
        if self.faults.even:
            return slowness * self.between(0.3, 0.4)
        return slowness * float(self._rng.exponential(0.35))

    def as_sent(
        self, update: ShardUpdate, *, liar: bool, can_tell: bool
    ) -> ShardUpdate:
        """The update, or what a worker makes of it that lies.

        Args:
            update: What was computed.
            liar: Whether this worker always lies.
            can_tell: Whether the coordinator has seen enough to know an outlier.
        """
        if liar and self.faults.plausible:
            return replace(update, total={"w": update.total["w"] * np.float32(10)})
        if liar and self.faults.conspiracy:
            lie = {"w": update.total["w"] * np.float32(1e6)}
            return replace(update, total=lie) if can_tell else update
        if liar or self.happens(self.faults.lie):
            return self._spoil(update)
        if can_tell and self.happens(self.faults.exaggerate):  # no two alike
            # By chance they might be within what counts as the same finding.
            factor = np.float32(1e6 * 1.1 ** (self._exaggerated % 400))
            self._exaggerated += 1
            return replace(update, total={"w": update.total["w"] * factor})
        return update

    def _spoil(self, update: ShardUpdate) -> ShardUpdate:
        """The update with something wrong that the checks can see."""
        leaf = update.total["w"]
        match self.below(4):
            case 0:
                nan = np.where(np.arange(leaf.size) == 2, np.float32("nan"), leaf)
                return replace(update, total={"w": nan})
            case 1:
                return replace(update, total={"w": leaf[:-1]})
            case 2:
                return replace(update, total={"w": leaf.astype(np.float64)})
            case _:
                return replace(update, count=update.count + 1)
