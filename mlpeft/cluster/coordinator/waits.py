"""What the coordinator waits for, in words: no wait is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster import policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.cluster.coordinator.state import ClusterState, LiveLease, OpenRound


def wait(state: ClusterState) -> str:
    """What the open round waits for, or why there is none."""
    current = state.round
    if current is None:
        why = state.over or "no round is open"
        return f"{why}; {_paused(state)}" if state.paused is not None else why
    if state.missing and state.workers:
        reason = (
            f"{len(state.workers)} connected, and cluster.min_workers asks for "
            f"{state.missing} more to start"
        )
        expected = state.expecting()
        if expected:
            reason += f"; getting ready: {_some(expected)}"
    else:
        _, reason = round_wait(
            done=len(current.updates),
            total=len(current.shards),
            connected=len(state.workers),
            waiting=_waiting(state, current),
            held=_held(state, current),
            join_command=state.join_command,
            expected=state.expecting(),
        )
    if state.paused is not None:
        reason = f"{_paused(state)}; {reason}"
    return f"round {current.round_id}: {reason}"


def _paused(state: ClusterState) -> str:
    return f"paused ({state.paused}), `mlpeft resume` goes on"


def _waiting(state: ClusterState, current: OpenRound) -> list[str]:
    """Shards that nobody holds, together where the reason is the same."""
    candidates = state.candidates()
    by_reason: dict[str, list[int]] = {}
    for index in current.waiting():
        failures = current.failures.get(index, ())
        _, reason = policy.choose_worker(candidates, failures)
        if state.paused is not None:
            reason = "paused"
        by_reason.setdefault(reason, []).append(index)
    return [f"{shards_named(shards)}: {why}" for why, shards in by_reason.items()]


def _held(state: ClusterState, current: OpenRound) -> list[str]:
    """Shards that are being computed, each with who holds it."""
    return [
        f"shard {key.shard} on {state.workers[live.worker].info.name} for "
        f"{state.now - live.granted_at:.0f} s{_manner(live)}"
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
    join_command: str,
    expected: Sequence[str] = (),
) -> tuple[bool, str]:
    """Whether a round is complete, and if not, what it waits for.

    Args:
        done: Shards that are in.
        total: Shards of the round.
        connected: Connected workers.
        waiting: Shards that nobody holds, together where the reason is the same.
        held: Shards that are being computed, each with who holds it.
        join_command: How to start a worker for this coordinator, for people.
        expected: Workers that get ready to connect.
    """
    if done == total:
        return True, f"all {total} shards are in"
    have = f"{done} of {total} shards are in"
    if connected == 0 and expected:
        return False, f"{have}; workers are getting ready: {_some(expected)}"
    if connected == 0:
        return False, f"{have}; no worker is connected: start one with {join_command}"
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
