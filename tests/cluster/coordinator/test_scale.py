"""An event costs as much with a thousand workers as with ten."""

import sys

import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.coordinator.updates import Turn
from mlpeft.cluster.messages import TimePassed
from mlpeft.cluster.protocol import WorkerId
from mlpeft.cluster.sim import toy_shards, toy_update
from tests.cluster.builders import META, THETA, granted, policy_with


class Cluster:
    """Workers of one slot each; half of them have a shard."""

    def __init__(self, workers, **policy):
        self.machine = CoordinatorMachine("s", policy_with(norm_factor=30, **policy))
        for index in range(workers):
            name = f"w{index}"
            self.send(
                cm.WorkerJoined(WorkerId(name), name, f"p{index}", f"i{index}", 1)
            )
        self.shards = toy_shards(0, workers // 2)
        opened = self.send(cm.RoundOpened(0, self.shards, META))
        self.leased = granted(opened)

    def send(self, event, at=0.0):
        commands = self.machine.handle(event, at)
        self.machine.next_wakeup()
        return commands

    def update(self):
        worker, lease_key = self.leased.pop()
        update = toy_update(THETA, self.shards[lease_key.shard])
        return cm.MessageReceived(worker, p.Update(lease_key, 0, update))

    def event(self, name):
        worker, lease_key = self.leased[-1]
        failure = p.LeaseReturn(lease_key, failed=True, reason="no memory")
        events = {
            "heartbeat": lambda: cm.MessageReceived(worker, p.Heartbeat()),
            "update": self.update,
            "failure": lambda: cm.MessageReceived(worker, failure),
            "loss": lambda: cm.WorkerLeft(worker, "gone"),
            "join": lambda: cm.WorkerJoined(WorkerId("new"), "new", "new", "new", 1),
            "upload": lambda: cm.UploadHeld(worker, lease_key),
            "expected": lambda: cm.WorkerExpected("new", "new"),
            "time": TimePassed,
        }
        return events[name]()


def steps(action):
    """Bytecodes that an action takes: time without noise."""
    count = 0

    def trace(frame, what, _):
        nonlocal count
        frame.f_trace_opcodes = True
        count += what == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "name",
    [
        *("heartbeat", "update", "failure", "loss"),
        *("join", "upload", "expected", "time"),
    ],
)
def test_an_event_costs_as_much_with_a_thousand_workers_as_with_ten(name):
    costs = []
    for workers in (10, 1000):
        cluster = Cluster(workers)
        event = cluster.event(name)
        costs.append(steps(lambda: cluster.send(event, at=0.5)))  # noqa: B023 - at once
    assert costs[1] < 1.5 * costs[0]


def test_a_turn_of_a_large_update_is_found_without_a_look_at_every_lease():
    costs = []
    for workers in (20, 2000):
        cluster = Cluster(workers, ordered_sum=True, room_bytes=0)
        worker, lease_key = cluster.leased[-1]
        turn = cluster.machine.upload_turn
        assert turn(worker, lease_key) is Turn.LATER
        costs.append(steps(lambda: turn(worker, lease_key)))  # noqa: B023 - at once
    assert costs[1] < 1.5 * costs[0]
