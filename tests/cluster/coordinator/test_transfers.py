"""While theta or an update moves, its worker is neither silent nor late."""

import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.transfers import LEAST_RATE
from mlpeft.cluster.messages import TimePassed
from mlpeft.cluster.protocol import WorkerId
from mlpeft.cluster.status import TransferStatus
from tests.cluster.builders import granted, key

ADA, BOB = WorkerId("ada-id"), WorkerId("bob-id")
SIZE = 4_200_000


@pytest.fixture
def leased(machine):
    """Ada holds shard 0 since 0; a lease lasts 10 s, silence may last 4 s."""
    machine.join("ada")
    assert granted(machine.open(shards=1)) == [(ADA, key(0))]
    return machine


def moves(machine, event, *, until, rate=125_000):
    """A transfer at so many bytes a second, from now on, told of each second."""
    start = machine.now
    for second in range(1, until + 1):
        machine(event(min(SIZE, second * rate)), at=start + second)
        machine(TimePassed())


def sending(done):
    return cm.ThetaMoved(ADA, 0, done, SIZE)


def receiving(done):
    return cm.UpdateMoved(ADA, key(0), done, SIZE)


def live(machine):
    return [lease.key for lease in machine.state.status(machine.now).leases]


def test_a_leases_time_starts_when_its_theta_has_arrived(leased):
    moves(leased, sending, until=34)
    (status,) = leased.state.status(34).leases
    assert status.left_s == 10
    leased(cm.MessageReceived(ADA, p.Heartbeat()), at=43.9)
    assert live(leased) == [key(0)]
    leased(cm.MessageReceived(ADA, p.Heartbeat()), at=44)
    leased(TimePassed())
    assert live(leased) != [key(0)], "late, and leased again"


def test_a_lease_is_not_slow_while_its_theta_is_on_the_way(machine):
    """Bob is done after 1 s and idle; ada gets theta for 34 s, and then no longer."""
    machine.join("ada")
    machine.join("bob")
    machine.open(shards=2)
    machine(TimePassed(), at=1)
    machine.update("bob", 1)
    for second in range(2, 35):
        machine(cm.MessageReceived(BOB, p.Heartbeat()), at=second)
        machine(sending(min(SIZE, second * 125_000)))
        machine(TimePassed())
    assert machine.state.status(34).backups == 0
    for second in range(35, 41):
        for worker in (ADA, BOB):
            machine(cm.MessageReceived(worker, p.Heartbeat()), at=second)
        machine(TimePassed())
    assert machine.state.status(40).backups == 1


def test_a_lease_does_not_run_out_while_its_update_moves(leased):
    leased(cm.MessageReceived(ADA, p.Heartbeat()), at=3)
    moves(leased, receiving, until=33)
    assert live(leased) == [key(0)]
    (complete,) = [
        c for c in leased.update("ada", 0) if isinstance(c, cm.CompleteRound)
    ]
    assert complete.round_id == 1


def test_a_worker_whose_bytes_stand_still_is_lost(leased):
    moves(leased, sending, until=5)
    commands = leased(TimePassed(), at=9)
    assert any(isinstance(command, cm.DismissWorker) for command in commands)


def test_a_worker_cannot_hold_a_lease_with_a_byte_now_and_then(leased):
    """It sends heartbeats all the time, and takes a tenth of the least rate."""
    for second in range(1, 60):
        leased(cm.MessageReceived(ADA, p.Heartbeat()), at=second)
        leased(sending(second * LEAST_RATE // 10))
        leased(TimePassed())
        if live(leased) != [key(0)]:
            return
    pytest.fail("it held the lease for a minute")


def test_the_status_says_how_far_a_transfer_is_until_its_end(leased):
    moves(leased, sending, until=10)
    (worker,) = leased.state.status(10).workers
    assert worker.sending == TransferStatus(1_250_000, SIZE)
    assert "shard 0 on ada for 10 s (sending theta, 1.2 of 4.2 MB)" in (
        leased.state.status(10).wait
    )
    leased(sending(SIZE), at=11)
    leased(receiving(2_000_000), at=12)
    (worker,) = leased.state.status(12).workers
    assert (worker.sending, worker.receiving.done_bytes) == (None, 2_000_000)
    assert "(receiving its update, 2.0 of 4.2 MB)" in leased.state.status(12).wait
    leased.update("ada", 0)
    (worker,) = leased.state.status(12).workers
    assert worker.receiving is None


def test_transfers_of_workers_and_leases_that_are_gone_change_nothing(machine):
    assert machine(sending(5), at=1) == []
    machine.join("ada")
    assert machine(receiving(5), at=2) == []
    machine(cm.RunEnded("done"))
    assert machine(sending(6), at=3) == []
