"""Theta and updates that are long on their way: while bytes move, nobody is late.

A worker that acknowledges theta, or whose update comes in, lives, even if its
heartbeats are stuck. A lease's time starts when its theta has arrived, and does not run
out while its update comes in. That holds only for transfers that get on: below
`LEAST_RATE` a worker could hold a shard for ever by sending a byte now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator.messages import ThetaMoved
from mlpeft.cluster.coordinator.state import Transfer

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.messages import Commands, UpdateMoved
    from mlpeft.cluster.coordinator.open_round import LiveLease, OpenRound
    from mlpeft.cluster.coordinator.state import ClusterState, WorkerRecord
    from mlpeft.cluster.policy import Policy
    from mlpeft.cluster.protocol import LeaseKey

LEAST_RATE = 1 << 10
"""Bytes per second, averaged over a transfer, below which it does not get on."""


class Transfers:
    """Notes how far transfers are.

    Args:
        state: What the coordinator knows.
        policy: The numbers that decisions turn on.
    """

    def __init__(self, state: ClusterState, policy: Policy) -> None:
        self._state = state
        self._policy = policy

    def moved(self, event: ThetaMoved | UpdateMoved) -> Commands:
        """Bytes moved to or from a worker."""
        worker, now = self._state.workers.get(event.worker), self._state.now
        if worker is None:
            return []
        label: int | LeaseKey
        if isinstance(event, ThetaMoved):
            label, before = event.version, worker.sending
        else:
            label, before = event.key, worker.receiving
        since = now if before is None or before.label != label else before.since
        transfer = Transfer(label, since, event.done_bytes, event.total_bytes)
        under_way = None if transfer.done_bytes >= transfer.total_bytes else transfer
        if isinstance(event, ThetaMoved):
            worker.sending = under_way
        else:
            worker.receiving = under_way
        expected = LEAST_RATE * (now - since - self._policy.lost_after_s)
        if transfer.done_bytes >= expected:
            worker.last_seen = now
            self._extend(worker, label)
        return []

    def _extend(self, worker: WorkerRecord, label: int | LeaseKey) -> None:
        """Give the leases that wait for a transfer their time."""
        for current in self._state.rounds():
            for key in current.live_of(worker.info.worker):
                self._extend_lease(current, worker, key, label)

    def _extend_lease(
        self,
        current: OpenRound,
        worker: WorkerRecord,
        key: LeaseKey,
        label: int | LeaseKey,
    ) -> None:
        live, now = current.live[key], self._state.now
        if label == current.version:
            self._start_later(live, now)
            if key in current.slow_leases:
                self._watch_later(current, worker, key)
            return
        # Another lease's update may wait behind the one that moves.
        live.deadline = max(live.deadline, now + self._policy.lost_after_s)
        if label == key:
            live.warn_at = None

    def _start_later(self, live: LiveLease, now: float) -> None:
        """A lease whose theta is under way starts now at the earliest."""
        lease_s = live.lease.lease_s
        live.deadline = max(live.deadline, now + lease_s)
        if live.warn_at is not None:
            live.warn_at = max(live.warn_at, now + lease_s / 2)

    def _watch_later(
        self, current: OpenRound, worker: WorkerRecord, key: LeaseKey
    ) -> None:
        """Nor is it slow beside the others before theta is there."""
        shard = current.live[key].lease.shard
        weight = (list(worker.held).index(key) + 1) * len(shard.tasks)
        current.slow_leases.discard(key)
        current.slow_leases.add(key, shard.kind, weight, self._state.now)
