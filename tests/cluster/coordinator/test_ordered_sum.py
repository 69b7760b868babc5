"""Updates summed as they come in: the same bits, and their memory let go."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpeft import params
from mlpeft.cluster import messages as m
from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.ordered_sum import OrderedSum
from mlpeft.cluster.coordinator.updates import Turn
from mlpeft.cluster.policy import Policy
from mlpeft.cluster.sim import Faults, Simulation, serial_result
from mlpeft.meta.aggregate import combine
from mlpeft.work import ShardUpdate
from tests.cluster.builders import Machine, key, of_type

ADA, BOB, EVE = p.WorkerId("ada-id"), p.WorkerId("bob-id"), p.WorkerId("eve-id")


def updates(seed, number=6):
    """Sizes differ by powers of three: another order of summation gives other bits."""
    rng = np.random.default_rng(seed)
    return [
        ShardUpdate(
            index,
            2,
            {
                "w": rng.normal(size=(4,)).astype(np.float32) * np.float32(3**index),
                "b": rng.normal(size=(1,)).astype(np.float32),
            },
            {"support_loss": np.zeros(2, dtype=np.float32)},
        )
        for index in range(number)
    ]


@given(order=st.permutations(range(6)), seed=st.integers(0, 1000))
def test_the_sum_has_the_bits_of_the_mean_over_all_updates_in_any_order(order, seed):
    made, fold, held = updates(seed), OrderedSum(), {}
    for index in order:
        held[index] = made[index]
        fold.take(held)
    fold.finish(held)
    folded = [held[index] for index in range(6)]
    assert params.digest(combine(folded)) == params.digest(combine(made))
    assert [update.per_task for update in folded] == [u.per_task for u in made]


def test_what_is_summed_is_let_go_and_what_came_early_is_kept():
    made, fold, held = updates(0), OrderedSum(), {}
    for index in (0, 2, 1, 5):
        held[index] = made[index]
        fold.take(held)
    assert fold.done == 3
    assert {index: bool(update.total) for index, update in held.items()} == {
        0: False,
        1: False,
        2: False,
        5: True,
    }


def test_the_arrays_of_an_update_are_never_changed():
    """A worker in this process may still hold them."""
    made = updates(0)
    before = [params.digest(update.total) for update in made]
    fold, held = OrderedSum(), dict(enumerate(made))
    fold.take(held)
    assert [params.digest(update.total) for update in made] == before


# --- whose turn it is -----------------------------------------------------------------


@pytest.fixture
def machine():
    """Each of three workers computes a shard of four; updates are summed."""
    made = Machine(
        Policy(ordered_sum=True, room_bytes=0, lease_s=10.0, lost_after_s=4.0)
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


def test_an_update_goes_ahead_when_no_earlier_one_is_being_computed(machine):
    """Else eve, which could compute shard 0, would wait for shard 0."""
    for name in (ADA, BOB):
        machine(m_left(name))
    assert turn(machine, EVE, 2) is Turn.NOW


def m_left(worker):
    return cm.WorkerLeft(worker, "gone")


def test_small_updates_never_wait():
    """A quarter of a gigabyte has room for more than four of them."""
    made = Machine(Policy(ordered_sum=True))
    made.join("ada", slots=4)
    made.open(shards=4)
    assert turn(made, ADA, 3) is Turn.NOW


def test_updates_that_are_kept_apart_never_wait():
    made = Machine(Policy(room_bytes=0))
    made.join("ada", slots=4)
    made.open(shards=4)
    assert turn(made, ADA, 3) is Turn.NOW


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
    assert "shard 2 on eve for 27 s (done; its update waits for those before it)" in (
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
    assert [bool(update.total) for update in done.updates] == [
        True,
        False,
        False,
        False,
    ]


# --- in the simulator -----------------------------------------------------------------

SUMMING = Policy(lease_s=8.0, max_attempts=10_000, ordered_sum=True, room_bytes=0)


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
