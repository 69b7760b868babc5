"""Describes what the coordinator waits for, so that no wait is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster import policy
from mlpeft.cluster.coordinator.spare_workers import spare_workers
from mlpeft.files import part_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.cluster.coordinator.open_round import LiveLease, OpenRound
    from mlpeft.cluster.coordinator.state import ClusterState, Transfer
    from mlpeft.cluster.protocol import LeaseKey
    from mlpeft.cluster.status import TransferStatus


def wait(state: ClusterState) -> str:
    """What the open round waits for, or why none is open."""
    current = state.round
    if current is None:
        reason = state.over or "no round is open"
        return f"{reason}; {_paused(state)}" if state.paused is not None else reason
    if state.missing and state.workers:
        reason = (
            f"{len(state.workers)} connected, and cluster.min_workers asks for "
            f"{state.missing} more to start"
        )
        expected = state.expecting()
        if expected:
            reason += f"; getting ready: {_listed(expected)}"
    else:
        reason = round_wait(
            done=len(current.updates),
            total=len(current.shards),
            connected=len(state.workers),
            waiting=_waiting_shards(state, current),
            held=_held_shards(state, current),
            join_command=state.join_command,
            expected=state.expecting(),
        )
        spare = spare_workers(len(state.workers), current.shards)
        reason += f"; {spare}" if spare else ""
        reason += f"; {current.need} are enough" if current.closes_early else ""
        late = sum(len(each.live) for each in state.late.values())
        reason += f"; {late} of earlier rounds go on" if late else ""
    if state.paused is not None:
        reason = f"{_paused(state)}; {reason}"
    return f"round {current.round_id}: {reason}"


def sending(theta: Transfer | TransferStatus) -> str:
    """How far theta is on its way to a worker."""
    return f"sending theta, {part_text(theta.done_bytes, theta.total_bytes)}"


def receiving(update: Transfer | TransferStatus) -> str:
    """How far an update is on its way from a worker."""
    return f"receiving its update, {part_text(update.done_bytes, update.total_bytes)}"


def _paused(state: ClusterState) -> str:
    return f"paused ({state.paused}); continue with `mlpeft resume`"


def _waiting_shards(state: ClusterState, current: OpenRound) -> list[str]:
    """Shards without a lease, grouped by reason."""
    candidates = state.candidates()
    reasons: dict[frozenset[tuple[str, ...]], str] = {}
    by_reason: dict[str, list[int]] = {}
    for index in current.waiting():
        failures = current.failures.get(index, ())
        heard = current.heard(index)
        tried = frozenset[tuple[str, ...]](
            [(each.identity, each.process_id) for each in failures]
        ).union((identity,) for identity in heard)
        if state.paused is not None:
            reasons[tried] = "paused"
        elif tried not in reasons:  # many shards wait for the same workers
            others = [each for each in candidates if each.identity not in heard]
            _, reason = policy.choose_worker(others, failures)
            reasons[tried] = f"audited, and {reason}" if heard else reason
        reason = reasons[tried]
        by_reason.setdefault(reason, []).append(index)
    return [f"{shards_named(shards)}: {text}" for text, shards in by_reason.items()]


def _held_shards(state: ClusterState, current: OpenRound) -> list[str]:
    """Shards being computed, each with its worker."""
    return [
        f"shard {key.shard} on {state.workers[live.worker].info.name} for "
        f"{state.now - live.granted_at:.0f} s{_remark(state, key, live)}"
        for key, live in current.live.items()
    ]


def _remark(state: ClusterState, key: LeaseKey, live: LiveLease) -> str:
    """Anything unusual about a lease."""
    worker = state.workers[live.worker]
    if worker.sending is not None:
        return f" ({sending(worker.sending)})"
    if worker.receiving is not None and worker.receiving.label == key:
        return f" ({receiving(worker.receiving)})"
    if live.computed_at is not None:
        return " (done; its update waits for earlier ones)"
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
) -> str:
    """What a round waits for.

    Args:
        done: Shards that are in.
        total: Shards of the round.
        connected: Connected workers.
        waiting: Shards without a lease, grouped by reason.
        held: Shards being computed, each with its worker.
        join_command: The command that starts a worker for this coordinator.
        expected: Workers that are getting ready to connect.
    """
    if done == total:
        return f"all {total} shards are in"
    progress = f"{done} of {total} shards are in"
    if connected == 0 and expected:
        return f"{progress}; workers are getting ready: {_listed(expected)}"
    if connected == 0:
        return f"{progress}; no worker is connected: start one with {join_command}"
    parts = [progress]
    if held:
        parts.append("computing " + _listed(held))
    if waiting:
        parts.append("waiting " + _listed(waiting))
    return "; ".join(parts)


def shards_named(shards: Sequence[int]) -> str:
    """Shards by number, or their count if there are many."""
    if len(shards) == 1:
        return f"shard {shards[0]}"
    if len(shards) <= 3:
        return f"shards {', '.join(map(str, shards))}"
    return f"{len(shards)} shards"


def _listed(texts: Sequence[str], limit: int = 4) -> str:
    """The first texts, and how many more there are."""
    rest = len(texts) - limit
    listed = ", ".join(texts[:limit])
    return f"{listed} and {rest} more" if rest > 0 else listed
