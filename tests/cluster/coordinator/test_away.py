"""Workers whose machine is needed otherwise."""

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.messages import Announce
from mlpeft.cluster.protocol import WorkerId
from tests.cluster.builders import granted, key, of_type

ADA, BOB = WorkerId("ada-id"), WorkerId("bob-id")


def away(machine, worker, reason, change):
    return machine(cm.MessageReceived(worker, p.Away(reason, change)))


def back(machine, worker, shard, attempt=1):
    returned = p.LeaseReturn(key(shard, attempt), failed=False, reason="in use")
    return machine(cm.MessageReceived(worker, returned))


def test_the_leases_of_a_worker_that_is_away_go_to_another_and_are_no_failures(machine):
    machine.join("ada")
    machine.join("bob")
    machine.open(shards=3)
    (said,) = of_type(away(machine, ADA, "in use", 1), Announce)
    assert said.text == "worker ada is away: in use"
    assert away(machine, ADA, "in use", 2) == []
    assert granted(back(machine, ADA, 0)) == []
    assert granted(machine.update("bob", 1)) == [(BOB, key(0, attempt=2))]
    status = machine.state.status(0)
    assert [(worker.state, worker.away) for worker in status.workers] == [
        ("away", "in use"),
        ("working", ""),
    ]
    assert status.workers[0].failures == 0
    assert set(status.failures.values()) == {0}


def test_a_round_waits_for_workers_that_are_all_away_and_says_so(machine):
    machine.join("ada")
    machine.open(shards=1)
    away(machine, ADA, "in use", 1)
    back(machine, ADA, 0)
    assert machine.state.status(0).wait == (
        "round 1: 0 of 1 shards are in; waiting shard 0: every connected worker is "
        "away: ada (in use)"
    )
    commands = away(machine, ADA, "", 2)
    assert of_type(commands, Announce)[0].text == "worker ada is back"
    assert granted(commands) == [(ADA, key(0, attempt=2))]


def test_a_shard_that_failed_elsewhere_is_not_given_up_by_a_worker_that_is_away(
    machine,
):
    """max_attempts is 3; the only other worker is away, so that all have failed."""
    machine.join("ada")
    machine.join("bob")
    away(machine, BOB, "in use", 1)
    machine.open(shards=1)
    for attempt in (1, 2):
        failed = p.LeaseReturn(key(0, attempt), failed=True, reason="no luck")
        assert not of_type(machine(cm.MessageReceived(ADA, failed)), cm.FailRound)
    assert granted(away(machine, BOB, "", 2)) == []
    failed = p.LeaseReturn(key(0, 3), failed=True, reason="no luck")
    assert granted(machine(cm.MessageReceived(ADA, failed))) == [
        (BOB, key(0, attempt=4))
    ]


def test_a_message_that_was_overtaken_changes_nothing(machine):
    """Or a worker that is back would be away for ever."""
    machine.join("ada")
    away(machine, ADA, "", 2)
    assert away(machine, ADA, "in use", 1) == []
    assert machine.state.status(0).workers[0].state == "idle"
