"""What must be true of the coordinator's books after every event.

Run by tests and by the simulator. A failure is a bug of ours, hence `assert`.
"""
# ruff: noqa: S101 - this file is made of assertions

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.policy import too_many_failures

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.state import Books, RoundBook
    from mlpeft.cluster.policy import Policy


def check_books(books: Books, policy: Policy) -> None:
    """Raise AssertionError if the books contradict themselves."""
    for worker_id, worker in books.workers.items():
        assert worker.info.worker == worker_id
        assert len(worker.held) <= worker.info.slots, "more leases than slots"
        assert worker.progress.keys() <= worker.held.keys()
        assert worker.last_seen <= books.now
    if books.over is not None:
        assert books.round is None, "a round is open after the end"
        assert not books.workers, "workers after the end"
    if books.round is not None:
        _check_round(books, books.round, policy)


def _check_round(books: Books, current: RoundBook, policy: Policy) -> None:
    indices = set(range(len(current.shards)))
    assert current.updates.keys() < indices, "a complete round is still open"
    for index in indices:
        live_for = current.live_for(index)
        processes = {books.workers[one.worker].info.incarnation for one in live_for}
        assert len(processes) == len(live_for) <= 2, "more than one backup"
    for key, live in current.live.items():
        assert live.worker in books.workers, "a lease of a worker that left"
        assert key in books.workers[live.worker].held
        assert books.workers[live.worker].version == current.version
        assert key[:2] == (books.session, current.round_id)
        assert key.shard not in current.updates
        assert 1 <= key.attempt <= current.attempts[key.shard]
    for shard, failures in current.failures.items():
        assert shard in current.updates or not too_many_failures(
            failures, books.candidates(), policy
        )
    idle = any(candidate.free > 0 for candidate in books.candidates())
    untouched = [
        index for index in current.waiting() if not current.failures.get(index)
    ]
    assert not (idle and untouched and not books.missing and books.paused is None), (
        "a shard waits although a slot is free"
    )
