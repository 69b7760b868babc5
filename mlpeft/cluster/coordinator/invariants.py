"""The invariants of the coordinator's state, checked after every event.

Tests and the simulator run them. A violation is a bug of ours, hence `assert`.
"""
# ruff: noqa: S101 - this file consists of assertions

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.policy import too_many_failures

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.state import ClusterState, OpenRound
    from mlpeft.cluster.policy import Policy


def check_state(state: ClusterState, policy: Policy) -> None:
    """Raise AssertionError if the state is inconsistent."""
    for worker_id, worker in state.workers.items():
        assert worker.info.worker == worker_id
        assert len(worker.held) <= worker.info.slots, "more leases than slots"
        assert worker.progress.keys() <= worker.held.keys()
        assert worker.last_seen <= state.now
    if state.over is not None:
        assert state.round is None, "a round is open after the end"
        assert not state.workers, "workers after the end"
    if state.round is not None:
        _check_round(state, state.round, policy)


def _check_round(state: ClusterState, current: OpenRound, policy: Policy) -> None:
    indices = set(range(len(current.shards)))
    assert set(current.updates) < indices, "a complete round is still open"
    for index in indices:
        live_for = current.live_for(index)
        processes = {state.workers[live.worker].info.process_id for live in live_for}
        assert len(processes) == len(live_for) <= 2, "more than one backup"
    for key, live in current.live.items():
        assert live.worker in state.workers, "a lease of a disconnected worker"
        assert key in state.workers[live.worker].held
        assert state.workers[live.worker].version == current.version
        assert key[:2] == (state.session, current.round_id)
        assert key.shard not in current.updates
        assert 1 <= key.attempt <= current.attempts[key.shard]
        alone = len(current.live_for(key.shard)) == 1
        wanted = alone and (live.slow or live.on_straggler)
        assert wanted == (key in current.to_back_up), "whether it needs a backup"
        assert not (live.slow and key in current.slow_leases), "slow twice"
    assert current.to_back_up.keys() <= current.live.keys()
    for shard, failures in current.failures.items():
        assert shard in current.updates or not too_many_failures(
            failures, state.candidates(), policy
        )
    idle = any(candidate.free > 0 for candidate in state.candidates())
    untouched = [
        index for index in current.waiting() if not current.failures.get(index)
    ]
    assert not (idle and untouched and not state.missing and state.paused is None), (
        "a shard waits while a slot is free"
    )
