"""Workers that fail shard after shard, and shards that fail everywhere."""

import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.quarantine import Quarantine
from mlpeft.cluster.messages import Announce, TimePassed
from mlpeft.cluster.policy import Candidate, Cause, Failure, too_many_failures
from mlpeft.cluster.protocol import WorkerId
from tests.cluster.builders import Machine, granted, key, of_type, policy_with

ADA, BOB, CYD = WorkerId("ada-id"), WorkerId("bob-id"), WorkerId("cyd-id")


def texts(commands):
    return " | ".join(c.text for c in of_type(commands, Announce))


def fail(machine, worker, shard, attempt=1, round_id=1):
    lease = key(shard, attempt, round_id)
    return machine(
        cm.MessageReceived(
            worker, p.LeaseReturn(lease, failed=True, reason="no memory")
        )
    )


@pytest.fixture
def machine():
    return Machine(
        policy_with(
            lost_after_s=1e6, quarantine_after=2, quarantine_s=60, max_attempts=3
        )
    )


@pytest.fixture
def quarantined(machine):
    """Ada has failed at two shards in a row, which bob could compute."""
    machine.join("ada")
    machine.join("bob", slots=2)
    machine.open(shards=4)  # bob, ada, bob; one waits
    fail(machine, ADA, 1)
    machine.commands = fail(machine, ADA, 3)
    return machine


def test_a_worker_that_fails_shard_after_shard_gets_no_more(quarantined):
    why = "2 shards in a row failed, last: failed: no memory"
    assert "worker ada is quarantined for 60 s and gets no shards: " in texts(
        quarantined.commands
    )
    told = cm.Send(ADA, p.Notice(f"quarantined, no shards for now: {why}"))
    assert told in quarantined.commands
    assert granted(quarantined.commands) == []
    ada, bob = quarantined.state.status(0).workers
    assert (ada.quarantined, bob.quarantined) == (why, "")
    assert granted(quarantined.update("bob", 0)) == [(BOB, key(1, attempt=2))]


def test_quarantine_ends_after_its_time(quarantined):
    commands = quarantined(TimePassed(), at=60)
    assert "worker ada is out of quarantine: its time is over" in texts(commands)
    assert cm.Send(ADA, p.Notice("out of quarantine: its time is over")) in commands
    quarantined(cm.RoundAbandoned("stop"))
    assert (ADA, key(0, round_id=2)) in granted(quarantined.open(shards=1, version=1))


def test_after_its_time_one_more_failure_is_enough():
    quarantine = Quarantine(after=3, for_s=60)
    for shard in range(3):
        reason = quarantine.failed("p", (1, shard), "x", now=0.0)
    assert reason == quarantine.reason("p") == "3 shards in a row failed, last: x"
    assert quarantine.next_release() == 60
    assert quarantine.released(now=59) == []
    assert quarantine.released(now=60) == ["p"]
    assert quarantine.next_release() is None
    assert quarantine.failed("p", (2, 0), "x", now=61) is not None


def test_an_update_that_counts_ends_the_row():
    quarantine = Quarantine(after=2, for_s=60)
    assert quarantine.failed("p", (1, 0), "x", now=0) is None
    assert not quarantine.succeeded("p")
    assert quarantine.failed("p", (1, 1), "x", now=0) is None


def test_a_shard_that_fails_twice_on_one_worker_is_one_shard():
    quarantine = Quarantine(after=2, for_s=60)
    assert quarantine.failed("p", (1, 0), "x", now=0) is None
    assert quarantine.failed("p", (1, 0), "x", now=0) is None
    assert quarantine.failed("p", (2, 0), "x", now=0) is not None


def test_an_operator_releases_a_worker(quarantined):
    commands = quarantined(cm.ReleaseRequested("ada"))
    assert "out of quarantine: released by an operator" in texts(commands)
    assert quarantined.state.status(0).workers[0].quarantined == ""
    assert quarantined(cm.ReleaseRequested("ada")) == []
    assert quarantined(cm.ReleaseRequested("eve")) == []


def test_neither_a_broken_line_nor_a_new_process_ends_a_quarantine(quarantined):
    quarantined(cm.WorkerLeft(ADA, "connection lost"))
    commands = quarantined.join("ada")
    assert granted(commands) == []
    (told,) = of_type(commands, p.Notice)
    assert "still quarantined" in told.message.text
    quarantined(cm.WorkerLeft(ADA, "restarted"))
    assert granted(quarantined.join("ada", process_id="repaired")) == []
    quarantined(cm.ReleaseRequested("ada"))
    assert [w.quarantined for w in quarantined.state.status(0).workers] == ["", ""]


def test_who_starts_a_new_process_for_each_failure_is_quarantined(machine):
    machine.join("ada")
    machine.open(shards=4)
    for life in range(2):
        commands = machine.join(f"eve{life}", identity="10.0.0.5")
        ((eve, lease),) = granted(commands)
        commands = fail(machine, eve, lease.shard)
        machine(cm.WorkerLeft(eve, "gone"))
    assert "worker eve1 is quarantined" in texts(commands)
    machine.join("eve2", identity="10.0.0.5")
    ada, eve = machine.state.status(0).workers
    assert (bool(ada.quarantined), bool(eve.quarantined)) == (False, True)


def test_a_broken_process_does_not_stop_others_of_its_machine(machine):
    machine.join("ada", slots=3, identity="studio")
    machine.join("bob", identity="studio")
    machine.open(shards=6)
    fail(machine, BOB, 2)
    assert "worker bob is quarantined" in texts(fail(machine, BOB, 4))
    ada, bob = machine.state.status(0).workers
    assert (bool(ada.quarantined), bool(bob.quarantined)) == (False, True)


def test_a_machine_alone_is_tried_with_all_its_processes_and_then_given_up(machine):
    """Three attempts, the third on whoever failed first."""
    machine.join("ada", identity="studio")
    machine.join("bob", identity="studio")
    machine.open(shards=1)
    assert granted(fail(machine, ADA, 0)) == [(BOB, key(0, attempt=2))]
    assert granted(fail(machine, BOB, 0, attempt=2)) == [(ADA, key(0, attempt=3))]
    assert of_type(fail(machine, ADA, 0, attempt=3), cm.FailRound)


def test_a_machine_with_many_processes_that_fail_does_not_end_the_run(machine):
    machine.join("ada")
    machine.open(shards=2)
    for number in range(5):
        name = f"eve{number}"
        machine.join(name, identity="10.0.0.5")
        commands = machine(cm.WorkerLeft(WorkerId(f"{name}-id"), "gone"))
        assert not of_type(commands, cm.FailRound)
    assert granted(machine.update("ada", 0)) == [(ADA, key(1, attempt=2))]


def test_a_shard_that_fails_on_others_too_is_not_the_workers_doing(quarantined):
    """Bob fails at shard 3 as well: ada's row is one long, and she is free again."""
    quarantined.update("bob", 0)
    commands = fail(quarantined, BOB, 1, attempt=2)
    assert "worker ada is out of quarantine: its shards also fail elsewhere" in texts(
        commands
    )
    assert quarantined.state.status(0).workers[0].quarantined == ""


def test_when_all_are_quarantined_the_round_says_so_and_what_to_do(machine):
    machine.join("ada", slots=2)
    machine.open(shards=2)
    fail(machine, ADA, 0)
    fail(machine, ADA, 1)
    wait = machine.state.status(0).wait
    assert "every connected worker is quarantined (ada): fix the cause" in wait
    assert "release WORKER`, or start another" in wait


def test_lost_connections_quarantine_nobody(machine):
    machine.join("ada")
    for version in range(5):
        machine.open(shards=1, version=version)
        assert "shard 0 is leased again" in texts(machine(cm.WorkerLeft(ADA, "lost")))
        machine(cm.RoundAbandoned("stop"))
        machine.join("ada")
    assert machine.state.status(0).workers[0].quarantined == ""


def test_an_update_that_counts_sets_a_worker_free(machine):
    """Ada fails at two shards, and is still at a third that she was given before."""
    machine.join("ada", slots=3)
    machine.open(shards=3)
    fail(machine, ADA, 0)
    fail(machine, ADA, 1)
    assert machine.state.status(0).workers[0].quarantined
    commands = machine.update("ada", 2)
    assert "worker ada is out of quarantine: an update counted" in texts(commands)
    assert granted(commands) == [(ADA, key(1, attempt=2))]


def test_late_leases_count_towards_quarantine():
    machine = Machine(policy_with(lost_after_s=1e6, lease_s=10, quarantine_after=1))
    machine.join("ada")
    machine.open(shards=1)
    assert "ada is quarantined" in texts(machine(TimePassed(), at=10))


def candidate(name, **changes):
    return Candidate(WorkerId(name), name, name, name, 1, **changes)


def failures(*names):
    return [Failure(i, n, n, n, Cause.FAILED, "") for i, n in enumerate(names, 1)]


@pytest.mark.parametrize(
    ("tried", "connected", "stops"),
    [
        ("aa", "a", False),  # not often enough
        ("aaa", "a", True),  # everybody who is there
        ("aab", "abc", False),  # cyd has not tried
        ("aab", "ab", True),
        ("abc", "abcd", True),  # three processes
        ("abc", "", True),
        ("aab", "", False),  # nobody is there: someone may come
    ],
)
def test_a_shard_stops_the_run_when_it_has_failed_everywhere(tried, connected, stops):
    workers = [candidate(name) for name in connected]
    assert (
        too_many_failures(failures(*tried), workers, policy_with(max_attempts=3))
        is stops
    )


@pytest.mark.parametrize("change", ["draining", "quarantined"])
def test_who_takes_no_shards_keeps_no_run_waiting(change):
    workers = [candidate("a"), candidate("b", **{change: True})]
    assert too_many_failures(failures(*"aaa"), workers, policy_with(max_attempts=3))
