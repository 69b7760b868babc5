"""What may happen in which phase: the tables cover all events, and are enforced."""

import pickle
from typing import get_args

import pytest

from mlpeft.cluster import messages as m
from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator import transitions as coordinator
from mlpeft.cluster.sim import toy_shards, toy_update
from mlpeft.cluster.transitions import IGNORED, Transitions, to
from mlpeft.cluster.worker import messages as wm
from mlpeft.cluster.worker import transitions as worker
from mlpeft.errors import LocalProtocolError
from tests.cluster.builders import (
    META,
    THETA,
    Hand,
    Machine,
    key,
    lease,
    policy_with,
    theta,
)

ADA = p.WorkerId("ada-id")
UPDATE = toy_update(THETA, lease(0).shard)

WORKER_EVENTS = [
    wm.Started(),
    wm.StopRequested("Ctrl-C"),
    wm.MachineNeeded("in use"),
    wm.MachineFree(),
    m.TimePassed(),
    wm.CoordinatorJoined("s", 1.0),
    wm.StreamLost("gone", 0.5),
    wm.JoinRefused("mlx differs"),
    theta(0),
    lease(0),
    p.LeaseRevocation(key(0), "in"),
    p.Notice("quarantined"),
    p.Drain("wanted elsewhere"),
    p.RunOver("done"),
    wm.ProgressMade(key(0), 1),
    wm.ShardComputed(key(0), UPDATE),
    wm.ShardFailed(key(0), "no memory"),
    wm.ShardCancelled(key(0)),
]
COORDINATOR_EVENTS = [
    cm.RoundOpened(1, toy_shards(1, 2), META),
    cm.RoundAbandoned("stop"),
    cm.RunEnded("done"),
    cm.WorkerExpected("bob", "bob-process"),
    cm.WorkerJoined(p.WorkerId("bob-id"), "bob", "bob-process", "bob-machine", 1),
    cm.WorkerLeft(ADA, "gone"),
    cm.MessageReceived(ADA, p.LeaseReturn(key(0), True, "no memory")),
    cm.UploadHeld(ADA, key(0)),
    cm.ThetaMoved(ADA, 0, 1, 2),
    cm.UpdateMoved(ADA, key(0), 1, 2),
    cm.PauseRequested("lunch"),
    cm.ResumeRequested(),
    cm.DrainRequested("ada", "wanted elsewhere"),
    cm.ReleaseRequested("ada"),
    m.TimePassed(),
]


def worker_in(phase):
    """A worker in a phase; with a shard in hand if it works."""
    hand = Hand()
    hand(m.TimePassed())
    if phase is not worker.Phase.IDLE:
        hand(wm.Started())
    if phase is worker.Phase.WORKING:
        hand.join()
        hand(theta(0))
        hand(lease(0))
    if phase is worker.Phase.STOPPED:
        hand(wm.StopRequested("SIGTERM"))
    assert hand.state.phase is phase
    return hand


def coordinator_in(phase):
    """A coordinator in a phase, with one worker if the run goes on."""
    machine = Machine(policy_with())
    machine.join("ada")
    if phase is coordinator.Phase.ROUND:
        machine.open(shards=1)
    if phase is coordinator.Phase.OVER:
        machine(cm.RunEnded("done"))
    assert machine.state.phase is phase
    return machine


def named(event):
    return type(event).__name__


def obeys(machine, table, event):
    """The machine does with an event what the table says."""
    before, knows = machine.state.phase, pickle.dumps(vars(machine.state))
    following = table[type(event)].get(before)
    if following is None:
        with pytest.raises(LocalProtocolError, match=f"{named(event)} came while"):
            machine(event)
    elif following == IGNORED:
        assert machine(event) == []
    else:
        machine(event)
        assert machine.state.phase in following
        return
    assert pickle.dumps(vars(machine.state)) == knows


@pytest.mark.parametrize("event", WORKER_EVENTS, ids=named)
@pytest.mark.parametrize("phase", worker.Phase)
def test_a_worker_takes_in_ignores_or_refuses_as_its_table_says(phase, event):
    obeys(worker_in(phase), worker.TABLE, event)


@pytest.mark.parametrize("event", COORDINATOR_EVENTS, ids=named)
@pytest.mark.parametrize("phase", coordinator.Phase)
def test_a_coordinator_takes_in_ignores_or_refuses_as_its_table_says(phase, event):
    obeys(coordinator_in(phase), coordinator.TABLE, event)


@pytest.mark.parametrize(
    ("table", "events", "samples"),
    [
        (worker.TABLE, wm.WorkerEvent, WORKER_EVENTS),
        (coordinator.TABLE, cm.CoordinatorEvent, COORDINATOR_EVENTS),
    ],
    ids=["worker", "coordinator"],
)
def test_the_table_lists_every_event_and_no_other(table, events, samples):
    assert set(table) == set(get_args(events)) == {type(event) for event in samples}


def test_only_what_our_own_side_gets_wrong_is_illegal():
    """Late, repeated and misdirected messages are legal once there was a stream."""
    for message in get_args(p.Instruction):
        assert set(worker.Phase) - set(worker.TABLE[message]) == {worker.Phase.IDLE}
    assert set(coordinator.TABLE[cm.MessageReceived]) == set(coordinator.Phase)
    for event in (wm.StreamLost, p.RunOver):
        assert worker.Phase.IDLE not in worker.TABLE[event]
    assert worker.Phase.WORKING not in worker.TABLE[wm.CoordinatorJoined]


def test_a_refused_event_says_what_came_when_and_when_it_may():
    with pytest.raises(LocalProtocolError) as caught:
        worker_in(worker.Phase.WORKING)(wm.CoordinatorJoined("t", 1.0))
    assert str(caught.value) == (
        "CoordinatorJoined came while the worker is working; it is legal while the "
        "worker is: dialling, stopped"
    )


def test_a_machine_that_leaves_its_table_is_told_so():
    phase = worker.Phase
    transitions = Transitions("it", {wm.Started: {phase.IDLE: to(phase.DIALLING)}})
    following = transitions.following(wm.Started(), phase.IDLE)
    transitions.check(wm.Started(), phase.IDLE, phase.DIALLING, following)
    with pytest.raises(AssertionError, match="from idle to working after Started"):
        transitions.check(wm.Started(), phase.IDLE, phase.WORKING, following)
