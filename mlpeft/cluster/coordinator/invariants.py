"""The invariants of the coordinator's state, checked after every event.

Tests and the simulator run them. A violation is a bug of ours, hence `assert`.
"""
# ruff: noqa: S101 - this file consists of assertions

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mlpeft.cluster.policy import too_many_failures

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.open_round import OpenRound
    from mlpeft.cluster.coordinator.state import ClusterState
    from mlpeft.cluster.policy import Policy
    from mlpeft.cluster.protocol import WorkerId


def check_state(state: ClusterState, policy: Policy) -> None:
    """Raise AssertionError if the state is inconsistent."""
    for worker_id, worker in state.workers.items():
        assert worker.info.worker == worker_id
        assert len(worker.held) <= worker.info.slots, "more leases than slots"
        assert worker.progress.keys() <= worker.held.keys()
        assert worker.last_seen <= state.now
    _check_availability(state)
    if state.over is not None:
        assert state.round is None, "a round is open after the end"
        assert not state.workers, "workers after the end"
        assert not state.late, "leases after the end"
    if state.round is not None:
        _check_shards(state, state.round, policy)
        _check_leases(state, state.round)
        _check_indices(state.round)
        _check_audits(state.round)
    for round_id, late in state.late.items():
        _check_late(state, policy, round_id, late)
    for update in state.late_updates:
        assert policy.max_staleness, "a late update, although none counts"
        assert state.version is not None
        assert state.version - update.round <= policy.max_staleness, "too late"


def _check_late(
    state: ClusterState, policy: Policy, round_id: int, late: OpenRound
) -> None:
    assert late is not state.round
    assert late.live, "a closed round of which nothing is expected"
    assert late.closes_early
    assert state.version is not None
    assert state.version - late.version <= policy.max_staleness, "too late"
    for key, live in late.live.items():
        assert key[:2] == (state.session, round_id)
        assert live.worker in state.workers, "a late lease of a disconnected worker"
        assert key in state.workers[live.worker].held
        assert key.shard not in late.audited, "an audited shard is late"


def _check_availability(state: ClusterState) -> None:
    """Whether what is kept up to date is what a look at all workers finds."""
    candidates, kept = state.candidates(bounded=False), state.availability
    able = [each for each in candidates if each.able]
    assert kept.able == Counter(each.identity for each in able)
    responsive = Counter(each.identity for each in able if not each.stuck)
    assert kept.responsive == responsive
    free = {
        each.worker: state.rank(state.workers[each.worker])
        for each in able
        if each.free > 0
    }
    assert kept.free.ranks() == free, "who has a free slot"
    for index, name in (
        (kept.by_process, "process_id"),
        (kept.by_identity, "identity"),
    ):
        found: dict[str, dict[WorkerId, None]] = {}
        for each in candidates:
            found.setdefault(getattr(each, name), {})[each.worker] = None
        assert index == found, f"workers by {name}"


def _check_shards(state: ClusterState, current: OpenRound, policy: Policy) -> None:
    indices = set(range(len(current.shards)))
    assert set(current.updates) < indices, "a complete round is still open"
    leased = {key.shard for key in current.live}
    waiting = sorted(indices - set(current.updates) - leased)
    assert current.waiting() == waiting, "which shards wait"
    untried = [
        index
        for index in waiting
        if not current.failures.get(index) and index not in current.opinions
    ]
    assert current.waits.first_untried() == min(untried, default=None)
    assert current.waits.failed() == sorted(set(waiting) - set(untried))
    often = {
        shard
        for shard, failures in current.failures.items()
        if shard not in current.updates and len(failures) >= policy.max_attempts
    }
    assert current.often_failed == often
    for shard in often - current.opinions.keys():
        failures = current.failures[shard]
        assert not too_many_failures(failures, state.candidates(), policy)
    if untried and not state.missing and state.paused is None:
        idle = any(each.free > 0 for each in state.candidates())
        assert not idle, "a shard waits while a slot is free"


def _check_leases(state: ClusterState, current: OpenRound) -> None:
    processes: dict[int, list[str]] = {}
    for key, live in current.live.items():
        assert live.worker in state.workers, "a lease of a disconnected worker"
        worker = state.workers[live.worker]
        assert key in worker.held
        assert live.identity == worker.info.identity
        assert worker.version == current.version
        assert key[:2] == (state.session, current.round_id)
        assert key.shard not in current.updates
        assert 1 <= key.attempt <= current.attempts[key.shard]
        processes.setdefault(key.shard, []).append(worker.info.process_id)
    for key, live in current.live.items():
        alone = len(processes[key.shard]) == 1
        wanted = alone and (live.slow or live.on_straggler)
        assert wanted == (key in current.to_back_up), "whether it needs a backup"
        assert not (live.slow and key in current.slow_leases), "slow twice"
    assert current.to_back_up.keys() <= current.live.keys()
    for holders in processes.values():
        assert len(set(holders)) == len(holders) <= 2, "more than one backup"


def _check_indices(current: OpenRound) -> None:
    """Whether the indices of leases are those that a look at all leases finds."""
    shares = Counter(current.counted_for.values())
    shares.update(live.identity for live in current.live.values())
    shares.update(
        opinion.worker.identity
        for opinions in current.opinions.values()
        for opinion in opinions
    )
    assert +current.shares == shares, "shards of identities"
    for shard in range(len(current.shards)):
        keys = [key for key in current.live if key.shard == shard]
        assert current.keys_for(shard) == keys
    for worker in {live.worker for live in current.live.values()}:
        keys = [key for key, live in current.live.items() if live.worker == worker]
        assert current.live_of(worker) == keys


def _check_audits(current: OpenRound) -> None:
    opinions = current.opinions
    assert opinions.keys() <= current.audited, "an opinion that nobody asked for"
    assert not any(shard in current.updates for shard in opinions)
    disputed = {shard for shard, each in opinions.items() if len(each) > 1}
    assert current.disputed == disputed
    for shard, each in opinions.items():
        heard = current.heard(shard)
        assert len(heard) == len(each), "an identity was heard twice"
        holders = {live.identity for live in current.live_for(shard)}
        assert not holders & heard, "an identity is asked again"
