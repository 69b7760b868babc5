"""The coordinator's decisions, each with its reason, as pure functions.

`CoordinatorMachine` keeps the state; this module decides which worker gets a shard and
whether a shard has failed too often.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from mlpeft.work import Kind, ResultSchema

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mlpeft.cluster.protocol import WorkerId
    from mlpeft.config import ClusterSection
    from mlpeft.work import Displacement, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The parameters of decisions.

    Those that a run can configure have no default here: the `cluster` section has it.

    Attributes:
        lost_after_s: Seconds without a message until a worker counts as lost.
        lease_s: Upper bound of a lease, and its duration until task times are known.
        least_lease_s: Lower bound of a lease in seconds.
        deadline_factor: Spreads above a worker's usual task time that a lease lasts.
        backup_factor: Spreads above the usual task time of all workers after which an
            idle worker gets the shard as well; 0: never.
        max_attempts: Failures of one shard after which the round fails, unless an
            identity is left that has not failed at it.
        quarantine_after: Consecutive shards that must fail on a worker and on no other
            to quarantine it.
        quarantine_s: Seconds that a quarantine lasts.
        announce_s: Seconds without a result after which a round logs what it waits for.
        min_workers: Workers that must be connected before the first lease.
        norm_factor: Spreads above the median beyond which the norm of an update's
            displacement needs confirmation by a second worker; 0: never.
        audit: Share of the shards that two identities compute; 0: none.
        audit_seed: Says which; no worker may know it.
        displacement: What the run's algorithm takes from a shard.
        most_share: Largest share of a round's shards that an identity may hold while
            there are enough others: what the aggregation rule outvotes, or less; 1: no
            bound.
        results: The per-task results that the run's shards have.
        ordered_sum: Whether updates are summed on arrival, in their order; False: a
            round keeps all of them, for aggregation rules other than the mean.
        room_bytes: Memory for updates that wait for others before them to be summed.
        grace_s: Seconds that a round which may close waits for its other shards.
        max_staleness: Versions of theta by which an update may be late and count; 0:
            late ones are dropped.
        late_counts: Whether late updates count as those that a round needs.
    """

    lost_after_s: float
    lease_s: float
    least_lease_s: float
    deadline_factor: float
    backup_factor: float
    max_attempts: int
    quarantine_after: int
    quarantine_s: float
    announce_s: float = 5.0
    min_workers: int
    norm_factor: float
    displacement: Displacement
    ordered_sum: bool
    audit: float
    audit_seed: str = ""
    most_share: float
    results: ResultSchema = field(default_factory=ResultSchema)
    room_bytes: int = 64 << 20
    grace_s: float
    max_staleness: int
    late_counts: bool

    @classmethod
    def from_config(
        cls,
        cluster: ClusterSection,
        *,
        displacement: Displacement,
        ordered_sum: bool,
        results: ResultSchema | None = None,
        most_share: float = 1.0,
        audit_seed: str = "",
    ) -> Self:
        """The policy of a run.

        Args:
            cluster: The run's `cluster` section.
            displacement: As its algorithm says.
            ordered_sum: Whether its updates are summed as they come in.
            results: The per-task results that its shards have; None: one loss.
            most_share: Share of a round's shards that its aggregation rule outvotes.
            audit_seed: Says which shards are audited.
        """
        return cls(
            lost_after_s=cluster.lost_after_s,
            lease_s=cluster.lease_s,
            least_lease_s=cluster.least_lease_s,
            deadline_factor=cluster.deadline_factor,
            backup_factor=cluster.backup_factor,
            max_attempts=cluster.max_attempts,
            quarantine_after=cluster.quarantine_after,
            quarantine_s=cluster.quarantine_s,
            min_workers=cluster.min_workers,
            norm_factor=cluster.norm_factor,
            audit=cluster.audit,
            audit_seed=audit_seed,
            displacement=displacement,
            ordered_sum=ordered_sum,
            results=results or ResultSchema(),
            most_share=min(most_share, cluster.most_share),
            grace_s=cluster.grace_s if cluster.mode == "quorum" else 0.0,
            max_staleness=0 if cluster.mode == "sync" else cluster.max_staleness,
            late_counts=cluster.mode == "async",
        )


def shards_needed(cluster: ClusterSection, shards: Sequence[Shard]) -> int | None:
    """With how many updates a round may close; None: with all of its shards.

    A validation always has all: its scores are compared with those of others.

    Args:
        cluster: The run's `cluster` section.
        shards: Of the round; of mode async twice as many as it returns.
    """
    if not shards or shards[0].kind is not Kind.TRAIN:
        return None
    match cluster.mode:
        case "sync":
            return None
        case "quorum":
            return max(1, math.ceil(cluster.quorum * len(shards) - 1e-9))
        case "async":
            return math.ceil(len(shards) / 2)


class Cause(StrEnum):
    """Why an attempt at a shard failed."""

    LOST = "lost"
    """The worker disconnected."""
    FAILED = "failed"
    """The worker could not compute the shard."""
    REFUSED = "refused"
    """The coordinator refused the update."""
    LATE = "late"
    """The lease expired."""


class LateResult(StrEnum):
    """What became of a shard that was computed when its round had closed."""

    COUNTED = "counted"
    """Its update counted in a later round, by a weight below one."""
    DROPPED = "dropped"
    """It was too late, or its worker failed at it or left: it is not leased again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt at a shard.

    Attributes:
        attempt: Number of the attempt.
        worker: The worker's name.
        process_id: The worker's process.
        identity: As in WorkerJoined.
        cause: The kind of failure.
        reason: The details.
    """

    attempt: int
    worker: str
    process_id: str
    identity: str
    cause: Cause
    reason: str

    def __str__(self) -> str:
        return (
            f"attempt {self.attempt} on {self.worker}: {self.cause.value}: "
            f"{self.reason}"
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A connected worker as a candidate for a shard.

    Attributes:
        worker: The connection.
        name: The worker's name, for the reason.
        process_id: Its process.
        identity: As in WorkerJoined.
        free: Free slots; 0 while it is busy, draining, away or quarantined.
        draining: Whether it will accept no more shards.
        away: Why it accepts none for now; "" if it does.
        quarantined: Whether it gets no shards because it failed at too many.
        stuck: Whether revoked leases occupy all its slots, so that no update is
            expected.
        straggler: Whether its tasks take much longer than those of others.
        untried: Whether it is not known how long they take, and it is idle.
    """

    worker: WorkerId
    name: str
    process_id: str
    identity: str
    free: int
    draining: bool = False
    away: str = ""
    quarantined: bool = False
    stuck: bool = False
    straggler: bool = False
    untried: bool = False

    @property
    def able(self) -> bool:
        """Whether it accepts shards, now or when a slot is free."""
        return not self.draining and not self.away and not self.quarantined

    def rank(self) -> tuple[bool, bool, int, bool]:
        """The best of equals, by failures and identity, has the highest."""
        return self.free > 0, not self.straggler, self.free, self.untried


def most_shards(shards: int, identities: int, most_share: float) -> int:
    """How many shards of a round an identity may hold.

    Args:
        shards: Of the round.
        identities: How many accept shards. With too few of them each holds more.
        most_share: As in the policy.
    """
    even = math.ceil(shards / max(1, identities))
    return max(even, math.floor(most_share * shards))


def choose_worker(
    candidates: Sequence[Candidate], failures: Sequence[Failure]
) -> tuple[WorkerId | None, str]:
    """Select the worker for a shard, and why; or None, and what the shard waits for.

    It prefers the identities on which the shard failed least often: one gets a shard
    again only after it failed on all, and then they take turns. So do the processes of
    an identity. Ties go to the worker that is no straggler, then to the one with the
    most free slots, then to one that is untried, then to the one that joined first. A
    stuck worker counts only if there is no other.

    Args:
        candidates: Connected workers, in the order in which they joined.
        failures: Failed attempts at this shard.
    """
    able = [candidate for candidate in candidates if candidate.able]
    if not able:
        return None, _none_able_text(candidates)
    able = [candidate for candidate in able if not candidate.stuck] or able
    tried = Counter(failure.identity for failure in failures)
    fewest = min(tried[candidate.identity] for candidate in able)
    pool = [each for each in able if tried[each.identity] == fewest]
    processes = Counter(failure.process_id for failure in failures)
    least = min(processes[candidate.process_id] for candidate in pool)
    pool = [each for each in pool if processes[each.process_id] == least]
    fresh = fewest == 0
    best = max(pool, key=Candidate.rank)
    if best.free <= 0:
        names = ", ".join(candidate.name for candidate in pool)
        retry = bool(fresh and tried)
        return None, _all_busy_text(names, retry=retry, stuck=best.stuck)
    if tried and fresh:
        return best.worker, f"{best.name} has not failed at it"
    if tried:
        return best.worker, f"every connected worker has failed at it; {best.name} next"
    return best.worker, f"{best.name} has {best.free} free"


def _all_busy_text(names: str, *, retry: bool, stuck: bool) -> str:
    """Why no worker has a free slot."""
    if stuck:
        return (
            f"{names} still computes shards that were revoked; if this lasts, its "
            "computing thread hangs: restart that worker"
        )
    if retry:
        return f"it failed elsewhere and waits for a free slot on {names}"
    return f"all slots are taken on {names}"


def _none_able_text(candidates: Sequence[Candidate]) -> str:
    """Why no connected worker accepts shards, and what to do."""
    names = ", ".join(each.name for each in candidates if each.quarantined)
    away = ", ".join(
        f"{each.name} ({each.away})"
        for each in candidates
        if each.away and not each.quarantined
    )
    if away:
        others = f"; quarantined: {names}" if names else ""
        return f"every connected worker is away: {away}{others}"
    if not names:
        return "no worker is connected"
    return (
        f"every connected worker is quarantined ({names}): fix the cause that `mlpeft "
        "status` shows and give it shards again with `mlpeft release WORKER`, or start "
        "another worker on another machine"
    )


def too_many_failures(
    failures: Sequence[Failure], candidates: Sequence[Candidate], policy: Policy
) -> bool:
    """Whether a shard has failed so often that another attempt is useless.

    It has failed `max_attempts` times, and on as many identities or on all connected
    ones that accept shards: one that has not tried it may succeed. A process is as
    easily made as a failure, so that processes do not count.

    Args:
        failures: Failed attempts at the shard.
        candidates: Connected workers.
        policy: The parameters of decisions.
    """
    able = {each.identity for each in candidates if each.able}
    return failed_everywhere(failures, able, policy)


def failed_everywhere(
    failures: Sequence[Failure], able: Collection[str], policy: Policy
) -> bool:
    """As `too_many_failures`; `able` are the identities that accept shards."""
    if len(failures) < policy.max_attempts:
        return False
    tried = {failure.identity for failure in failures}
    if len(tried) >= policy.max_attempts:
        return True
    return 0 < len(able) <= len(tried) and tried.issuperset(able)


def failure_history(round_id: int, shard: int, failures: Sequence[Failure]) -> str:
    """The failures of a shard that failed too often, and what to do."""
    lines = "\n".join(f"  {failure}" for failure in failures)
    return (
        f"shard {shard} of round {round_id} failed {len(failures)} times:\n{lines}\n"
        "Fix the causes above and start again with --resume; cluster.max_attempts sets "
        "how often a shard is tried"
    )
