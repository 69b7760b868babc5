"""Updates are summed in order: whose turn it is to send a large one, and the bits."""

import numpy as np
import pytest

from mlpeft.cluster import messages as m
from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.updates import Turn
from mlpeft.cluster.sim import (
    Faults,
    Simulation,
    serial_result,
    toy_shards,
    toy_update,
)
from tests.cluster.builders import THETA, Machine, granted, key, of_type, policy_with

ADA, BOB, EVE = p.WorkerId("ada-id"), p.WorkerId("bob-id"), p.WorkerId("eve-id")


@pytest.fixture
def machine():
    """Each of three workers computes a shard of four; one early update has room."""
    room_bytes = THETA.nbytes
    made = Machine(
        policy_with(
            ordered_sum=True, room_bytes=room_bytes, lease_s=10.0, lost_after_s=4.0
        )
    )
    for name in ("ada", "bob", "eve"):
        made.join(name)
    made.open(shards=4)
    return made


def turn(machine, worker, shard, attempt=1):
    return machine.state.upload_turn(worker, key(shard, attempt))


def test_an_update_far_ahead_of_the_sum_waits_while_an_earlier_one_is_computed(machine):
    assert turn(machine, ADA, 0) is Turn.NOW
    assert turn(machine, BOB, 1) is Turn.NOW
    assert turn(machine, EVE, 2) is Turn.LATER
    machine.update("ada", 0)
    assert turn(machine, EVE, 2) is Turn.NOW


def test_without_room_only_the_update_that_is_next_is_read():
    made = Machine(policy_with(ordered_sum=True, room_bytes=THETA.nbytes - 1))
    for name in ("ada", "bob"):
        made.join(name)
    made.open(shards=2)
    assert turn(made, ADA, 0) is Turn.NOW
    assert turn(made, BOB, 1) is Turn.LATER
    made.update("ada", 0)
    assert turn(made, BOB, 1) is Turn.NOW


def test_an_update_goes_ahead_when_no_earlier_one_is_being_computed(machine):
    """Else eve, which could compute shard 0, would wait for shard 0."""
    for name in (ADA, BOB):
        machine(m_left(name))
    assert turn(machine, EVE, 2) is Turn.NOW


def m_left(worker):
    return cm.WorkerLeft(worker, "gone")


def test_small_updates_never_wait():
    """There is room for many of them."""
    made = Machine(policy_with(ordered_sum=True))
    made.join("ada", slots=4)
    made.open(shards=4)
    assert turn(made, ADA, 3) is Turn.NOW


def test_updates_that_are_kept_apart_never_wait():
    made = Machine(policy_with(room_bytes=0))
    made.join("ada", slots=4)
    made.open(shards=4)
    assert turn(made, ADA, 3) is Turn.NOW


def test_of_updates_that_wait_the_first_is_read_first_whoever_asks_first():
    """Bob and eve wait for ada's update; when it is in, eve asks before bob does."""
    made = Machine(policy_with(ordered_sum=True, room_bytes=0))
    for name in ("ada", "bob", "eve"):
        made.join(name)
    made.open(shards=3)
    for worker, shard in ((BOB, 1), (EVE, 2)):
        assert turn(made, worker, shard) is Turn.LATER
        made(cm.UploadHeld(worker, key(shard)))
    made.update("ada", 0)
    assert turn(made, EVE, 2) is Turn.LATER
    assert turn(made, BOB, 1) is Turn.NOW


def test_an_update_that_would_not_count_is_passed_over(machine):
    assert turn(machine, EVE, 0) is Turn.NEVER, "ada's lease"
    assert turn(machine, ADA, 0, attempt=2) is Turn.NEVER, "no such lease"
    assert machine.state.upload_turn(ADA, key(0, session="old")) is Turn.NEVER
    assert turn(machine, p.WorkerId("gone"), 0) is Turn.NEVER
    machine.update("ada", 0)
    assert turn(machine, ADA, 0) is Turn.NEVER, "it is in"


def test_a_worker_that_is_kept_waiting_is_neither_lost_nor_late(machine):
    """Its heartbeats are behind its update, which is not read."""
    for second in range(3, 30, 3):
        machine(cm.MessageReceived(ADA, p.Heartbeat()), at=second)
        machine(cm.MessageReceived(BOB, p.Heartbeat()), at=second)
        machine(cm.UploadHeld(EVE, key(2)), at=second)
        machine(m.TimePassed(), at=second)
    status = machine.state.status(machine.now)
    assert "eve" in {worker.name for worker in status.workers}
    assert key(2) in {lease.key for lease in status.leases}
    assert "shard 2 on eve for 27 s (done; its update waits for earlier ones)" in (
        status.wait
    )
    machine(cm.UploadHeld(p.WorkerId("gone"), key(2)), at=30)


def test_the_sum_is_what_the_training_loop_gets(machine):
    machine.update("bob", 1)
    machine.update("ada", 0)
    machine.update("eve", 2)
    commands = machine.update("bob", 3)
    if not of_type(commands, cm.CompleteRound):  # whoever was free has shard 3
        holder = machine.state.status(machine.now).leases[0].worker
        commands = machine.update(holder, 3)
    (done,) = of_type(commands, cm.CompleteRound)
    updates = [toy_update(THETA, shard) for shard in toy_shards(0, 4)]
    expected = np.zeros_like(THETA)
    for update in updates:
        expected = expected + update.total["w"]
    assert done.result.totals.total["w"].tobytes() == expected.tobytes()
    assert done.result.totals.count == 8


# --- in the simulator -----------------------------------------------------------------

SUMMING = policy_with(lease_s=8.0, max_attempts=10_000, ordered_sum=True, room_bytes=0)


def test_updates_that_wait_for_their_turn_change_no_bytes_under_any_faults():
    for seed in range(40):
        simulation = Simulation(seed, workers=4, shards=9, policy=SUMMING)
        expected = serial_result(6, shards=9)
        assert simulation.run().tobytes() == expected.tobytes(), seed


def test_a_single_worker_with_many_slots_does_not_wait_for_itself():
    for seed in range(10):
        faults = Faults(crashes=6, drops=6, horizon_s=30)
        simulation = Simulation(
            seed, workers=1, shards=9, faults=faults, policy=SUMMING
        )
        expected = serial_result(6, shards=9)
        assert simulation.run().tobytes() == expected.tobytes(), seed


def test_an_update_behind_a_slow_lease_is_read_if_nobody_else_can_back_it_up():
    """Shard 0 is slow, and both others wait with updates that are too large to hold."""
    made = Machine(
        policy_with(ordered_sum=True, room_bytes=0, lease_s=100.0, least_lease_s=5.0)
    )
    for name in ("ada", "bob", "eve", "cyd"):
        made.join(name)
    made.open(shards=4)
    for worker, shard in ((EVE, 2), (p.WorkerId("cyd-id"), 3)):
        assert turn(made, worker, shard) is Turn.LATER
        made(cm.UploadHeld(worker, key(shard)))
    made.update("bob", 1)
    assert turn(made, EVE, 2) is Turn.LATER, "bob backs up what will be slow"
    made(cm.WorkerLeft(BOB, "gone"))
    for second in range(1, 7):
        made(cm.MessageReceived(ADA, p.Heartbeat()), at=float(second))
        made(cm.UploadHeld(EVE, key(2)))
        made(cm.UploadHeld(p.WorkerId("cyd-id"), key(3)))
        made(m.TimePassed(), at=float(second))
    assert turn(made, EVE, 2) is Turn.NOW
    made(cm.UploadHeld(EVE, None))
    assert turn(made, p.WorkerId("cyd-id"), 3) is Turn.LATER, "one at a time"
    backups = granted(made.update("eve", 2))
    assert backups == [("eve-id", key(0, 2))]
    assert turn(made, p.WorkerId("cyd-id"), 3) is Turn.LATER, "one is enough"


def test_no_lease_of_a_worker_whose_stream_is_not_read_expires():
    """It holds two: the update of one waits, and of the other nothing can be heard."""
    made = Machine(
        policy_with(ordered_sum=True, room_bytes=0, lease_s=5.0, lost_after_s=4.0)
    )
    made.join("ada")
    made.join("eve", slots=2)
    commands = made.open(shards=4)
    held = [key for worker, key in granted(commands) if worker == "eve-id"]
    assert len(held) == 2
    for second in range(1, 20):
        made(cm.MessageReceived(ADA, p.Heartbeat()), at=float(second))
        made(cm.UploadHeld(EVE, held[-1]))
        made(m.TimePassed(), at=float(second))
    failures = made.state.status(made.now).failures
    live = made.state._state.round.live.values()
    assert failures["lost"] == 0
    assert {each.worker for each in live} >= {EVE}
    assert failures["late"] <= 3, "ada's own"
    assert made.state._state.workers[EVE].failures == 0
