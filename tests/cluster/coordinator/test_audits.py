"""Audits: two identities compute a shard, and who differs is found out."""

from dataclasses import replace

import numpy as np
import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.agreement import are_alike, nearly_same, same_bits
from mlpeft.cluster.coordinator.audits import MOST_TRIES, audited
from mlpeft.cluster.messages import Announce
from mlpeft.cluster.sim import (
    Faults,
    Simulation,
    serial_result,
    toy_shards,
    toy_update,
)
from mlpeft.cluster.sim.schedules import CALM
from mlpeft.cluster.sim.simulation import PATIENT
from mlpeft.work import Displacement, Kind
from tests.cluster.builders import META, THETA, Machine, granted, key, policy_with

HONEST = toy_update(THETA, toy_shards(0, 1)[0])
LIE = replace(HONEST, total={"w": HONEST.total["w"] * np.float32(10)})
ROUNDED = replace(HONEST, total={"w": np.nextafter(HONEST.total["w"], np.float32(9))})


def machine(*names, devices=("cpu",) * 9, **policy):
    made = Machine(policy_with(audit=1.0, **policy))
    for name, device in zip(names, devices, strict=False):
        joined = cm.WorkerJoined(
            p.WorkerId(f"{name}-id"), name, f"{name}-process", f"{name}-machine", 1
        )
        made(replace(joined, device=device))
    made.open(shards=1)
    return made


def audits(made):
    return made.state.status(made.now).audits


def completed(commands):
    return [each for each in commands if isinstance(each, cm.CompleteRound)]


def texts(commands):
    return [each.text for each in commands if isinstance(each, Announce)]


def test_a_shard_counts_once_a_second_identity_found_the_same():
    made = machine("ada", "bob")
    first = made.update("ada", 0)
    assert granted(first) == [("bob-id", key(0, 2))]
    assert not completed(first)
    assert completed(made.update("bob", 0, attempt=2))
    assert audits(made) == {"agreed": 1, "differed": 0, "skipped": 0}


def test_a_third_decides_between_two_and_the_liar_is_quarantined_at_once():
    made = machine("eve", "ada", "bob")
    made.update("eve", 0, update=LIE)
    differ = made.update("ada", 0, attempt=2)
    assert any("eve and ada found different updates" in text for text in texts(differ))
    assert granted(differ) == [("bob-id", key(0, 3))]
    done = made.update("bob", 0, attempt=3)
    result = completed(done)[0].result
    assert np.array_equal(result.totals.totals[0]["w"], HONEST.total["w"])
    assert any("worker eve is quarantined" in text for text in texts(done))
    eve = made.state.status(made.now).workers[0]
    assert "unlike those of ada and bob" in eve.quarantined
    assert audits(made)["differed"] == 1


def test_no_success_that_nobody_compared_ends_that_quarantine():
    made = machine("eve", "ada", "bob")
    for name, attempt, update in (("eve", 1, LIE), ("ada", 2, HONEST)):
        made.update(name, 0, attempt=attempt, update=update)
    made.update("bob", 0, attempt=3)
    state = made.state._state
    assert not state.quarantine.succeeded("eve-process", "eve-machine")
    assert state.quarantine.reason("eve-machine")
    assert state.quarantine.released(made.now + 1e6) == ["eve-machine"]


def test_bits_are_compared_among_alike_devices_and_norms_among_others():
    for devices, agree in ((("cpu", "cpu"), False), (("cpu", "gpu"), True)):
        made = machine("ada", "bob", "cyd", devices=(*devices, "cpu"))
        made.update("ada", 0)
        commands = made.update("bob", 0, attempt=2, update=ROUNDED)
        assert bool(completed(commands)) == agree


def test_who_is_off_by_a_little_is_told_and_not_quarantined():
    """Other libraries on the same kind of device: no lie."""
    made = machine("ada", "bob", "cyd")
    made.update("ada", 0, update=ROUNDED)
    made.update("bob", 0, attempt=2)
    done = made.update("cyd", 0, attempt=3)
    assert any("by a little" in text for text in texts(done))
    assert not made.state.status(made.now).workers[0].quarantined


def test_without_a_second_identity_the_first_update_counts_and_that_is_told_once():
    made = machine("ada")
    done = made.update("ada", 0)
    assert completed(done)
    assert any("no second identity" in text for text in texts(done))
    assert audits(made)["skipped"] == 1


def test_a_second_process_of_the_same_identity_is_not_asked():
    made = machine("ada")
    made.join("second", identity="ada-machine")
    assert completed(made.update("ada", 0))


def test_two_that_differ_while_nobody_else_is_there_hold_nothing_up():
    made = machine("eve", "ada")
    made.update("eve", 0, update=LIE)
    done = made.update("ada", 0, attempt=2)
    assert completed(done)
    assert any("Connect a third machine" in text for text in texts(done))


def test_an_audit_waits_neither_for_who_leaves_nor_for_who_fails_again_and_again():
    made = machine("ada", "bob")
    made.update("ada", 0)
    assert completed(made(cm.WorkerLeft(p.WorkerId("bob-id"), "gone")))
    made = machine("ada", "bob", max_attempts=100)
    made.update("ada", 0)
    for attempt in range(2, 2 + MOST_TRIES):
        returned = p.LeaseReturn(key(0, attempt), failed=True, reason="no memory")
        commands = made(cm.MessageReceived(p.WorkerId("bob-id"), returned))
    assert completed(commands)


def test_the_other_leases_of_who_was_convicted_are_taken_back():
    made = Machine(policy_with(audit=0.5, audit_seed="129"))
    for name in ("eve", "ada", "bob"):
        made.join(name)
    made.open(shards=6)
    made.update("eve", 0, update=LIE)
    made.update("ada", 1)
    made.update("ada", 0, attempt=2)
    made.update("bob", 2)
    commands = made.update("bob", 0, attempt=3)
    live = made.state._state.round.live
    assert live
    assert all(lease.identity != "eve-machine" for lease in live.values())
    assert any(
        isinstance(getattr(c, "message", 0), p.LeaseRevocation) for c in commands
    )


def test_which_shards_follows_from_their_position_and_a_seed_of_their_own():
    shards = toy_shards(3, 4000)
    some = audited(shards, 0.05, "a")
    assert some == audited(shards, 0.05, "a") != audited(shards, 0.05, "b")
    assert 0.03 * 4000 < len(some) < 0.07 * 4000
    assert audited(shards, 0.0, "a") == frozenset()
    assert len(audited(shards, 1.0, "a")) == 4000
    scored = [replace(shard, kind=Kind.VALIDATE) for shard in shards]
    assert audited(scored, 0.05, "a") != some


@pytest.mark.parametrize("displacement", Displacement)
def test_unlike_devices_agree_within_a_quarter(displacement):
    """A mean of 1 + d beside 1 + 0.8 d and 1 + 0.7 d; the sign, and nothing moved."""
    origin = 1.0 if displacement is Displacement.FROM_THETA else 0.0

    def moved(by):
        total = np.full(5, (origin + by) * HONEST.count, dtype=np.float32)
        return replace(HONEST, total={"w": total})

    agreed = [
        nearly_same(moved(0.5), moved(by), META, displacement)
        for by in (0.5, 0.4, 0.35, 0.0, -0.5)
    ]
    assert agreed == [True, True, False, False, False]


def test_scores_are_compared_too():
    scores = {"loss": np.full((2, 1), 0.5, np.float32)}
    other = {"loss": np.full((2, 1), 0.9, np.float32)}
    first, second = (replace(HONEST, total={}, per_task=s) for s in (scores, other))
    assert nearly_same(first, first, META, Displacement.FROM_THETA)
    assert same_bits(first, first)
    assert not nearly_same(first, second, META, Displacement.FROM_THETA)


def test_a_device_without_a_name_is_like_no_other():
    nameless = cm.WorkerJoined(p.WorkerId("a"), "a", "a", "a", 1)
    assert not are_alike(nameless, nameless)


# --- whole clusters -------------------------------------------------------------------


def simulate(seed, *, audit, **faults):
    return Simulation(
        seed,
        workers=4,
        rounds=6,
        shards=4,
        faults=replace(CALM, **faults),
        policy=replace(PATIENT, audit=audit, min_workers=4, lease_s=600.0),
    )


def test_lies_that_pass_every_other_check_change_theta_only_without_an_audit():
    expected = serial_result(6, shards=4).tobytes()
    for seed in range(4):
        lies = {"liars": 1, "plausible": True}
        assert simulate(seed, audit=0.0, **lies).run().tobytes() != expected
        with_audit = simulate(seed, audit=1.0, **lies)
        assert with_audit.run().tobytes() == expected
        assert any("w0 is quarantined" in line for line in with_audit.announced)


@pytest.mark.parametrize("audit", [0.05, 0.3, 1.0])
def test_an_honest_run_has_the_same_bytes_with_any_share(audit):
    for seed in range(4):
        simulation = Simulation(seed, policy=replace(PATIENT, audit=audit))
        assert simulation.run().tobytes() == serial_result(6).tobytes()


def test_honest_workers_are_never_blamed_by_an_audit():
    for seed in range(4):
        simulation = Simulation(
            seed,
            faults=Faults(lie=0.0, drops=6, restarts=1),
            policy=replace(PATIENT, audit=1.0),
        )
        simulation.run()
        assert not any("different updates" in line for line in simulation.announced)
