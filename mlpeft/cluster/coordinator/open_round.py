"""The open round: its shards, its leases, and what follows from both.

`start`, `end`, `count`, `add_failure` and `forgive` keep the indices, so that no event
looks at all shards or leases; `invariants` compares them with a look at all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator.waiting_shards import WaitingShards
from mlpeft.cluster.policy import Cause

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.audits import Opinion
    from mlpeft.cluster.coordinator.outliers import OutlierCheck
    from mlpeft.cluster.coordinator.slow_leases import SlowLeases
    from mlpeft.cluster.policy import Failure
    from mlpeft.cluster.protocol import Lease, LeaseKey, WorkerId
    from mlpeft.params import ParamTree, Schema
    from mlpeft.rounds import RoundUpdates
    from mlpeft.work import Shard, ShardUpdate


@dataclass(slots=True)
class LiveLease:
    """A lease that still counts: not answered, not taken back.

    Attributes:
        worker: Who holds it.
        identity: Whom that worker counts as.
        lease: What was granted.
        granted_at: When.
        deadline: When it ends.
        warn_at: When people are told if nothing of it is done; None: they were.
        slow: Whether it takes longer than is usual.
        on_straggler: Whether its worker was one when it was granted.
        progress_at: When its worker last told of one more task; the grant at first.
        backup: Whether another worker had the shard already.
        computed_at: When its update began to come, if it must wait for its turn.
    """

    worker: WorkerId
    identity: str
    lease: Lease
    granted_at: float
    deadline: float
    warn_at: float | None
    progress_at: float
    slow: bool = False
    on_straggler: bool = False
    backup: bool = False
    computed_at: float | None = None

    @property
    def due_at(self) -> float:
        """When it ends, or people are told before."""
        if self.warn_at is None:
            return self.deadline
        return min(self.deadline, self.warn_at)


@dataclass(slots=True)
class OpenRound:
    """The open round.

    Attributes:
        round_id: Counts rounds from 1.
        version: Version of theta that its shards start from.
        shards: What is computed.
        schema: Leaves that the sum of a training shard must have.
        updates: What is in.
        outliers: The norms of its updates; None: nobody asks.
        payload_bytes: Size of theta, and of each training update.
        announced_at: When people were last told what it waits for.
        max_attempts: As in the policy.
        most_share: As in the policy.
        counted_for: The identity whose update counted, by shard.
        opened_at: When it was opened.
        slow_leases: Live leases that are not slow yet.
        attempts: Leases given out so far, by shard.
        granted: Which worker process was given each of them.
        failures: Attempts that came to nothing, by shard.
        live: Leases that still count; at most two a shard, on two processes.
        to_back_up: Those that are slow or on a straggler, and alone at their shard.
        waits: Shards that are not in and that nobody holds.
        often_failed: Shards that are not in and failed `max_attempts` times.
        shares: Shards that are in or leased, or held for an audit, by identity.
        theta: The leaves of the round's meta-state that are no carried state.
        audited: Shards that two identities must agree on.
        opinions: What identities found for audited shards that are not in.
        disputed: Those for which two found something else.
        need: Updates with which it may close; as many as shards: all.
        enough_at: When it had as many; None: not yet.
        read_early: The newest lease whose update waited for its turn and is read now.
    """

    round_id: int
    version: int
    shards: tuple[Shard, ...]
    schema: Schema
    updates: RoundUpdates
    outliers: OutlierCheck | None
    payload_bytes: int
    announced_at: float
    opened_at: float
    slow_leases: SlowLeases
    max_attempts: int
    most_share: float
    need: int
    enough_at: float | None = None
    read_early: LeaseKey | None = None
    counted_for: dict[int, str] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    granted: dict[LeaseKey, str] = field(default_factory=dict)
    failures: dict[int, list[Failure]] = field(default_factory=dict)
    live: dict[LeaseKey, LiveLease] = field(default_factory=dict)
    to_back_up: dict[LeaseKey, None] = field(default_factory=dict)
    often_failed: set[int] = field(default_factory=set)
    shares: Counter[str] = field(default_factory=Counter)
    theta: ParamTree = field(default_factory=dict)
    audited: frozenset[int] = frozenset()
    opinions: dict[int, list[Opinion]] = field(default_factory=dict)
    disputed: set[int] = field(default_factory=set)
    waits: WaitingShards = field(init=False)
    _by_shard: dict[int, list[LeaseKey]] = field(default_factory=dict)
    _by_worker: dict[WorkerId, dict[LeaseKey, None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.waits = WaitingShards(len(self.shards))

    @property
    def closes_early(self) -> bool:
        """Whether it may close without some of its shards."""
        return self.need < len(self.shards)

    def waiting(self) -> list[int]:
        """Shards that are not in and that nobody holds, in order."""
        return list(self.waits)

    def live_for(self, shard: int) -> list[LiveLease]:
        """Live leases of a shard."""
        return [self.live[key] for key in self._by_shard.get(shard, ())]

    def live_of(self, worker: WorkerId) -> list[LeaseKey]:
        """Live leases of a worker."""
        return list(self._by_worker.get(worker, ()))

    def keys_for(self, shard: int) -> list[LeaseKey]:
        """Keys of the live leases of a shard."""
        return list(self._by_shard.get(shard, ()))

    # --- leases -----------------------------------------------------------------------

    def start(self, key: LeaseKey, live: LiveLease, weight: int) -> None:
        """A lease was granted.

        Args:
            key: Which.
            live: What there is to know of it.
            weight: As in `SlowLeases.add`.
        """
        for other in self._by_shard.setdefault(key.shard, []):
            self.to_back_up.pop(other, None)
        self._by_shard[key.shard].append(key)
        self._by_worker.setdefault(live.worker, {})[key] = None
        self.shares[live.identity] += 1
        self.waits.take(key.shard)
        self.live[key] = live
        kind = live.lease.shard.kind
        self.slow_leases.add(key, kind, weight, live.granted_at)
        self.review(key)

    def review(self, key: LeaseKey) -> None:
        """See whether a live lease needs a backup."""
        live = self.live[key]
        if (live.slow or live.on_straggler) and len(self._by_shard[key.shard]) == 1:
            self.to_back_up[key] = None

    def end(self, key: LeaseKey) -> LiveLease | None:
        """A lease no longer counts; what was known of it, if it did."""
        live = self.live.pop(key, None)
        if live is None:
            return None
        self.slow_leases.discard(key)
        self.to_back_up.pop(key, None)
        self._by_shard[key.shard].remove(key)
        del self._by_worker[live.worker][key]
        self.shares[live.identity] -= 1
        for other in self._by_shard[key.shard]:
            self.review(other)
        if not self._by_shard[key.shard] and key.shard not in self.updates:
            self._put_back(key.shard)
        return live

    # --- shards -----------------------------------------------------------------------

    def count(self, update: ShardUpdate, identity: str) -> None:
        """An update counts."""
        self.updates.add(update)
        self.counted_for[update.index] = identity
        self.shares[identity] += 1
        self.waits.take(update.index)
        self.often_failed.discard(update.index)

    def add_failure(self, shard: int, failure: Failure) -> list[Failure]:
        """An attempt at a shard came to nothing; all that did."""
        failures = self.failures.setdefault(shard, [])
        failures.append(failure)
        self._note_failures(shard)
        return failures

    def forgive(self, process_id: str) -> None:
        """A process was not lost: forget that its shards were."""
        for shard, failures in self.failures.items():
            left = [
                failure
                for failure in failures
                if failure.process_id != process_id or failure.cause is not Cause.LOST
            ]
            if len(left) < len(failures):
                self.failures[shard] = left
                self._note_failures(shard)

    def _note_failures(self, shard: int) -> None:
        if shard in self.updates:
            return
        if len(self.failures[shard]) >= self.max_attempts:
            self.often_failed.add(shard)
        else:
            self.often_failed.discard(shard)
        if shard in self.waits:
            self._put_back(shard)

    def _put_back(self, shard: int) -> None:
        picky = bool(self.failures.get(shard)) or shard in self.opinions
        self.waits.put(shard, failed=picky)

    # --- audits -----------------------------------------------------------------------

    def hear(self, shard: int, opinion: Opinion) -> None:
        """An identity found something for an audited shard."""
        opinions = self.opinions.setdefault(shard, [])
        opinions.append(opinion)
        self.shares[opinion.worker.identity] += 1
        if len(opinions) > 1:
            self.disputed.add(shard)
        if shard in self.waits:
            self._put_back(shard)

    def heard(self, shard: int) -> set[str]:
        """Identities that have answered an audited shard; they are not asked again."""
        opinions = self.opinions.get(shard, ())
        return {opinion.worker.identity for opinion in opinions}

    def close_audit(self, shard: int) -> None:
        """An audited shard is about to be in."""
        for opinion in self.opinions.pop(shard, ()):
            self.shares[opinion.worker.identity] -= 1
        self.disputed.discard(shard)
