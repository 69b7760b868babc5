"""What the coordinator waits for, in words: no wait is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster import policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.cluster.coordinator.state import Books, LiveLease, RoundBook


def wait(books: Books) -> str:
    """What the open round waits for, or why there is none."""
    current = books.round
    if current is None:
        why = books.over or "no round is open"
        return f"{why}; {_paused(books)}" if books.paused is not None else why
    if books.missing and books.workers:
        reason = (
            f"{len(books.workers)} connected, and cluster.min_workers asks for "
            f"{books.missing} more to start"
        )
        expected = books.expecting()
        if expected:
            reason += f"; getting ready: {_some(expected)}"
    else:
        _, reason = round_wait(
            done=len(current.updates),
            total=len(current.shards),
            connected=len(books.workers),
            waiting=_waiting(books, current),
            held=_held(books, current),
            invitation=books.invitation,
            expected=books.expecting(),
        )
    if books.paused is not None:
        reason = f"{_paused(books)}; {reason}"
    return f"round {current.round_id}: {reason}"


def _paused(books: Books) -> str:
    return f"paused ({books.paused}), `mlpeft resume` goes on"


def _waiting(books: Books, current: RoundBook) -> list[str]:
    """Shards that nobody holds, together where the reason is the same."""
    candidates = books.candidates()
    by_reason: dict[str, list[int]] = {}
    for index in current.waiting():
        failures = current.failures.get(index, ())
        _, reason = policy.choose_worker(candidates, failures)
        if books.paused is not None:
            reason = "paused"
        by_reason.setdefault(reason, []).append(index)
    return [f"{shards_named(shards)}: {why}" for why, shards in by_reason.items()]


def _held(books: Books, current: RoundBook) -> list[str]:
    """Shards that are being computed, each with who holds it."""
    return [
        f"shard {key.shard} on {books.workers[live.worker].info.name} for "
        f"{books.now - live.granted_at:.0f} s{_manner(live)}"
        for key, live in current.live.items()
    ]


def _manner(live: LiveLease) -> str:
    """What is unusual about a lease."""
    if live.computed_at is not None:
        return " (done; its update waits for those before it)"
    return " (slow)" if live.slow else ""


def round_wait(
    *,
    done: int,
    total: int,
    connected: int,
    waiting: Sequence[str],
    held: Sequence[str],
    invitation: str,
    expected: Sequence[str] = (),
) -> tuple[bool, str]:
    """Whether a round is complete, and if not, what it waits for.

    Args:
        done: Shards that are in.
        total: Shards of the round.
        connected: Connected workers.
        waiting: Shards that nobody holds, together where the reason is the same.
        held: Shards that are being computed, each with who holds it.
        invitation: How to start a worker for this coordinator, for people.
        expected: Workers that get ready to connect.
    """
    if done == total:
        return True, f"all {total} shards are in"
    have = f"{done} of {total} shards are in"
    if connected == 0 and expected:
        return False, f"{have}; workers are getting ready: {_some(expected)}"
    if connected == 0:
        return False, f"{have}; no worker is connected: start one with {invitation}"
    parts = [have]
    if held:
        parts.append("computing " + _some(held))
    if waiting:
        parts.append("waiting " + _some(waiting))
    return False, "; ".join(parts)


def shards_named(shards: Sequence[int]) -> str:
    """A few shards by number, many by how many they are."""
    if len(shards) == 1:
        return f"shard {shards[0]}"
    if len(shards) <= 3:
        return f"shards {', '.join(map(str, shards))}"
    return f"{len(shards)} shards"


def _some(texts: Sequence[str], most: int = 4) -> str:
    """A few of many, for a line that people read."""
    rest = len(texts) - most
    shown = ", ".join(texts[:most])
    return f"{shown} and {rest} more" if rest > 0 else shown
