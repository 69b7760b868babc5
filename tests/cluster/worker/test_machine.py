"""The worker's state machine, command by command."""

import pytest

from mlpeft.cluster import messages as m
from mlpeft.cluster import protocol as p
from mlpeft.cluster.sim import toy_update
from mlpeft.cluster.worker import messages as wm
from mlpeft.cluster.worker.machine import WorkerPolicy
from mlpeft.errors import LocalProtocolError
from tests.cluster.builders import THETA, Hand, key, lease, of_type, theta

UPDATE = toy_update(THETA, lease(0).shard)


def test_a_worker_dials_at_once_and_again_after_longer_and_longer_waits(hand):
    assert hand(wm.Started()) == [wm.DialCoordinator(0.0)]
    delays = []
    for _ in range(9):
        commands = hand(wm.StreamLost("nobody there", jitter=0.5))
        (dial,) = of_type(commands, wm.DialCoordinator)
        delays.append(dial.delay_s)
    assert delays[:3] == [0.1875, 0.375, 0.75]
    assert delays[-2:] == [7.5, 7.5]


def test_jitter_spreads_workers_over_half_the_wait():
    policy = WorkerPolicy(first_delay_s=1.0, longest_delay_s=8.0)
    assert policy.delay_s(1, 0.0) == 0.5
    assert policy.delay_s(1, 0.999) < 1.0
    assert policy.delay_s(10_000, 1.0) == 8.0


def test_a_waiting_worker_says_what_it_waits_for_but_not_at_every_try(hand):
    hand(wm.Started())
    said = [
        bool(of_type(hand(wm.StreamLost("nobody there", 0.0), at=at), m.Announce))
        for at in (0, 1, 4.9, 5, 6, 10, 14.9, 15, 34.9, 35)
    ]
    assert said == [True, False, False, True, False, False, False, True, False, True]


def test_a_weekend_of_waiting_leaves_some_hundred_lines(hand):
    hand(wm.Started())
    said = sum(
        bool(of_type(hand(wm.StreamLost("nobody there", 0.0), at=at), m.Announce))
        for at in range(0, 60 * 3600, 10)
    )
    assert 300 < said < 400


def test_a_lease_is_computed_when_its_theta_is_here(hand):
    hand.join()
    assert hand(lease(0)) == []
    assert hand(theta(0)) == [wm.ComputeShard(lease(0))]
    assert hand(lease(1)) == [wm.ComputeShard(lease(1))]
    assert hand(wm.ShardComputed(key(0), UPDATE)) == [
        wm.Send(p.Update(key(0), 0, UPDATE))
    ]


def test_a_lease_that_comes_twice_is_computed_once(hand):
    hand.join()
    hand(theta(0))
    hand(lease(0))
    assert hand(lease(0)) == []


def test_a_lease_of_an_older_theta_goes_back(hand):
    hand.join()
    hand(lease(0, version=1))
    assert hand(theta(2)) == [
        wm.Send(p.LeaseReturn(key(0), False, "theta version 1 was replaced by 2"))
    ]
    assert of_type(hand(lease(1, version=1)), p.LeaseReturn)
    assert hand(theta(1)) == []
    assert hand.state.version == 2


def test_a_revoked_shard_is_dropped_and_its_slot_given_back(hand):
    hand.join()
    hand(lease(1, version=5))
    assert hand(p.LeaseRevocation(key(1), "in")) == [
        wm.Send(p.LeaseReturn(key(1), False, "in"))
    ]
    hand(theta(0))
    hand(lease(0))
    assert hand(p.LeaseRevocation(key(0), "in")) == [wm.CancelShard(key(0))]
    assert hand(p.LeaseRevocation(key(0), "in")) == []
    assert hand(wm.ShardCancelled(key(0))) == [
        wm.Send(p.LeaseReturn(key(0), False, "as told"))
    ]


def test_a_shard_computed_in_spite_of_its_revocation_is_not_sent(hand):
    hand.join()
    hand(theta(0))
    hand(lease(0))
    hand(p.LeaseRevocation(key(0), "in"))
    (back,) = hand(wm.ShardComputed(key(0), UPDATE))
    assert isinstance(back.message, p.LeaseReturn)


def test_a_shard_that_cannot_be_computed_goes_back_with_the_reason(hand):
    hand.join()
    hand(theta(0))
    hand(lease(0))
    commands = hand(wm.ShardFailed(key(0), "no memory"))
    assert of_type(commands, p.LeaseReturn) == [
        wm.Send(p.LeaseReturn(key(0), True, "no memory"))
    ]


def test_heartbeats_are_sent_on_time_with_progress(hand):
    hand.join()
    hand(theta(0))
    hand(lease(0))
    hand(wm.ProgressMade(key(0), 1))
    hand(wm.ProgressMade(key(9), 1))
    assert hand.state.next_wakeup() == 1.0
    assert hand(m.TimePassed(), at=0.9) == []
    assert hand(m.TimePassed(), at=1.0) == [wm.Send(p.Heartbeat(((key(0), 1),)))]
    assert hand.state.next_wakeup() == 2.0
    assert hand(m.TimePassed(), at=2.0) == [wm.Send(p.Heartbeat())], "nothing new"
    hand(wm.ProgressMade(key(0), 2))
    assert hand(m.TimePassed(), at=3.0) == [wm.Send(p.Heartbeat(((key(0), 2),)))]


def test_no_heartbeat_is_due_beside_another_message(hand):
    hand.join()
    hand(theta(0))
    hand(lease(0))
    hand(wm.ShardComputed(key(0), UPDATE), at=0.7)
    assert hand.state.next_wakeup() == 1.7
    assert hand(m.TimePassed(), at=1.0) == []
    assert hand(m.TimePassed(), at=1.7) == [wm.Send(p.Heartbeat())]


def test_a_shard_computed_while_the_line_was_down_is_sent_after_rejoining(hand):
    hand.join("s")
    hand(theta(0))
    hand(lease(0))
    hand(wm.StreamLost("gone", 0.0))
    assert hand(wm.ShardComputed(key(0), UPDATE)) == []
    assert hand.join("s") == [wm.Send(p.Update(key(0), 0, UPDATE))]


def test_what_belongs_to_another_session_is_dropped(hand):
    """The restarted coordinator's first lease has the old one's numbers."""
    hand.join("s")
    hand(theta(0))
    hand(lease(0))
    hand(lease(1))
    hand(wm.StreamLost("gone", 0.0))
    hand(wm.ShardComputed(key(0), UPDATE))
    assert hand.join("t") == [wm.CancelShard(key(1))]
    hand(theta(0))
    fresh = lease(1, session="t")
    assert hand(fresh) == [wm.ComputeShard(fresh)]


def test_a_worker_waits_for_the_next_run_unless_told_once(hand):
    hand.join()
    (said,) = hand(p.RunOver("done"))
    assert said.text == "run over: done; waiting for the next"
    assert hand(wm.StreamLost("no run yet", jitter=0.5)) == [wm.DialCoordinator(0.1875)]
    once = Hand(once=True)
    once.join()
    assert once(p.RunOver("done")) == [wm.Stop("run over: done", failed=False)]


def test_a_refused_worker_stops_with_the_reason(hand):
    hand(wm.Started())
    assert hand(wm.JoinRefused("mlx differs")) == [wm.Stop("mlx differs", failed=True)]
    assert hand(wm.StreamLost("gone", 0.0)) == []


def test_a_worker_told_to_stop_finishes_the_shard_in_hand_and_returns_others(hand):
    hand.join()
    hand(theta(0))
    for index in range(3):
        hand(lease(index))
    hand(lease(3, version=1))
    assert hand(wm.StopRequested("Ctrl-C")) == [
        wm.Send(p.Draining()),
        wm.Send(p.LeaseReturn(key(3), False, "Ctrl-C")),
        wm.CancelShard(key(1)),
        wm.CancelShard(key(2)),
    ]
    assert hand(wm.StopRequested("Ctrl-C")) == []
    assert of_type(hand(lease(4)), p.LeaseReturn)
    hand(wm.ShardCancelled(key(1)))
    hand(wm.ShardCancelled(key(2)))
    assert hand(wm.ShardComputed(key(0), UPDATE)) == [
        wm.Send(p.Update(key(0), 0, UPDATE)),
        wm.Stop("Ctrl-C", failed=False),
    ]


def test_an_idle_worker_told_to_stop_says_so_and_leaves(hand):
    hand.join()
    assert hand(wm.StopRequested("Ctrl-C")) == [
        wm.Send(p.Draining()),
        wm.Stop("Ctrl-C", False),
    ]


def test_a_worker_that_cannot_reach_anyone_stops_at_once(hand):
    hand(wm.Started())
    assert hand(wm.StopRequested("Ctrl-C")) == [wm.Stop("Ctrl-C", failed=False)]


def test_a_worker_that_is_to_stop_does_not_wait_for_the_next_run(hand):
    """Its shard is under way when the run ends."""
    hand.join()
    hand(theta(0))
    hand(lease(0))
    hand(wm.StopRequested("Ctrl-C"))
    assert hand(p.RunOver("done")) == [
        wm.CancelShard(key(0)),
        wm.Stop("Ctrl-C", failed=False),
    ]


def test_a_drained_worker_finishes_the_shard_in_hand_and_says_why_it_ended(hand):
    hand.join()
    hand(theta(0))
    hand(lease(0))
    assert hand(p.Drain("by ada")) == [wm.Send(p.Draining())]
    assert hand(wm.ShardComputed(key(0), UPDATE))[-1] == wm.Stop(
        "drained: by ada", failed=False
    )


def test_the_clock_may_not_go_back(hand):
    hand(wm.Started())
    with pytest.raises(LocalProtocolError, match="clock went back"):
        hand(m.TimePassed(), at=-1.0)


def test_what_the_coordinator_has_to_say_is_shown_to_the_people_here(hand):
    hand.join()
    (said,) = hand(p.Notice("quarantined, no shards for now: ..."))
    assert said.text == "the coordinator says: quarantined, no shards for now: ..."


def test_an_owner_who_returns_gets_the_machine_and_every_lease_goes_back(hand):
    """One shard is computed, one waits behind it, one waits for its theta."""
    hand.join()
    hand(theta(0))
    hand(lease(0))
    hand(lease(1))
    hand(lease(2, version=1))
    commands = hand(wm.MachineNeeded("in use"))
    assert commands[0] == m.Announce(m.Level.INFO, "away: in use")
    assert of_type(commands, p.Away) == [wm.Send(p.Away("in use", 1))]
    assert of_type(commands, p.LeaseReturn) == [
        wm.Send(p.LeaseReturn(key(shard), failed=False, reason="in use"))
        for shard in (2, 0, 1)
    ]
    cancels = of_type(commands, wm.CancelShard)
    assert cancels == [wm.CancelShard(key(0)), wm.CancelShard(key(1))]
    assert not hand.state.working
    assert hand(wm.MachineNeeded("in use")) == []
    # What the computing thread says of them now changes nothing.
    assert hand(wm.ProgressMade(key(0), 1)) == []
    assert hand(wm.ShardComputed(key(0), UPDATE)) == []
    assert hand(wm.ShardCancelled(key(1))) == []
    # A lease that crossed the message goes back as well.
    assert hand(lease(0, attempt=2)) == [
        wm.Send(p.LeaseReturn(key(0, attempt=2), failed=False, reason="in use"))
    ]
    back = hand(wm.MachineFree())
    assert of_type(back, p.Away) == [wm.Send(p.Away("", 2))]
    assert hand(lease(0, attempt=3)) == [wm.ComputeShard(lease(0, attempt=3))]


def test_a_machine_in_use_is_not_dialled_from_until_it_is_free(hand):
    hand(wm.MachineNeeded("in use"))
    assert hand(wm.Started()) == []
    assert of_type(hand(wm.MachineFree()), wm.DialCoordinator) == [
        wm.DialCoordinator(0.0)
    ]


def test_a_dial_under_way_is_finished_and_the_coordinator_told(hand):
    hand(wm.Started())
    hand(wm.MachineNeeded("on battery"))
    assert hand.join() == [wm.Send(p.Away("on battery", 1))]


def test_a_line_that_breaks_while_away_is_not_dialled_again_at_once(hand):
    hand.join()
    hand(wm.MachineNeeded("in use"))
    assert not of_type(hand(wm.StreamLost("gone", 0.5)), wm.DialCoordinator)
    assert of_type(hand(wm.MachineFree()), wm.DialCoordinator)


def test_a_run_that_ends_while_away_is_left_and_the_next_joined_when_free(hand):
    hand.join()
    hand(wm.MachineNeeded("in use"))
    hand(p.RunOver("run a: done; run b follows"))
    assert not of_type(hand(wm.StreamLost("no run yet", 0.5)), wm.DialCoordinator)
    assert of_type(hand(wm.MachineFree()), wm.DialCoordinator)


def test_a_worker_that_is_away_stops_at_once(hand):
    hand.join()
    hand(theta(0))
    hand(lease(0))
    hand(wm.MachineNeeded("in use"))
    assert wm.Stop("stopped by SIGTERM", failed=False) in hand(
        wm.StopRequested("stopped by SIGTERM")
    )
