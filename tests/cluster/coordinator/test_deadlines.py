"""Deadlines and backups that follow from how long tasks have taken."""

import dataclasses

import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.messages import Announce, TimePassed
from mlpeft.cluster.protocol import WorkerId
from tests.cluster.builders import Machine, granted, key, of_type, policy_with

ADA, BOB = WorkerId("ada-id"), WorkerId("bob-id")


def texts(commands):
    return " | ".join(c.text for c in of_type(commands, Announce))


def alive(machine, *workers, at):
    commands = []
    for worker in workers:
        commands += machine(cm.MessageReceived(worker, p.Heartbeat()), at=at)
    return commands


def season(machine):
    """Ada computes ten shards of two tasks, two seconds each; round 2 is open at 20."""
    machine.join("ada")
    machine.open(shards=10)
    for shard in range(10):
        machine.now += 2
        machine.update("ada", shard)
    machine.open(shards=1, version=1)
    return machine


@pytest.fixture
def seasoned():
    """Ada has computed ten shards of two tasks, two seconds each: one a task.

    Usual: a median of 1 s, a spread of 0.1 s; round 2 is open, shard 0 with ada since
    20. With the factors below it is slow after 2 * 3 = 6 s, since 1 + 5 * 0.1 is less
    than three medians, and late after 2 * (1 + 50 * 0.1) = 12 s.
    """
    return season(
        Machine(
            policy_with(
                lost_after_s=100,
                lease_s=500,
                least_lease_s=0,
                deadline_factor=50,
                backup_factor=5,
                announce_s=1000,
            )
        )
    )


def test_the_first_leases_last_as_long_as_any_may():
    machine = Machine(policy_with(lease_s=500))
    machine.join("ada")
    (grant,) = of_type(machine.open(shards=1), p.Lease)
    assert grant.message.lease_s == 500


def test_a_lease_ends_when_it_takes_unusually_long(seasoned):
    assert seasoned.state.status(20).leases[0].left_s == pytest.approx(12)
    assert seasoned.state.status(20).workers[0].task_s == pytest.approx(1)
    assert not of_type(seasoned(TimePassed(), at=31.9), p.LeaseRevocation)
    commands = seasoned(TimePassed(), at=32.1)
    assert "not done within 12 s; its heartbeats arrive, but without progress" in texts(
        commands
    )
    assert of_type(commands, p.LeaseRevocation)


def test_a_slow_lease_with_an_idle_worker_beside_it_has_one_backup(seasoned):
    """The first valid update wins, and nobody has failed."""
    seasoned.join("bob", at=21)
    assert granted(seasoned(TimePassed(), at=25.9)) == []
    assert seasoned.state.next_wakeup() == pytest.approx(26)
    commands = seasoned(TimePassed(), at=26.1)
    assert granted(commands) == [(BOB, key(0, attempt=2, round_id=2))]
    assert seasoned.state.status(27).backups == 1
    assert [lease.backup for lease in seasoned.state.status(27).leases] == [False, True]
    seasoned.join("cyd", at=27)
    assert granted(alive(seasoned, ADA, BOB, at=27)) == []
    commands = seasoned.update("bob", 0, attempt=2, round_id=2, version=1)
    assert of_type(commands, cm.CompleteRound)
    (told,) = of_type(commands, p.LeaseRevocation)
    assert (told.worker, told.message.reason) == (ADA, "the shard is in")
    assert [worker.failures for worker in seasoned.state.status(27).workers] == [0] * 3


def test_a_backup_that_comes_after_long_is_told(seasoned):
    machine = season(
        Machine(dataclasses.replace(seasoned.state.policy, announce_s=3.0))
    )
    machine.join("bob", at=21)
    assert (
        "backup: ada has held round 2 shard 0 attempt 1 for 6.1 s, longer than "
        "usual, and bob is idle; the first update counts"
    ) in texts(machine(TimePassed(), at=26.1))


def test_a_backup_waits_for_an_idle_worker(seasoned):
    seasoned(TimePassed(), at=26.1)
    assert granted(seasoned.join("bob", at=27)) == [(BOB, key(0, 2, 2))]


def test_nothing_is_backed_up_while_a_shard_waits():
    """Bob failed at shard 0, which waits for ada, and is idle; ada is slow at 1."""
    machine = season(Machine(policy_with(lost_after_s=100, announce_s=1000)))
    machine.update("ada", 0, round_id=2, version=1)
    machine.join("bob")
    machine.open(shards=2, version=2)
    machine(
        cm.MessageReceived(
            BOB, p.LeaseReturn(key(0, round_id=3), failed=True, reason="x")
        )
    )
    assert machine.state.status(20).leases[0].worker == "ada"
    commands = machine(TimePassed(), at=27)
    assert machine.state.status(27).leases[0].slow
    assert granted(commands) == []


def test_a_shard_with_a_backup_is_not_leased_again_when_one_of_them_is_lost(seasoned):
    seasoned.join("bob", at=21)
    seasoned(TimePassed(), at=26.1)
    commands = seasoned(cm.WorkerLeft(ADA, "killed"))
    assert granted(commands) == []
    assert "shard 0 continues on bob" in texts(commands)
    commands = seasoned(cm.WorkerLeft(BOB, "killed"))
    assert "shard 0 is leased again" in texts(commands)


def test_without_a_factor_there_are_no_backups():
    machine = season(Machine(policy_with(lost_after_s=100, backup_factor=0)))
    machine.join("bob")
    assert granted(machine(TimePassed(), at=60)) == []


def test_a_computing_thread_that_hangs_shows_while_its_heartbeats_come(seasoned):
    """In the status once it is slow, as a warning when half of its time is over."""
    alive(seasoned, ADA, at=22)
    assert texts(seasoned(TimePassed(), at=26.1)) == (
        "worker ada: round 2 shard 0 attempt 1 takes long; its heartbeats arrive, but "
        "without progress for 6.1 s; its lease expires in 6 s"
    )
    (lease,) = seasoned.state.status(27).leases
    assert lease.slow
    assert lease.stalled_s == pytest.approx(7)
    commands = seasoned(TimePassed(), at=32.1)
    assert of_type(commands, p.LeaseRevocation)
    wait = seasoned.state.status(33).wait
    assert "ada still computes shards that were revoked; if this lasts, its" in wait


def test_a_computing_thread_that_goes_on_is_slow_without_a_warning(seasoned):
    seasoned(cm.MessageReceived(ADA, p.Heartbeat(((key(0, round_id=2), 1),))), at=22)
    assert texts(seasoned(TimePassed(), at=26.1)) == ""
    (lease,) = seasoned.state.status(27).leases
    assert lease.slow
    assert lease.stalled_s == pytest.approx(5)


def test_a_first_lease_that_stands_still_shows_after_half_its_longest_time():
    machine = Machine(
        policy_with(lost_after_s=1000, lease_s=500, announce_s=1000, backup_factor=0)
    )
    machine.join("ada")
    machine.open(shards=1)
    assert machine.state.next_wakeup() == 250
    assert "takes long" in texts(machine(TimePassed(), at=250))


def test_a_worker_that_has_become_slow_gets_longer_after_some_late_leases(seasoned):
    """A late lease is a time, too: twelve of three seconds a task, ten of one."""
    patient = dataclasses.replace(
        seasoned.state.policy,
        max_attempts=100,
        quarantine_after=100,
        backup_factor=0,
        deadline_factor=20,
    )
    machine = season(Machine(patient))
    first = machine.state.status(20).leases[0].left_s
    for attempt in range(1, 13):
        machine(TimePassed(), at=machine.state.next_wakeup())  # nothing of it is done
        machine(TimePassed(), at=machine.state.next_wakeup())  # its time is over
        machine(
            cm.MessageReceived(
                ADA, p.LeaseReturn(key(0, attempt, 2), failed=False, reason="")
            )
        )
    assert machine.state.status(machine.now).leases[0].left_s > 2 * first


def test_a_lease_behind_another_gets_the_time_of_both(seasoned):
    """Bob has no times yet: ada's are his."""
    seasoned.update("ada", 0, round_id=2, version=1)
    seasoned(cm.WorkerJoined(BOB, "bob", "bob-process", "bob-machine", slots=2))
    grants = of_type(seasoned.open(shards=3, version=2), p.Lease)
    lasts = [(grant.worker, pytest.approx(grant.message.lease_s)) for grant in grants]
    assert lasts == [(BOB, 12), (ADA, 12), (BOB, 24)]


def test_a_coordinator_that_slept_finds_nothing_slow_or_late(seasoned):
    seasoned.join("bob")
    commands = seasoned(TimePassed(), at=3600)
    assert not of_type(commands, p.LeaseRevocation, p.Lease)
