"""The coordinator as a state machine: `handle(event, now) -> commands`.

Rules that this file obeys, and that `invariants.check_state` checks:

- Nothing but `handle` changes state. Time comes in as an argument (any monotonic clock,
  in seconds) and never goes back.
- An event that our own side may not send now (a round while one is open) raises
  LocalProtocolError and changes nothing. Whatever the network can do (late, repeated or
  misdirected messages, workers that are gone) is legal and at most frees a slot.
- The first valid update of a shard wins, whichever lease it answers. That changes no
  bits: a shard's update is the same wherever it is computed.
- A shard has at most two live leases, on two processes.
- An audited shard is in when two identities agree on it, or nobody else can be asked.
- A worker holds at most as many leases as it has slots. A lease that was taken back
  keeps its slot until the worker says that it let go.
- Theta of a version goes to a worker once, before the first lease that needs it.

One shard's way through a round:

    waiting --grant--> leased --valid update------------------------> in
       ^                 |  |
       |                 |  +-- slow, and somebody idle: a second lease, the backup
       +-- lost, failed, refused, out of time (each a Failure; too many fail the round)

No event looks at all workers, leases or shards: `deadlines`, `free_workers`,
`slow_leases`, `waiting_shards` and the indices of `open_round` find what is next.

What happens where: `transitions` what is legal when, `membership` workers come and go,
`grants` who computes what, `leases` how that ends, `failures` what it means, `updates`
and `audits` what comes back, `closing` when a round ends and what is late, `transfers`
what is under way, `operator` what an operator asks, and here rounds and time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

from mlpeft.cluster import status
from mlpeft.cluster.coordinator import waits
from mlpeft.cluster.coordinator.audits import audited
from mlpeft.cluster.coordinator.closing import Closing
from mlpeft.cluster.coordinator.durations import (
    LEAST_BACKUP_S,
    ROUND_SHARE,
    backup_limit_s,
)
from mlpeft.cluster.coordinator.failures import Failures
from mlpeft.cluster.coordinator.grants import Grants
from mlpeft.cluster.coordinator.invariants import check_state
from mlpeft.cluster.coordinator.leases import Leases
from mlpeft.cluster.coordinator.membership import Membership
from mlpeft.cluster.coordinator.messages import (
    CoordinatorEvent,
    DrainRequested,
    MessageReceived,
    PauseRequested,
    ReleaseRequested,
    ResumeRequested,
    RoundAbandoned,
    RoundOpened,
    RunEnded,
    Send,
    ThetaMoved,
    UpdateMoved,
    UploadHeld,
    WorkerExpected,
    WorkerJoined,
    WorkerLeft,
)
from mlpeft.cluster.coordinator.norm_history import Limit
from mlpeft.cluster.coordinator.open_round import OpenRound
from mlpeft.cluster.coordinator.operator import OperatorRequests
from mlpeft.cluster.coordinator.outliers import OutlierCheck
from mlpeft.cluster.coordinator.quarantine import Quarantine
from mlpeft.cluster.coordinator.slow_leases import SlowLeases
from mlpeft.cluster.coordinator.state import ClusterState
from mlpeft.cluster.coordinator.transfers import Transfers
from mlpeft.cluster.coordinator.transitions import TRANSITIONS, Phase
from mlpeft.cluster.coordinator.updates import UpdateHandler
from mlpeft.cluster.messages import Announce, Level, TimePassed
from mlpeft.cluster.protocol import (
    Away,
    Draining,
    Heartbeat,
    LeaseReturn,
    RunOver,
    Update,
)
from mlpeft.errors import LocalProtocolError
from mlpeft.params import global_norm, schema
from mlpeft.rounds import RoundUpdates
from mlpeft.work import check_round

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.cluster.coordinator.messages import Commands
    from mlpeft.cluster.coordinator.updates import Turn
    from mlpeft.cluster.policy import Policy
    from mlpeft.cluster.protocol import LeaseKey, WorkerId
    from mlpeft.params import ParamTree
    from mlpeft.work import Kind, Shard


class CoordinatorMachine:
    """Hands out shards and takes in updates.

    Args:
        session: Unlike that of any other start of a coordinator.
        policy: The numbers that decisions turn on.
    """

    def __init__(self, session: str, policy: Policy) -> None:
        self.policy = policy
        quarantine = Quarantine(policy.quarantine_after, policy.quarantine_s)
        self._state = ClusterState(session, quarantine, missing=policy.min_workers)
        self._failures = Failures(self._state, policy)
        self._leases = Leases(self._state, policy, self._failures)
        self._grants = Grants(self._state, policy, self._leases)
        self._membership = Membership(self._state, policy, self._leases)
        self._closing = Closing(self._state, policy, self._leases)
        self._updates = UpdateHandler(
            self._state, policy, self._leases, self._failures, self._closing
        )
        self._transfers = Transfers(self._state, policy)
        self._operator = OperatorRequests(self._state, self._membership, self._failures)

    def invite(self, command: str) -> None:
        """Say how a worker is started; it decides nothing, but stands in messages."""
        self._state.join_command = command

    def norms(self) -> dict[str, list[float]]:
        """What is usual, by identity; for the next session."""
        return self._state.norms.to_dict()

    def restore_norms(self, norms: Mapping[str, Any]) -> None:
        """Take in what `norms` gave in an earlier session, before the first round.

        Raises:
            ValueError: If it is something else.
        """
        self._state.norms.restore(norms)

    # --- the one door -----------------------------------------------------------------

    def handle(self, event: CoordinatorEvent, now: float) -> Commands:
        """Take in what happened; return what to do about it, in order.

        Args:
            event: What happened.
            now: Seconds on a monotonic clock.

        Raises:
            LocalProtocolError: If this side may not send it now; nothing changed.
        """
        before = self.phase
        following = TRANSITIONS.following(event, before)
        self._check_legal(event, now)
        due = now
        if isinstance(event, TimePassed):
            due = max(self._state.now, self.next_wakeup() or now)
        self._state.now = now
        if not following:
            return []
        commands = self._take_in(event, due)
        commands += self._updates.settle()
        may_close = isinstance(event, MessageReceived | TimePassed)
        commands += self._closing.settle(may_close=may_close)
        commands += self._grants.settle()
        if isinstance(event, TimePassed):
            commands += self._announce_wait()
        TRANSITIONS.check(event, before, self.phase, following)
        return commands

    @property
    def phase(self) -> Phase:
        """Where it is in its run."""
        if self._state.over is not None:
            return Phase.OVER
        return Phase.WAITING if self._state.round is None else Phase.ROUND

    def _take_in(  # noqa: C901, PLR0911, PLR0912 - one exhaustive match
        self, event: CoordinatorEvent, due: float
    ) -> Commands:
        match event:
            case WorkerExpected():
                return self._membership.expected(event)
            case WorkerJoined():
                return self._membership.joined(event)
            case WorkerLeft():
                return self._membership.left(event.worker, event.reason)
            case MessageReceived():
                return self._receive(event)
            case UploadHeld():
                return self._leases.hold(event.worker, event.key)
            case ThetaMoved() | UpdateMoved():
                return self._transfers.moved(event)
            case RoundOpened():
                return self._open_round(event)
            case RoundAbandoned():
                return self._leases.close_round(event.reason)
            case RunEnded():
                return self._end_run(event.reason)
            case PauseRequested():
                return self._operator.pause(event.reason)
            case ResumeRequested():
                return self._operator.resume()
            case DrainRequested():
                return self._operator.drain(event)
            case ReleaseRequested():
                return self._operator.release(event.worker)
            case TimePassed():
                return self._time_passed(due)
            case _:
                assert_never(event)

    def _receive(self, event: MessageReceived) -> Commands:
        """A message came; one of a worker that is gone changes nothing."""
        worker = self._state.workers.get(event.worker)
        if worker is None:
            return []
        match message := event.message:
            case Heartbeat():
                return self._membership.heartbeat(worker, message)
            case Update():
                return self._updates.update(worker, message)
            case LeaseReturn():
                return self._updates.returned(worker, message)
            case Draining():
                return self._membership.draining(worker)
            case Away():
                return self._membership.away(worker, message)
            case _:
                assert_never(message)

    def next_wakeup(self) -> float | None:
        """When to send TimePassed next; None: not before the next event."""
        if self._state.over is not None:
            return None
        times = self._membership.wakeups() + self._failures.wakeups()
        times += self._leases.wakeups() + self._closing.wakeups()
        if self._state.round is not None:
            times.append(self._state.round.announced_at + self.policy.announce_s)
        return min(times, default=None)

    def named(self, worker: str) -> tuple[WorkerId, ...]:
        """Connections of the worker with this name or id."""
        return self._state.named(worker)

    def upload_turn(self, worker: WorkerId, key: LeaseKey) -> Turn:
        """Whether a large update whose head has come is to be read now."""
        return self._updates.turn(worker, key, self.policy.room_bytes)

    def status(self, now: float) -> status.ClusterStatus:
        """A picture of everything, for people and scripts."""
        return status.picture(self._state, now)

    def check_invariants(self) -> None:
        """Raise AssertionError if the state contradict themselves; for tests."""
        check_state(self._state, self.policy)

    def _check_legal(self, event: CoordinatorEvent, now: float) -> None:
        """Raise if our own side broke the rules; before anything changes."""
        state = self._state
        if now < state.now:
            raise LocalProtocolError(
                f"the clock went back from {state.now} to {now}; use a monotonic clock"
            )
        if isinstance(event, WorkerJoined):
            if event.worker in state.workers:
                raise LocalProtocolError(f"worker id {event.worker} is already in use")
            if event.slots < 1:
                raise LocalProtocolError(
                    f"worker {event.worker} has {event.slots} slots, expected 1 or more"
                )
        elif isinstance(event, RoundOpened):
            self._check_round(event.version, event.shards, event.need)

    def _check_round(
        self, version: int, shards: tuple[Shard, ...], need: int | None
    ) -> None:
        check_round(version, shards, self._state.version)
        if need is not None and not 1 <= need <= len(shards):
            raise LocalProtocolError(
                f"a round of {len(shards)} shards cannot need {need} updates"
            )

    # --- rounds -----------------------------------------------------------------------

    def _open_round(self, event: RoundOpened) -> Commands:
        state = self._state
        state.rounds_opened += 1
        state.version = event.version
        policy = self.policy
        theta = {
            name: leaf for name, leaf in event.meta.items() if name not in event.carried
        }
        state.round = OpenRound(
            round_id=state.rounds_opened,
            version=event.version,
            shards=event.shards,
            schema=schema(event.meta),
            updates=RoundUpdates(summed=self.policy.ordered_sum),
            payload_bytes=sum(leaf.nbytes for leaf in event.meta.values()),
            outliers=self._outlier_check(theta),
            theta=theta,
            audited=audited(event.shards, policy.audit, policy.audit_seed),
            announced_at=state.now,
            max_attempts=self.policy.max_attempts,
            most_share=self.policy.most_share,
            need=len(event.shards) if event.need is None else event.need,
            opened_at=state.now,
            slow_leases=self._slow_leases(event.shards[0].kind),
        )
        return self._closing.opened()

    def _slow_leases(self, kind: Kind) -> SlowLeases:
        """The leases of a round whose first shard is of this kind."""
        limit_s = partial(
            backup_limit_s,
            everybody=self._state.times,
            factor=self.policy.backup_factor,
        )
        round_usual = self._state.round_times.usual(kind, least=1)
        round_s = 0.0 if round_usual is None else round_usual.median_s
        least_s = max(LEAST_BACKUP_S, ROUND_SHARE * round_s)
        return SlowLeases(limit_s, least_s, unknown_s=self.policy.least_lease_s)

    def _outlier_check(self, theta: ParamTree) -> OutlierCheck | None:
        factor = self.policy.norm_factor
        if not factor:
            return None
        limit = self._state.norms.limit(factor) or Limit.early(global_norm(theta))
        return OutlierCheck(limit, theta, self.policy.displacement)

    def _end_run(self, reason: str) -> Commands:
        self._state.over = reason
        self._state.round = None
        self._state.late.clear()
        self._state.late_updates.clear()
        workers = self._state.remove_all()
        return [Send(worker, RunOver(reason)) for worker in workers]

    # --- time -------------------------------------------------------------------------

    def _time_passed(self, due: float) -> Commands:
        self._forgive_stall(due)
        commands = self._membership.lose_silent() + self._failures.time_passed()
        return commands + self._leases.time_passed()

    def _forgive_stall(self, due: float) -> None:
        """If this side slept (a closed lid, a debugger), nobody else was late.

        Args:
            due: When the event should have come, as far as anybody was awake to see.
        """
        state, grace_s = self._state, self.policy.lost_after_s
        late = state.now - due
        if late <= grace_s / 2:
            return
        for worker in state.workers.values():
            worker.last_seen = state.now
        for live in [
            live for current in state.rounds() for live in current.live.values()
        ]:
            live.deadline = max(live.deadline + late, state.now + grace_s)
            if live.warn_at is not None:
                live.warn_at = max(live.warn_at + late, state.now + grace_s)
        if state.round is not None:
            state.round.slow_leases.restart(state.now)

    def _announce_wait(self) -> Commands:
        """Every few seconds, what the open round waits for."""
        current, now = self._state.round, self._state.now
        if current is None or now < current.announced_at + self.policy.announce_s:
            return []
        current.announced_at = now
        return [Announce(Level.INFO, waits.wait(self._state))]
