"""The coordinator's decisions, each with its reason. Pure functions.

`CoordinatorMachine` keeps the state; here is what it decides: who gets a shard,
whether a shard has failed too often, and what a round waits for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mlpeft.work import Displacement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.cluster.protocol import WorkerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The numbers that decisions turn on.

    Attributes:
        lost_after_s: Seconds without a sign of life until a worker counts as lost.
        lease_s: Seconds that a shard may take, and does until task times are known.
        least_lease_s: Seconds that any shard gets.
        deadline_factor: Spreads above a worker's usual task time that a lease lasts.
        backup_factor: Spreads above it after which a second worker gets the shard as
            well, if one is idle; 0: never.
        least_backup_s: Seconds from its grant for which no lease has a backup.
        max_attempts: Failures of one shard after which the round fails, if no process
            is left that has not failed at it.
        quarantine_after: Shards in a row that fail on a worker and on nobody else until
            it is quarantined.
        quarantine_s: Seconds that a quarantine lasts.
        announce_s: Seconds without a result after which a round says what it waits for.
        min_workers: Workers that must be connected before the first lease is given.
        norm_factor: Spreads above the median beyond which the norm of an update's
            displacement needs a second opinion; 0: none does.
        displacement: What the run's algorithm takes from a shard.
        ordered_sum: Whether updates are summed as they come in, in their order; False:
            a round keeps them apart, as rules other than the mean need them.
        room_bytes: What updates that wait to be summed may take, if it is more than two
            of them.
    """

    lost_after_s: float = 4.0
    lease_s: float = 600.0
    least_lease_s: float = 60.0
    deadline_factor: float = 10.0
    backup_factor: float = 4.0
    least_backup_s: float = 1.0
    max_attempts: int = 4
    quarantine_after: int = 3
    quarantine_s: float = 600.0
    announce_s: float = 5.0
    min_workers: int = 1
    norm_factor: float = 0.0
    displacement: Displacement = Displacement.FROM_THETA
    ordered_sum: bool = False
    room_bytes: int = 256 << 20


class Cause(StrEnum):
    """How an attempt at a shard came to nothing."""

    LOST = "lost"
    """The worker went away."""
    FAILED = "failed"
    """The worker said that it could not compute the shard."""
    REFUSED = "refused"
    """The gate refused the update."""
    LATE = "late"
    """The lease ran out."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt at a shard.

    Attributes:
        attempt: Which attempt.
        worker: The worker's name.
        process_id: The worker's process.
        cause: What kind of failure.
        reason: The detail.
    """

    attempt: int
    worker: str
    process_id: str
    cause: Cause
    reason: str

    def __str__(self) -> str:
        return (
            f"attempt {self.attempt} on {self.worker}: {self.cause.value}: "
            f"{self.reason}"
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A connected worker, as far as handing out shards is concerned.

    Attributes:
        worker: The connection.
        name: The worker's name, for the reason.
        process_id: Its process.
        free: Shards that it could take now; 0 while it is busy, draining, quarantined.
        draining: True: it will take none ever again.
        quarantined: Whether it takes none because it failed at too many.
        stuck: Whether all its slots are taken by leases that were taken back from it,
            so that nothing is to be expected of it.
    """

    worker: WorkerId
    name: str
    process_id: str
    free: int
    draining: bool = False
    quarantined: bool = False
    stuck: bool = False

    @property
    def able(self) -> bool:
        """Whether it takes shards, now or when a slot is free."""
        return not self.draining and not self.quarantined


def choose_worker(
    candidates: Sequence[Candidate], failures: Sequence[Failure]
) -> tuple[WorkerId | None, str]:
    """The worker that gets a shard, and why; or None, and what the shard waits for.

    The workers on which the shard has failed least are asked: one on which it has
    failed gets it again only when it has failed on all, and then all take turns. Among
    equals the one with the most free slots is taken, then the one that joined first.
    Nobody waits for a worker that is stuck while there is another.

    Args:
        candidates: Connected workers, in the order in which they joined.
        failures: Earlier attempts at this shard.
    """
    able = [candidate for candidate in candidates if candidate.able]
    if not able:
        return None, _nobody(candidates)
    able = [candidate for candidate in able if not candidate.stuck] or able
    tried = Counter(failure.process_id for failure in failures)
    fewest = min(tried[candidate.process_id] for candidate in able)
    pool = [each for each in able if tried[each.process_id] == fewest]
    fresh = fewest == 0
    best = max(pool, key=lambda candidate: candidate.free)
    if best.free <= 0:
        who = ", ".join(candidate.name for candidate in pool)
        return None, _busy(who, again=bool(fresh and tried), stuck=best.stuck)
    if tried and fresh:
        return best.worker, f"{best.name} has not failed at it"
    if tried:
        return best.worker, f"every connected worker has failed at it; {best.name} next"
    return best.worker, f"{best.name} has {best.free} free"


def _busy(who: str, *, again: bool, stuck: bool) -> str:
    """Why nobody has a free slot."""
    if stuck:
        return (
            f"{who} does not let go of what was taken back; if this lasts its "
            "computing thread hangs: start that worker anew"
        )
    if again:
        return f"it failed elsewhere and waits for a free slot on {who}"
    return f"all slots are taken on {who}"


def _nobody(candidates: Sequence[Candidate]) -> str:
    """Why no connected worker takes shards, and what to do."""
    names = ", ".join(each.name for each in candidates if each.quarantined)
    if not names:
        return "no worker is connected"
    return (
        f"every worker that is left is quarantined ({names}): put right what "
        "`mlpeft status` says of it and start it anew, or give it shards again with "
        "`mlpeft release WORKER`, or start another"
    )


def too_many_failures(
    failures: Sequence[Failure], candidates: Sequence[Candidate], policy: Policy
) -> bool:
    """Whether a shard has failed so often that trying again is no use.

    It has failed `max_attempts` times, and on as many processes, or on all that are
    connected and take shards: one that has not tried it yet may know better.

    Args:
        failures: Earlier attempts at the shard.
        candidates: Connected workers.
        policy: The numbers that decisions turn on.
    """
    if len(failures) < policy.max_attempts:
        return False
    tried = {failure.process_id for failure in failures}
    able = {each.process_id for each in candidates if each.able}
    return len(tried) >= policy.max_attempts or (bool(able) and able <= tried)


def story(round_id: int, shard: int, failures: Sequence[Failure]) -> str:
    """What happened to a shard that failed too often, and what to do."""
    lines = "\n".join(f"  {failure}" for failure in failures)
    return (
        f"shard {shard} of round {round_id} failed {len(failures)} times:\n{lines}\n"
        "Put right what the lines above name and start again with --resume; "
        "cluster.max_attempts sets how often a shard is tried"
    )
