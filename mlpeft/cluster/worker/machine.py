"""A worker as a state machine: `handle(event, now) -> commands`.

    IDLE --Started--> DIALLING --CoordinatorJoined--> WORKING
                        ^  |                            |
      (capped, jittered |  +-- JoinRefused --> STOPPED  |
       backoff)         +-------- StreamLost -----------+
                        +-- RunOver (unless `once`) ----+--> STOPPED

`transitions` lists what is legal in each phase. Rules that this file obeys, and that
`check_invariants` checks:

- Nothing but `handle` changes state. Time and jitter come in as arguments.
- An event that our own side may not send now raises LocalProtocolError and changes
  nothing.
- What comes from the network may be late, repeated or out of order: a lease waits for
  its theta; an old theta, a known lease and an unknown revocation change nothing.
- A shard that was computed while the line was down is sent after rejoining the same
  session. What belongs to another session is dropped.
- A worker that is to stop finishes the shard in hand, returns the others and leaves.
- While its machine is needed otherwise, a worker holds no lease and does not dial; it
  says why on the line that it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from mlpeft.cluster.messages import Announce, Level, TimePassed
from mlpeft.cluster.protocol import (
    Away,
    Drain,
    Draining,
    Heartbeat,
    Lease,
    LeaseReturn,
    LeaseRevocation,
    Notice,
    RunOver,
    Theta,
    Update,
)
from mlpeft.cluster.worker.messages import (
    CancelShard,
    ComputeShard,
    CoordinatorJoined,
    DialCoordinator,
    JoinRefused,
    MachineFree,
    MachineNeeded,
    ProgressMade,
    Send,
    ShardCancelled,
    ShardComputed,
    ShardFailed,
    Started,
    Stop,
    StopRequested,
    StreamLost,
    WorkerCommand,
    WorkerEvent,
)
from mlpeft.cluster.worker.patience import Patience, WorkerPolicy
from mlpeft.cluster.worker.transitions import TRANSITIONS, Phase
from mlpeft.errors import LocalProtocolError

if TYPE_CHECKING:
    from mlpeft.cluster.protocol import LeaseKey
    from mlpeft.work import ShardUpdate

__all__ = ["WorkerMachine", "WorkerPolicy"]

Commands = list[WorkerCommand]


class WorkerMachine:
    """Keeps a worker joined, and its shards in order.

    Args:
        policy: How it behaves when nobody answers.
    """

    def __init__(self, policy: WorkerPolicy) -> None:
        self.policy = policy
        self.phase = Phase.IDLE
        self.version: int | None = None
        """The version of theta that is held for leases to come."""
        self._session: str | None = None
        self._heartbeat_s = 0.0  # as the coordinator says when it is joined
        self._heartbeat_due = 0.0
        self._queued: dict[LeaseKey, Lease] = {}  # waits for theta
        self._running: dict[LeaseKey, Lease] = {}  # with the computing thread
        self._cancelled: set[LeaseKey] = set()  # of those: told to drop
        self._progress: dict[LeaseKey, int] = {}  # tasks done; running ones only
        self._unreported: set[LeaseKey] = set()  # of these: news for a heartbeat
        self._unsent: dict[LeaseKey, Update] = {}  # computed while the line was down
        self._patience = Patience(policy)
        self._stopping: str | None = None  # why it is to stop
        self._away = ""  # why the machine is needed otherwise
        self._away_changes = 0
        self._dropped: set[LeaseKey] = set()  # given back, and still with the thread
        self._hung_up = False  # whether no dial is under way, since it is away
        self._now = float("-inf")

    # --- the one door -----------------------------------------------------------------

    def handle(self, event: WorkerEvent, now: float) -> Commands:
        """Take in what happened; return what to do about it, in order.

        Args:
            event: What happened.
            now: Seconds on a monotonic clock.

        Raises:
            LocalProtocolError: If this side may not send it now; nothing changed.
        """
        if now < self._now:
            raise LocalProtocolError(
                f"the clock went back from {self._now} to {now}; use a monotonic clock"
            )
        before = self.phase
        following = TRANSITIONS.following(event, before)
        self._now = now
        if not following:
            return []
        commands = self._take_in(event)
        if any(isinstance(command, Send) for command in commands):
            # Any message is a sign of life: no heartbeat is due beside it.
            self._heartbeat_due = now + self._heartbeat_s
        TRANSITIONS.check(event, before, self.phase, following)
        return commands

    def _take_in(  # noqa: C901, PLR0911, PLR0912 - one exhaustive match
        self, event: WorkerEvent
    ) -> Commands:
        match event:
            case Started():
                self.phase = Phase.DIALLING
                return self._dial(0.0)
            case CoordinatorJoined():
                return self._joined(event)
            case Theta():
                return self._theta(event.version)
            case Lease():
                return self._granted(event)
            case LeaseRevocation():
                return self._revoked(event)
            case Notice():
                return [Announce(Level.WARNING, f"the coordinator says: {event.text}")]
            case Drain():
                return self._stop_requested(f"drained: {event.reason}")
            case RunOver():
                return self._run_over(event.reason)
            case ProgressMade():
                if event.key in self._running:
                    self._note_progress(event.key, event.tasks_done)
                return []
            case ShardComputed():
                return self._computed(event.key, event.update)
            case ShardFailed():
                return self._given_up(event.key, failed=True, reason=event.reason)
            case ShardCancelled():
                return self._given_up(event.key, failed=False, reason="as told")
            case StreamLost():
                return self._stream_lost(event.reason, event.jitter)
            case JoinRefused():
                return self._stop(event.reason, failed=True)
            case StopRequested():
                return self._stop_requested(event.reason)
            case MachineNeeded():
                return self._machine_needed(event.reason)
            case MachineFree():
                return self._machine_free()
            case TimePassed():
                return self._time_passed()
            case _:
                assert_never(event)

    @property
    def working(self) -> bool:
        """Whether it holds a lease."""
        return bool(self._queued or self._running)

    def next_wakeup(self) -> float | None:
        """When to send TimePassed next; None: not before the next event."""
        return self._heartbeat_due if self.phase is Phase.WORKING else None

    # --- joining and leaving ----------------------------------------------------------

    def _joined(self, event: CoordinatorJoined) -> Commands:
        self.phase = Phase.WORKING
        self._heartbeat_s = event.heartbeat_s
        self._heartbeat_due = self._now + event.heartbeat_s
        self._patience.joined()
        self._session = event.session
        commands: Commands = [
            self._cancel(key)
            for key in self._uncancelled()
            if key.session != event.session
        ]
        commands += [
            Send(update)
            for key, update in self._unsent.items()
            if key.session == event.session
        ]
        self._unsent.clear()
        if self._away:
            commands.append(self._tell_away())
        return commands

    def _dial(self, delay_s: float) -> Commands:
        """Try to join; once the machine is free, if it is not."""
        if self._away:
            self._hung_up = True
            return []
        return [DialCoordinator(delay_s)]

    def _stream_lost(self, reason: str, jitter: float) -> Commands:
        """The line is down: leases that have not begun go back by themselves."""
        if self._stopping is not None:
            return [*self._cancel_all(), *self._stop(self._stopping, failed=False)]
        commands: Commands = []
        if self.phase is Phase.WORKING:
            commands.append(Announce(Level.WARNING, f"connection lost: {reason}"))
        self._hang_up()
        if not self._away and self._patience.speaks(self._now):
            text = f"waiting for the coordinator: {reason}"
            commands.append(Announce(Level.INFO, text))
        return commands + self._dial(self._patience.failed(jitter))

    def _hang_up(self) -> None:
        """Nothing more comes over this line."""
        self.phase = Phase.DIALLING
        self._queued.clear()
        self.version = None  # the coordinator sends theta anew on every connection

    def _run_over(self, reason: str) -> Commands:
        """The stream's last message; the dial follows its StreamLost."""
        cancels = self._cancel_all()
        self._unsent.clear()
        self._session = None
        if self.policy.once:
            return [*cancels, *self._stop(f"run over: {reason}", failed=False)]
        if self._stopping is not None:
            return [*cancels, *self._stop(self._stopping, failed=False)]
        self._hang_up()
        self._patience.run_over(self._now)
        text = f"run over: {reason}; waiting for the next"
        return [*cancels, Announce(Level.INFO, text)]

    def _stop_requested(self, reason: str) -> Commands:
        if self._stopping is not None:
            return []
        if self.phase is not Phase.WORKING:
            return [*self._cancel_all(), *self._stop(reason, failed=False)]
        self._stopping = reason
        waiting, self._queued = list(self._queued), {}
        commands: Commands = [Send(Draining())]
        commands += [_back(key, reason) for key in waiting]
        # The computing thread takes leases in order: the first is in hand, others wait.
        commands += [self._cancel(key) for key in self._uncancelled()[1:]]
        return commands + self._stop_if_idle()

    def _stop_if_idle(self) -> Commands:
        if self._stopping is None or self._running or self._queued:
            return []
        return self._stop(self._stopping, failed=False)

    def _stop(self, reason: str, *, failed: bool) -> Commands:
        self.phase = Phase.STOPPED
        self._queued.clear()
        return [Stop(reason, failed)]

    # --- a machine that is needed otherwise -------------------------------------------

    def _machine_needed(self, reason: str) -> Commands:
        if reason == self._away or self._stopping is not None:
            return []
        self._away = reason
        # The computing thread drops a shard at its next task; what it says is ignored.
        commands: Commands = [
            Announce(Level.INFO, f"away: {reason}"),
            *self._cancel_all(),
        ]
        if self.phase is Phase.WORKING:
            commands.append(self._tell_away())
            commands += [_back(key, reason) for key in (*self._queued, *self._running)]
        self._queued.clear()
        self._dropped |= self._running.keys()
        for key in list(self._running):
            self._finished(key)
        return commands

    def _machine_free(self) -> Commands:
        if not self._away:
            return []
        self._away = ""
        commands: Commands = [Announce(Level.INFO, "back: takes shards again")]
        if self.phase is Phase.WORKING:
            commands.append(self._tell_away())
        if self._hung_up:
            self._hung_up = False
            self._patience.try_at_once()
            commands += self._dial(0.0)
        return commands

    def _tell_away(self) -> Send:
        self._away_changes += 1
        return Send(Away(self._away, self._away_changes))

    # --- leases -----------------------------------------------------------------------

    def _theta(self, version: int) -> Commands:
        if self.version is not None and version <= self.version:
            return []
        self.version = version
        commands: Commands = []
        for key, lease in list(self._queued.items()):
            if lease.version == version:
                del self._queued[key]
                commands += self._run(lease)
            elif lease.version < version:
                del self._queued[key]
                commands.append(self._outdated(lease))
        return commands

    def _granted(self, lease: Lease) -> Commands:
        if lease.key in self._queued or lease.key in self._running:
            return []
        if self._stopping is not None:
            return [_back(lease.key, self._stopping)]
        if self._away or lease.key in self._dropped:
            return [_back(lease.key, self._away or "it was given back")]
        if self.version is None or lease.version > self.version:
            self._queued[lease.key] = lease
            return []
        if lease.version < self.version:
            return [self._outdated(lease)]
        return self._run(lease)

    def _outdated(self, lease: Lease) -> Send:
        reason = f"theta version {lease.version} was replaced by {self.version}"
        return _back(lease.key, reason)

    def _run(self, lease: Lease) -> Commands:
        self._running[lease.key] = lease
        return [ComputeShard(lease)]

    def _revoked(self, revocation: LeaseRevocation) -> Commands:
        key = revocation.key
        if key in self._queued:
            del self._queued[key]
            return [_back(key, revocation.reason)]
        if key in self._running and key not in self._cancelled:
            return [self._cancel(key)]
        return []

    def _uncancelled(self) -> list[LeaseKey]:
        return [key for key in self._running if key not in self._cancelled]

    def _cancel_all(self) -> Commands:
        return [self._cancel(key) for key in self._uncancelled()]

    def _cancel(self, key: LeaseKey) -> CancelShard:
        self._cancelled.add(key)
        return CancelShard(key)

    def _finished(self, key: LeaseKey) -> Lease | None:
        """Forget a lease that the computing thread is done with, or is to drop."""
        self._cancelled.discard(key)
        self._progress.pop(key, None)
        self._unreported.discard(key)
        return self._running.pop(key, None)

    def _computed(self, key: LeaseKey, update: ShardUpdate) -> Commands:
        wanted = key not in self._cancelled
        self._dropped.discard(key)
        lease = self._finished(key)
        if lease is None:
            return []
        message = Update(key, lease.version, update)
        if self.phase is not Phase.WORKING:
            if wanted:
                self._unsent[key] = message
            return []
        if wanted:
            return [Send(message), *self._stop_if_idle()]
        back = _back(key, "computed, but no longer wanted")
        return [back, *self._stop_if_idle()]

    def _given_up(self, key: LeaseKey, *, failed: bool, reason: str) -> Commands:
        self._dropped.discard(key)
        if self._finished(key) is None or self.phase is not Phase.WORKING:
            return []
        commands: Commands = [Send(LeaseReturn(key, failed, reason))]
        if failed:
            commands.insert(0, Announce(Level.ERROR, f"{key} failed: {reason}"))
        return commands + self._stop_if_idle()

    def _note_progress(self, key: LeaseKey, tasks_done: int) -> None:
        """Tell of it with the next heartbeat, if it is news."""
        if tasks_done > self._progress.get(key, 0):
            self._progress[key] = tasks_done
            self._unreported.add(key)

    # --- time -------------------------------------------------------------------------

    def _time_passed(self) -> Commands:
        if self._now < self._heartbeat_due:
            return []
        news = [key for key in self._progress if key in self._unreported]
        self._unreported.clear()
        return [Send(Heartbeat(tuple((key, self._progress[key]) for key in news)))]

    def check_invariants(self) -> None:
        """Raise AssertionError if the state contradict themselves; for tests."""
        newest = float("-inf") if self.version is None else self.version
        working = self.phase is Phase.WORKING
        rules = {
            "a lease is queued and running": self._queued.keys() & self._running.keys(),
            "a cancelled lease does not run": self._cancelled - self._running.keys(),
            "progress of a lease that is gone": (
                self._progress.keys() - self._running.keys()
            ),
            "news of no progress": self._unreported - self._progress.keys(),
            "a running shard is computed": self._unsent.keys() & self._running.keys(),
            "a lease waits on a line that is down": not working and self._queued,
            "an update waits although the line is up": working and self._unsent,
            "it is to stop, and dials": (
                self.phase is Phase.DIALLING and self._stopping is not None
            ),
            "it is away, and holds a lease": self._away and self.working,
            "a dropped lease runs": self._dropped & self._running.keys(),
            "it has hung up, and is not away": self._hung_up and not self._away,
            "a lease waits for a theta that is here": [
                key for key, lease in self._queued.items() if lease.version <= newest
            ],
        }
        broken = [rule for rule, offenders in rules.items() if offenders]
        if broken:
            raise AssertionError("; ".join(broken))


def _back(key: LeaseKey, reason: str) -> Send:
    """Give a lease back that nobody tried and failed at."""
    return Send(LeaseReturn(key, failed=False, reason=reason))
