"""Schedules of which the seed decides everything: the cluster, its policy, the faults.

    check(1234)                      # replays schedule 1234

So that a few thousand seeds meet what one set of faults would not: one worker or five,
sums as updates come or at the end, short leases, liars beside a thread that never comes
back, no backups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mlpeft.cluster.sim.fault_injector import Faults
from mlpeft.cluster.sim.simulation import PATIENT, Simulation
from mlpeft.cluster.sim.toy import Vector, serial_result

MOST_WORKERS = 5
MOST_ROUNDS = 5
MOST_SHARDS = 4
HORIZON_S = 15.0
"""Short, so that faults meet the few rounds."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A simulation, and the theta that it must end in."""

    simulation: Simulation
    expected: Vector


def any_schedule(seed: int) -> Schedule:
    """The schedule of a seed."""
    rng = np.random.default_rng([seed, 1])  # not the stream of the faults themselves

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    workers = int(rng.integers(1, MOST_WORKERS + 1))
    rounds = int(rng.integers(2, MOST_ROUNDS + 1))
    shards = int(rng.integers(1, MOST_SHARDS + 1))
    checks_norms = chance(0.1)
    if checks_norms:  # it needs a history
        rounds, shards = 8, 4
    # Somebody must be honest and compute, or nothing ends; a second opinion needs two.
    others = max(0, workers - (2 if checks_norms else 1))
    liars = int(rng.integers(0, others + 1)) if chance(0.3) else 0
    stuck = int(rng.integers(0, others - liars + 1)) if chance(0.3) else 0
    policy = replace(
        PATIENT,
        ordered_sum=chance(0.5),
        room_bytes=0 if chance(0.5) else PATIENT.room_bytes,
        backup_factor=0.0 if chance(0.3) else PATIENT.backup_factor,
        lease_s=float(rng.uniform(1.0, 20.0)),
        min_workers=min(2, workers) if chance(0.2) else 1,
        norm_factor=2.0 if checks_norms else 0.0,
    )
    faults = Faults(
        delay_s=float(rng.choice([0.001, 0.05, 0.3])),
        lie=float(rng.choice([0.0, 0.1, 0.3])),
        exaggerate=0.1 if checks_norms else 0.0,
        liars=liars,
        stuck=stuck,
        drops=int(rng.integers(0, 8)),
        crashes=int(rng.integers(0, 5)),
        restarts=int(rng.integers(0, 3)),
        horizon_s=HORIZON_S,
    )
    simulation = Simulation(
        seed,
        workers=workers,
        rounds=rounds,
        shards=shards,
        faults=faults,
        policy=policy,
    )
    return Schedule(simulation, serial_result(rounds, shards=shards))


def check(seed: int) -> None:
    """Run the schedule of a seed.

    Raises:
        AssertionError: If it does not end, breaks an invariant or ends in other bytes;
            naming the seed.
    """
    schedule = any_schedule(seed)
    again = f"replay with mlpeft.cluster.sim.check({seed})"
    try:
        theta = schedule.simulation.run()
    except Exception as error:
        raise AssertionError(f"{again}: {error!r}") from error
    if theta.tobytes() != schedule.expected.tobytes():
        raise AssertionError(f"{again}: theta differs from the serial run's")
