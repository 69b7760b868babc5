"""Builders that read well in tests of the state machines."""

import dataclasses

import numpy as np

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.policy import Policy
from mlpeft.cluster.sim import toy_shards, toy_update
from mlpeft.cluster.worker import messages as wm
from mlpeft.cluster.worker.machine import WorkerMachine, WorkerPolicy
from mlpeft.config import ClusterSection
from mlpeft.work import Displacement

THETA = np.ones(5, dtype=np.float32)
META = {"w": THETA}


def policy_with(**changes):
    """The default policy, without outlier checks unless a test asks for them."""
    usual = Policy.from_config(
        ClusterSection(norm_factor=0),
        displacement=Displacement.FROM_THETA,
        ordered_sum=False,
    )
    return dataclasses.replace(usual, **changes)


class Machine:
    """A coordinator at a time that the test sets."""

    def __init__(self, policy):
        self.state = CoordinatorMachine("s", policy)
        self.now = 0.0

    def __call__(self, event, at=None):
        self.now = self.now if at is None else at
        commands = self.state.handle(event, self.now)
        self.state.check_invariants()
        return commands

    def join(self, name, slots=1, process_id=None, identity=None, at=None):
        worker = p.WorkerId(f"{name}-id")
        process_id = process_id or f"{name}-process"
        identity = identity or f"{name}-machine"
        return self(cm.WorkerJoined(worker, name, process_id, identity, slots), at)

    def open(self, shards=2, version=0):
        return self(cm.RoundOpened(version, toy_shards(version, shards), META))

    def update(
        self, name, shard, attempt=1, round_id=1, version=0, worker=None, **changes
    ):
        message = p.Update(
            key(shard, attempt, round_id),
            version,
            toy_update(THETA, toy_shards(version, shard + 1)[shard]),
        )
        worker = worker or p.WorkerId(f"{name}-id")
        return self(cm.MessageReceived(worker, dataclasses.replace(message, **changes)))


def key(shard, attempt=1, round_id=1, session="s"):
    return p.LeaseKey(session, round_id, shard, attempt)


def lease(shard, attempt=1, version=0, session="s", round_id=1):
    shards = toy_shards(0, shard + 1)
    return p.Lease(key(shard, attempt, round_id, session), version, shards[shard], 10.0)


def theta(version):
    return p.Theta(version, META)


def of_type(commands, *kinds):
    """Commands of these types, and those that send such a message."""
    return [
        command
        for command in commands
        if isinstance(command, kinds)
        or isinstance(getattr(command, "message", None), kinds)
    ]


def granted(commands):
    return [(c.worker, c.message.key) for c in of_type(commands, p.Lease)]


class Hand:
    """A worker at a time that the test sets."""

    def __init__(self, **policy):
        self.state = WorkerMachine(WorkerPolicy(**policy))
        self.now = 0.0

    def __call__(self, event, at=None):
        self.now = self.now if at is None else at
        commands = self.state.handle(event, self.now)
        self.state.check_invariants()
        return commands

    def join(self, session="s"):
        if self.state.phase == "idle":
            self(wm.Started())
        return self(wm.CoordinatorJoined(session, heartbeat_s=1.0))
