"""Has a share of the shards computed by two identities, and compares what they found.

An audited shard counts once two identities agree on it; it waits for the second as a
shard waits for a worker that has not failed at it. If two differ, a third decides: who
it agrees with is right, and an identity that is far off is quarantined. Where nobody
else is there to ask, the first update counts, as it would without an audit. An honest
run has the same bytes with any share, since honest updates do.

Which shards are audited follows from their position and a seed of the coordinator's
own: by the run's seed, which workers know, a liar would know when to be honest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from mlpeft.cluster.coordinator.agreement import are_alike, nearly_same, same_bits
from mlpeft.cluster.coordinator.messages import Commands, Send
from mlpeft.cluster.messages import Announce, Level
from mlpeft.cluster.policy import Cause
from mlpeft.cluster.protocol import LeaseRevocation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mlpeft.cluster.coordinator.failures import Failures
    from mlpeft.cluster.coordinator.leases import Leases
    from mlpeft.cluster.coordinator.messages import WorkerJoined
    from mlpeft.cluster.coordinator.open_round import OpenRound
    from mlpeft.cluster.coordinator.state import ClusterState
    from mlpeft.cluster.policy import Policy
    from mlpeft.cluster.protocol import LeaseKey
    from mlpeft.work import Shard, ShardUpdate


MOST_TRIES = 2
"""Failures of an identity at an audited shard after which it is not waited for."""


class AuditResult(StrEnum):
    """How an audit ended."""

    AGREED = "agreed"
    """Two identities found the same."""
    DIFFERED = "differed"
    """Two did not."""
    SKIPPED = "skipped"
    """There was no second identity to ask."""


class Opinion(NamedTuple):
    """What an identity found for an audited shard.

    Attributes:
        worker: Who computed it; it may have left.
        key: The lease that it answered.
        update: A sound update.
    """

    worker: WorkerJoined
    key: LeaseKey
    update: ShardUpdate


def audited(shards: Iterable[Shard], share: float, seed: str) -> frozenset[int]:
    """Indices of the shards of a round that are audited.

    Args:
        shards: Of the round.
        share: Of all shards.
        seed: Known to no worker.
    """
    if share <= 0:
        return frozenset()
    return frozenset(shard.index for shard in shards if _draw(shard, seed) < share)


def _draw(shard: Shard, seed: str) -> float:
    """A number in [0, 1) that follows from a shard's position and the seed."""
    position = f"{seed}/{shard.kind.value}/{shard.round}/{shard.index}"
    digest = hashlib.sha256(position.encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)


class Auditor:
    """Compares the updates of audited shards.

    Args:
        state: The coordinator's state.
        policy: The parameters of decisions.
        leases: The workers' leases.
        failures: Who is quarantined.
        accept: Counts an update of the open round.
    """

    def __init__(
        self,
        state: ClusterState,
        policy: Policy,
        leases: Leases,
        failures: Failures,
        accept: Callable[[OpenRound, Opinion], Commands],
    ) -> None:
        self._state = state
        self._policy = policy
        self._leases = leases
        self._failures = failures
        self._accept = accept
        self._told_alone = False

    def hear(self, current: OpenRound, opinion: Opinion) -> Commands:
        """A sound update of an audited shard came."""
        shard, identity = opinion.key.shard, opinion.worker.identity
        earlier = current.opinions.get(shard, [])
        self._leases.drop(opinion.key)
        if any(each.worker.identity == identity for each in earlier):
            return []
        agreeing = [each for each in earlier if self._agree(current, each, opinion)]
        if agreeing:
            return self._decide(current, agreeing, opinion)
        commands = self._revoke_own(current, shard, identity)
        current.hear(shard, opinion)
        if earlier:
            commands += self._tell_differ(shard, current.opinions[shard])
        return commands

    def settle(self) -> Commands:
        """After any event: end audits for which nobody is left to ask."""
        current, commands = self._state.round, Commands()
        if current is None or not current.opinions:
            return []
        for shard in list(current.opinions):
            if self._somebody_left(current, shard):
                continue
            opinions = current.opinions[shard]
            commands += self._tell_end(shard, opinions)
            disputed = len(opinions) > 1
            result = AuditResult.DIFFERED if disputed else AuditResult.SKIPPED
            commands += self._end(current, opinions[0], result)
        return commands

    def _somebody_left(self, current: OpenRound, shard: int) -> bool:
        """Whether an identity can be asked that has not answered.

        One that failed `MOST_TRIES` times at the shard is not: somebody computed it, so
        that a round must not wait for those who cannot, or will not.
        """
        heard = current.heard(shard)
        tries = Counter(
            failure.identity
            for failure in current.failures.get(shard, ())
            if failure.cause is not Cause.LOST
        )
        responsive = self._state.availability.responsive
        if len(responsive) > len(heard) + len(tries):
            return True
        return any(
            identity not in heard and tries[identity] < MOST_TRIES
            for identity in responsive
        )

    def _agree(self, current: OpenRound, first: Opinion, second: Opinion) -> bool:
        if are_alike(first.worker, second.worker):
            return same_bits(first.update, second.update)
        return self._near(current, first, second)

    def _near(self, current: OpenRound, first: Opinion, second: Opinion) -> bool:
        displacement = self._policy.displacement
        return nearly_same(first.update, second.update, current.theta, displacement)

    def _decide(
        self, current: OpenRound, agreeing: Sequence[Opinion], opinion: Opinion
    ) -> Commands:
        """Two identities agree: the shard is in, and who was far off is named."""
        shard = opinion.key.shard
        others = [each for each in current.opinions[shard] if each not in agreeing]
        disputed = len(current.opinions[shard]) > 1
        result = AuditResult.DIFFERED if disputed else AuditResult.AGREED
        commands = self._end(current, agreeing[0], result)
        names = f"{agreeing[0].worker.name} and {opinion.worker.name}, which agree"
        for other in others:
            reason = f"its update of {other.key} was unlike those of {names}"
            if self._near(current, other, opinion):
                commands += self._blame(current, other, reason)
                continue
            commands += self._failures.convict(other.worker, reason)
            commands += self._leases.take_back(other.worker.identity, reason)
        return commands

    def _blame(self, current: OpenRound, opinion: Opinion, reason: str) -> Commands:
        """Who is off by a little has failed once: its libraries may be others."""
        self._state.refused += 1
        text = f"worker {opinion.worker.name}: {reason}, by a little"
        commands: Commands = [Announce(Level.WARNING, text, opinion.worker.name)]
        worker = self._state.workers.get(opinion.worker.worker)
        if worker is None:
            return commands
        count = self._failures.count
        return commands + count(current, worker, opinion.key, Cause.REFUSED, reason)

    def _end(
        self, current: OpenRound, counted: Opinion, result: AuditResult
    ) -> Commands:
        """An audit is over, and an opinion counts."""
        current.close_audit(counted.key.shard)
        self._state.audits[result] += 1
        return self._accept(current, counted)

    def _revoke_own(self, current: OpenRound, shard: int, identity: str) -> Commands:
        """An identity is heard once: end its other lease of the shard."""
        commands: Commands = []
        for key in current.keys_for(shard):
            live = current.live[key]
            if live.identity == identity:
                self._leases.drop(key)
                revocation = LeaseRevocation(key, "another process has answered")
                commands.append(Send(live.worker, revocation))
        return commands

    def _tell_differ(self, shard: int, opinions: Sequence[Opinion]) -> Commands:
        names = " and ".join(each.worker.name for each in opinions)
        text = (
            f"audit of shard {shard}: {names} found different updates; another "
            "identity decides"
        )
        return [Announce(Level.WARNING, text, key=opinions[-1].key)]

    def _tell_end(self, shard: int, opinions: Sequence[Opinion]) -> Commands:
        """An audit ends without two that agree."""
        name, key = opinions[0].worker.name, opinions[0].key
        if len(opinions) > 1:
            names = " and ".join(each.worker.name for each in opinions)
            text = (
                f"audit of shard {shard}: {names} found different updates, and no "
                f"other identity can be asked; that of {name}, the first, counts. "
                "Connect a third machine, and see which of them is wrong"
            )
            return [Announce(Level.WARNING, text, key=key)]
        if self._told_alone:
            return []
        self._told_alone = True
        text = (
            f"audit of shard {shard}: there is no second identity to ask, and {name}'s "
            "update counts; cluster.audit needs workers on two machines (said once; "
            "`mlpeft status` counts them)"
        )
        return [Announce(Level.WARNING, text, key=key)]
