"""The coordinator's state machine, command by command."""

import numpy as np
import pytest

from mlpeft.cluster import messages as m
from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.sim import toy_shards, toy_update
from mlpeft.errors import LocalProtocolError
from mlpeft.work import ShardUpdate
from tests.cluster.builders import (
    META,
    THETA,
    Machine,
    granted,
    key,
    of_type,
    policy_with,
)

ADA, BOB = p.WorkerId("ada-id"), p.WorkerId("bob-id")


def texts(commands):
    return " | ".join(c.text for c in of_type(commands, m.Announce))


def totals(done):
    return [total["w"].tolist() for total in done.result.totals.totals]


def toy_totals(shards):
    updates = [toy_update(THETA, shard) for shard in toy_shards(0, shards)]
    return [update.total["w"].tolist() for update in updates]


def test_a_round_is_leased_computed_and_completed_in_the_order_of_shards(machine):
    machine.join("ada")
    commands = machine.open(shards=2)
    shards = toy_shards(0, 2)
    assert commands == [
        cm.SendTheta(ADA, 0),
        cm.Send(ADA, p.Lease(key(0), 0, shards[0], 10)),
    ]
    assert granted(machine.update("ada", 0)) == [(ADA, key(1))]
    (done,) = machine.update("ada", 1)
    assert isinstance(done, cm.CompleteRound)
    assert totals(done) == toy_totals(2)


def test_updates_are_given_in_order_whatever_order_they_came_in(machine):
    machine.join("ada", slots=3)
    machine.open(shards=3)
    machine.update("ada", 2)
    machine.update("ada", 0)
    (done,) = machine.update("ada", 1)
    assert totals(done) == toy_totals(3)


def test_theta_goes_to_a_worker_once_a_version(machine):
    machine.join("ada")
    machine.open(shards=1)
    machine.update("ada", 0)
    again = machine(cm.RoundOpened(0, toy_shards(0, 1), META))
    assert not of_type(again, cm.SendTheta)
    machine.update("ada", 0, round_id=2)
    assert of_type(machine.open(shards=1, version=1), cm.SendTheta)


def test_a_worker_takes_as_many_shards_as_it_has_slots(machine):
    machine.join("ada", slots=2)
    assert granted(machine.open(shards=3)) == [(ADA, key(0)), (ADA, key(1))]


def test_shards_are_spread_over_workers_before_any_gets_a_second(machine):
    machine.join("ada", slots=2)
    machine.join("bob", slots=2)
    assert [who for who, _ in granted(machine.open(shards=4))] == [ADA, BOB, ADA, BOB]


def test_a_worker_that_joins_late_gets_what_waits(machine):
    machine.join("ada")
    machine.open(shards=2)
    assert granted(machine.join("bob")) == [(BOB, key(1))]


def test_a_lost_workers_shard_is_leased_again_with_the_next_attempt(machine):
    machine.join("ada")
    machine.open(shards=1)
    machine.join("bob")
    commands = machine(cm.WorkerLeft(ADA, "killed"))
    assert granted(commands) == [(BOB, key(0, attempt=2))]
    assert "worker ada left: killed; shard 0 is leased again" in texts(commands)


def test_a_silent_worker_is_lost_and_dismissed(machine):
    """Ada's last sign of life is at 0; lost_after_s is 4; bob's is at 3."""
    machine.join("ada")
    machine.open(shards=1)
    machine.join("bob", at=1)
    machine(cm.MessageReceived(BOB, p.Heartbeat()), at=3)
    assert machine.state.next_wakeup() == 4
    commands = machine(m.TimePassed(), at=4)
    assert granted(commands) == [(BOB, key(0, attempt=2))]
    assert cm.DismissWorker(ADA, "no heartbeat for 4.0 s") in commands


def test_a_heartbeat_keeps_a_worker(machine):
    machine.join("ada")
    machine(cm.MessageReceived(ADA, p.Heartbeat()), at=3.9)
    assert machine(m.TimePassed(), at=4) == []


def test_a_coordinator_that_slept_blames_nobody(machine):
    """Woken an hour late: the workers were not silent, nobody listened."""
    machine.join("ada")
    machine.open(shards=1)
    commands = machine(m.TimePassed(), at=3600)
    assert not of_type(commands, cm.DismissWorker, p.LeaseRevocation)


def test_the_first_valid_update_wins_and_the_other_worker_is_told(machine):
    """Ada's lease runs out, bob gets the shard, then ada's update comes after all."""
    machine.join("ada")
    machine.open(shards=1)
    machine.join("bob")
    for at in (3, 6, 9):
        machine(cm.MessageReceived(ADA, p.Heartbeat()), at=at)
        machine(cm.MessageReceived(BOB, p.Heartbeat()), at=at)
    commands = machine(m.TimePassed(), at=10)
    assert granted(commands) == [(BOB, key(0, attempt=2))]
    (revoked,) = of_type(commands, p.LeaseRevocation)
    assert (revoked.worker, revoked.message.key) == (ADA, key(0))
    assert revoked.message.reason == (
        "not done within 10 s; its heartbeats arrive, but without progress for 10.0 s"
    )
    commands = machine.update("ada", 0, attempt=1)
    assert of_type(commands, cm.CompleteRound)
    assert (
        cm.Send(BOB, p.LeaseRevocation(key(0, attempt=2), "the shard is in"))
        in commands
    )
    assert machine.update("bob", 0, attempt=2) == []


def test_a_revoked_lease_keeps_its_slot_until_the_worker_lets_go(machine):
    machine.join("ada")
    machine.open(shards=1)
    machine(cm.RoundAbandoned("stop"))
    assert granted(machine.open(shards=1)) == []
    returned = cm.MessageReceived(
        ADA, p.LeaseReturn(key(0), failed=False, reason="as told")
    )
    assert granted(machine(returned)) == [(ADA, key(0, round_id=2))]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 7}, "theta version 7, expected 0"),
        ({"fault": "checksum 1, expected 2"}, "checksum 1, expected 2"),
        ({"update": None}, "it is not there"),
        (
            {
                "update": ShardUpdate(
                    0, 2, {"w": THETA * np.float32("nan")}, {"support_loss": THETA[:2]}
                )
            },
            "5 values of 5 in leaf 'w' that are NaN",
        ),
    ],
)
def test_a_bad_update_is_refused_by_name_and_run_elsewhere(machine, changes, reason):
    machine.join("ada")
    machine.open(shards=1)
    machine.join("bob")
    commands = machine.update("ada", 0, **changes)
    assert reason in texts(commands)
    assert "by worker ada refused" in texts(commands)
    assert granted(commands) == [(BOB, key(0, attempt=2))]


def test_a_shard_that_failed_on_the_only_worker_is_tried_there_again(machine):
    machine.join("ada")
    machine.open(shards=1)
    commands = machine(
        cm.MessageReceived(ADA, p.LeaseReturn(key(0), failed=True, reason="no memory"))
    )
    assert granted(commands) == [(ADA, key(0, attempt=2))]


def test_a_failed_shard_waits_for_a_busy_worker_that_has_not_failed_it(machine):
    machine.join("ada")
    machine.join("bob")
    machine.open(shards=2)
    commands = machine(
        cm.MessageReceived(ADA, p.LeaseReturn(key(0), failed=True, reason="no memory"))
    )
    assert granted(commands) == []
    wait = machine.state.status(0).wait
    assert "shard 0: it failed elsewhere and waits for a free slot on bob" in wait
    assert granted(machine.update("bob", 1)) == [(BOB, key(0, attempt=2))]


def test_a_shard_that_fails_everywhere_stops_the_round_with_its_story(machine):
    machine.join("ada")
    machine.join("bob")
    machine.open(shards=1)
    machine(
        cm.MessageReceived(ADA, p.LeaseReturn(key(0), failed=True, reason="no memory"))
    )
    machine(cm.WorkerLeft(BOB, "killed"))
    commands = machine.update("ada", 0, attempt=3, fault="checksum")
    (failed,) = of_type(commands, cm.FailRound)
    assert failed.history.splitlines()[:4] == [
        "shard 0 of round 1 failed 3 times:",
        "  attempt 1 on ada: failed: no memory",
        "  attempt 2 on bob: lost: killed",
        "  attempt 3 on ada: refused: checksum",
    ]
    assert machine.open(shards=1, version=1)


def test_a_process_that_comes_back_is_not_blamed_for_its_broken_line(machine):
    """Three lost connections would fail the round; a reconnect forgives them."""
    machine.join("ada")
    machine.open(shards=1)
    for _ in range(5):
        commands = machine(cm.WorkerLeft(ADA, "connection lost"))
        assert not of_type(commands, cm.FailRound)
        machine.join("ada")


def test_a_machine_that_crashes_on_a_shard_again_and_again_fails_it(machine):
    """Once it is back: while nobody is there, another one may come."""
    machine.open(shards=1)
    for life in range(3):
        machine.join("ada", process_id=f"life {life}")
        assert not of_type(machine(cm.WorkerLeft(ADA, "killed")), cm.FailRound)
    assert of_type(machine.join("ada", process_id="life 3"), cm.FailRound)


def test_a_draining_worker_gets_no_more_shards(machine):
    machine.join("ada")
    machine.open(shards=2)
    assert "takes no more" in texts(machine(cm.MessageReceived(ADA, p.Draining())))
    assert machine(cm.MessageReceived(ADA, p.Draining())) == []
    assert granted(machine.update("ada", 0)) == []
    assert granted(machine.join("bob")) == [(BOB, key(1))]


def test_a_lease_that_crosses_a_farewell_is_nobodys_failure(machine):
    """Three failures would fail the round."""
    machine.open(shards=1)
    for life in range(5):
        machine.join("ada", process_id=f"life {life}")
        machine(cm.MessageReceived(ADA, p.Draining()))
        commands = machine(cm.WorkerLeft(ADA, "it ended"))
        assert not of_type(commands, cm.FailRound)
    assert granted(machine.join("bob")) == [(BOB, key(0, attempt=6))]


def test_a_wait_names_the_workers_that_get_ready(machine):
    """A worker fetches files for minutes: that is no reason to start another one."""
    machine.open(shards=1)
    assert "start one with `mlpeft-worker`" in machine.state.status(0).wait
    machine(cm.WorkerExpected("ada", "ada-process"), at=1)
    machine(cm.WorkerExpected("bob", "bob-process"), at=30)
    machine(cm.WorkerExpected("ada", "ada-process"), at=40)
    waits = machine.state.status(40).wait
    assert waits.endswith("0 of 1 shards are in; workers are getting ready: bob, ada")
    machine(m.TimePassed(), at=95)
    assert machine.state.status(95).wait.endswith("workers are getting ready: ada")
    machine.join("ada")
    assert "getting ready" not in machine.state.status(95).wait
    machine(cm.WorkerLeft(ADA, "gone"), at=99)
    assert "start one with" in machine.state.status(99).wait


def test_a_start_with_too_few_workers_names_those_that_get_ready():
    machine = Machine(policy_with(min_workers=2))
    machine.join("ada")
    machine.open(shards=1)
    machine(cm.WorkerExpected("bob", "bob-process"))
    waits = machine.state.status(0).wait
    assert waits.endswith("asks for 1 more to start; getting ready: bob")


def test_the_first_lease_waits_for_as_many_workers_as_asked_for():
    machine = Machine(policy_with(min_workers=2))
    machine.join("ada")
    assert granted(machine.open(shards=2)) == []
    wait = machine.state.status(0).wait
    assert "1 connected, and cluster.min_workers asks for 1 more" in wait
    assert granted(machine.join("bob")) == [(ADA, key(0)), (BOB, key(1))]
    assert granted(machine(cm.WorkerLeft(BOB, "killed"))) == []
    assert granted(machine.update("ada", 0)) == [(ADA, key(1, attempt=2))]


def test_the_end_of_the_run_dismisses_everybody_and_whoever_comes_later(machine):
    machine.join("ada")
    machine.open(shards=1)
    assert machine(cm.RunEnded("done")) == [cm.Send(ADA, p.RunOver("done"))]
    assert machine(cm.RunEnded("done")) == []
    assert machine.join("bob") == [cm.Send(BOB, p.RunOver("done"))]
    assert machine.state.next_wakeup() is None


def test_messages_that_are_late_repeated_or_from_nobody_change_nothing(machine):
    machine.join("ada")
    machine.open(shards=2)
    before = machine.state.status(0)
    nobody = p.WorkerId("nobody")
    update = toy_update(THETA, toy_shards(0, 1)[0])
    stale = [
        cm.WorkerLeft(nobody, "gone"),
        cm.MessageReceived(nobody, p.Heartbeat()),
        cm.MessageReceived(nobody, p.Update(key(0), 0, update)),
        cm.MessageReceived(nobody, p.LeaseReturn(key(0), failed=True, reason="")),
        cm.MessageReceived(nobody, p.Draining()),
        cm.MessageReceived(ADA, p.Update(key(0, session="old"), 0, update)),
        cm.MessageReceived(ADA, p.Update(key(0, round_id=9), 0, update)),
        cm.MessageReceived(ADA, p.Update(key(99), 0, update)),
        cm.MessageReceived(
            ADA, p.LeaseReturn(key(0, attempt=9), failed=True, reason="")
        ),
    ]
    for event in stale:
        assert machine(event) == []
    assert machine.state.status(0) == before


def test_an_update_that_comes_twice_counts_once(machine):
    machine.join("ada", slots=2)
    machine.open(shards=2)
    machine.update("ada", 0)
    assert machine.update("ada", 0) == []
    status = machine.state.status(0)
    assert (status.shards_in, status.workers[0].shards_done) == (1, 1)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (
            cm.RoundOpened(0, toy_shards(0, 1), META),
            "RoundOpened came while",
        ),
        (cm.WorkerJoined(ADA, "ada", "x", "m", 1), "already in use"),
        (cm.WorkerJoined(BOB, "bob", "x", "m", 0), "has 0 slots"),
    ],
)
def test_what_our_own_side_may_not_do_raises_and_changes_nothing(
    machine, event, message
):
    machine.join("ada")
    machine.open(shards=1)
    before = machine.state.status(0)
    with pytest.raises(LocalProtocolError, match=message):
        machine(event)
    assert machine.state.status(0) == before


def test_a_round_must_have_shards_in_order_and_a_version_that_does_not_go_back(machine):
    with pytest.raises(LocalProtocolError, match=r"shards 0 \.\. n - 1, got \[\]"):
        machine(cm.RoundOpened(0, (), META))
    with pytest.raises(LocalProtocolError, match=r"got \[1, 0\]"):
        machine(cm.RoundOpened(0, toy_shards(0, 2)[::-1], META))
    machine.open(shards=1, version=3)
    machine(cm.RoundAbandoned("stop"))
    with pytest.raises(LocalProtocolError, match="back from 3 to 2"):
        machine.open(shards=1, version=2)
    machine(cm.RunEnded("done"))
    with pytest.raises(LocalProtocolError, match="coordinator is at its end"):
        machine.open(shards=1, version=4)


def test_the_clock_may_not_go_back(machine):
    machine(m.TimePassed(), at=5)
    with pytest.raises(LocalProtocolError, match=r"back from 5 to 4"):
        machine(m.TimePassed(), at=4)


def test_a_round_says_every_few_seconds_what_it_waits_for(machine):
    machine.open(shards=2)
    assert texts(machine(m.TimePassed(), at=4.9)) == ""
    commands = machine(m.TimePassed(), at=5)
    assert "0 of 2 shards are in; no worker is connected: start one" in texts(commands)
    assert machine.state.next_wakeup() == 10
    machine.join("ada", at=6)
    machine(cm.MessageReceived(ADA, p.Heartbeat()), at=9)
    assert texts(machine(m.TimePassed(), at=10)) == (
        "round 1: 0 of 2 shards are in; computing shard 0 on ada for 4 s; waiting "
        "shard 1: all slots are taken on ada"
    )


def test_the_status_shows_workers_leases_and_progress(machine):
    machine.join("ada")
    machine.open(shards=2)
    machine(cm.MessageReceived(ADA, p.Heartbeat(((key(0), 1), (key(1), 5)))), at=1)
    status = machine.state.status(3)
    (worker,) = status.workers
    (held,) = status.leases
    assert (worker.name, worker.leases, worker.silent_s) == ("ada", 1, 2)
    assert (held.worker, held.held_s, held.tasks_done, held.tasks) == ("ada", 3, 1, 2)


def test_an_update_of_a_lease_that_the_worker_was_not_given_does_not_count(machine):
    machine.join("ada")
    machine.join("bob")
    machine.open(shards=2)
    (refused,) = machine.update("bob", 0)
    assert "bob refused: it answers a lease that this worker was not given" in (
        refused.text
    )
    (refused,) = machine.update("ada", 0, attempt=2)
    assert "was not given" in refused.text
    assert machine.state.status(machine.now).shards_in == 0
    machine.update("ada", 0)
    assert of_type(machine.update("bob", 1), cm.CompleteRound)
