"""Schedules of which the seed decides everything: the cluster, its policy, the faults.

    check(1234)                      # replays schedule 1234

So that a few thousand seeds meet what one set of faults would not: one worker or five,
sums as updates come or at the end, short leases, liars beside a thread that never comes
back, no backups, slow lines, several workers on a machine, audits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mlpeft.cluster.sim.fault_injector import CALM, Faults
from mlpeft.cluster.sim.simulation import PATIENT, Simulation
from mlpeft.cluster.sim.toy import Vector, replayed, serial_result

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
    if rng.random() < 0.1:
        return _believable_lies(seed, rng)
    return _anything(seed, rng)


def _believable_lies(seed: int, rng: np.random.Generator) -> Schedule:
    """Lies that only an audit of every shard finds: from one identity of several."""
    conspiracy = bool(rng.random() < 0.5)
    workers, rounds, shards = 5, int(rng.integers(2, MOST_ROUNDS + 1)), MOST_SHARDS
    faults = replace(
        CALM,
        delay_s=float(rng.choice([0.001, 0.3])),
        liars=2 if conspiracy else 1,
        conspiracy=conspiracy,
        plausible=True,
        bytes_per_s=_bytes_per_s(rng),
    )
    policy = replace(
        PATIENT,
        audit=1.0,
        ordered_sum=bool(rng.random() < 0.5),
        room_bytes=0 if rng.random() < 0.5 else PATIENT.room_bytes,
        lease_s=600.0,
        quarantine_s=600.0,
        min_workers=workers,
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


def _bytes_per_s(rng: np.random.Generator) -> float:
    """What lines carry: mostly all at once, else theta takes 0.1 or 2 seconds."""
    return float(rng.choice([np.inf, 42e6, 2.1e6], p=[0.8, 0.1, 0.1]))


def _anything(seed: int, rng: np.random.Generator) -> Schedule:
    """Whatever can go wrong with updates that the checks of one by itself find."""

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
        audit=float(rng.choice([0.0, 0.2, 1.0], p=[0.5, 0.25, 0.25])),
        audit_seed=str(seed),
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
        machines=int(rng.integers(1, workers + 1)) if chance(0.3) else 0,
        bytes_per_s=_bytes_per_s(rng),
        absences=int(rng.integers(1, 6)) if chance(0.3) else 0,
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


def loose_schedule(seed: int) -> tuple[Simulation, int]:
    """A schedule of rounds that need not wait, and the shards of each round."""
    rng = np.random.default_rng([seed, 2])
    buffered = bool(rng.random() < 0.5)
    need = int(rng.integers(1, MOST_SHARDS + 1))
    shards = 2 * need if buffered else int(rng.integers(need, MOST_SHARDS + 2))
    workers = int(rng.integers(1, MOST_WORKERS + 1))
    stragglers = int(rng.integers(0, 2)) if workers > 1 else 0
    policy = replace(
        PATIENT,
        ordered_sum=bool(rng.random() < 0.5),
        room_bytes=0 if rng.random() < 0.5 else PATIENT.room_bytes,
        backup_factor=0.0 if rng.random() < 0.3 else PATIENT.backup_factor,
        # A straggler must be able to finish.
        lease_s=float(rng.uniform(1.0, 20.0)) if not stragglers else 120.0,
        audit=float(rng.choice([0.0, 0.3], p=[0.8, 0.2])),
        audit_seed=str(seed),
        grace_s=0.0 if buffered else float(rng.choice([0.0, 0.2, 2.0])),
        max_staleness=int(rng.integers(1 if buffered else 0, 5)),
        late_counts=buffered,
    )
    faults = Faults(
        delay_s=float(rng.choice([0.001, 0.05, 0.3])),
        lie=float(rng.choice([0.0, 0.1, 0.3])),
        drops=int(rng.integers(0, 8)),
        crashes=int(rng.integers(0, 5)),
        restarts=int(rng.integers(0, 3)),
        stragglers=stragglers,
        horizon_s=HORIZON_S,
        bytes_per_s=_bytes_per_s(rng),
    )
    simulation = Simulation(
        seed,
        workers=workers,
        rounds=int(rng.integers(3, 2 * MOST_ROUNDS)),
        shards=shards,
        faults=faults,
        policy=policy,
        need=need,
    )
    return simulation, shards


def check_loose(seed: int) -> Simulation:
    """Run a schedule of rounds that need not wait, and compute it again; the run.

    Raises:
        AssertionError: If it does not end, breaks an invariant, or what counted leads
            to other bytes; naming the seed.
    """
    simulation, shards = loose_schedule(seed)
    again = f"replay with mlpeft.cluster.sim.check_loose({seed})"
    try:
        theta = simulation.run()
    except Exception as error:
        raise AssertionError(f"{again}: {error!r}") from error
    if theta.tobytes() != replayed(simulation.accepted, shards).tobytes():
        raise AssertionError(f"{again}: theta differs from the replay's")
    return simulation


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
