"""The simulated coordinator: the real state machine under a toy training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.coordinator.messages import (
    CompleteRound,
    DismissWorker,
    FailRound,
    MessageReceived,
    RoundOpened,
    RunEnded,
    Send,
    SendTheta,
    UploadHeld,
)
from mlpeft.cluster.coordinator.norm_history import LEAST_NORMS
from mlpeft.cluster.coordinator.updates import Turn
from mlpeft.cluster.messages import Announce, TimePassed
from mlpeft.cluster.protocol import Theta, Update
from mlpeft.cluster.sim.network import Network
from mlpeft.cluster.sim.toy import Accepted

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.messages import CoordinatorCommand, CoordinatorEvent
    from mlpeft.cluster.policy import Policy
    from mlpeft.cluster.sim.event_queue import EventQueue
    from mlpeft.cluster.sim.fault_injector import FaultInjector
    from mlpeft.cluster.sim.toy import Work
    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult

HOLD_S = 0.3
"""Seconds after which an update that was kept waiting asks again."""


class Head:
    """The coordinator's process, and the next one in its place.

    Theta and the count of rounds that are done are its checkpoint: all that a new
    process has of the one before.

    Args:
        rounds: Rounds of the run.
        work: What is computed.
        policy: The coordinator's.
        agenda: Virtual time.
        chance: For the network, and jitter.
        need: Updates with which a round may close; None: all.
    """

    def __init__(
        self,
        rounds: int,
        work: Work,
        policy: Policy,
        agenda: EventQueue,
        chance: FaultInjector,
        need: int | None = None,
    ) -> None:
        self.accepted: list[Accepted] = []
        """What counted, by round: a part of the checkpoint."""
        self.completed_at: list[float] = []
        self.metas: dict[int, ParamTree] = {0: work.start()}
        """Theta by its version."""
        self._need = need
        self._work = work
        self.finished = False
        self.announced: list[str] = []
        self.shards_done: dict[str, int] = {}
        self.network = Network(agenda, chance, self)
        self._rounds = rounds
        self._done = 0
        self._policy = policy
        self._agenda = agenda
        self._chance = chance
        self._sessions = 0

    @property
    def session(self) -> str:
        """The session that is up now."""
        return f"session{self._sessions}"

    def start(self) -> None:
        """Start it, or kill it and start it again from what it had completed."""
        self._sessions += 1
        self._counted = 0  # updates that counted in this session
        self._wakeup: float | None = None  # the newest that is on the agenda
        self.network.break_all("the coordinator died")
        self.state = CoordinatorMachine(self.session, self._policy)
        self._open_round()

    def can_tell(self) -> bool:
        """Whether it has seen enough updates to know an outlier."""
        return self._counted >= LEAST_NORMS

    def _open_round(self) -> None:
        number = self._done
        shards, meta = self._work.shards(number), self.metas[number]
        self.take(RoundOpened(number, shards, meta, need=self._need), self.state)

    def take(self, event: CoordinatorEvent, state: CoordinatorMachine) -> None:
        """Take in an event, if the process that it was meant for lives."""
        if state is not self.state or self.finished:
            return
        event = self._wait_for_turn(event, state)
        now = self._agenda.now
        commands = state.handle(event, now)
        state.check_invariants()
        wakeup = state.next_wakeup()
        if wakeup is not None and wakeup != self._wakeup:
            self._wakeup = wakeup
            self._agenda.after(
                max(0.0, wakeup - now), lambda: self._wake(state, wakeup)
            )
        for command in commands:
            self._obey(command)

    def _wait_for_turn(
        self, event: CoordinatorEvent, state: CoordinatorMachine
    ) -> CoordinatorEvent:
        """The event; UploadHeld for an update that stays on the line, to come later."""
        if not isinstance(event, MessageReceived):
            return event
        worker, update = event.worker, event.message
        if not isinstance(update, Update):
            return event
        if state.upload_turn(worker, update.key) is not Turn.LATER:
            return event

        def again() -> None:
            self.take(UploadHeld(worker, None), state)
            self.take(event, state)

        self._agenda.after(HOLD_S, again)
        return UploadHeld(worker, update.key)

    def _note(self, result: RoundResult) -> None:
        """What counted; a shard must not count twice, nor too late."""
        late = tuple(each.place for each in result.late)
        self.accepted.append(Accepted(result.shards, late))
        self.completed_at.append(self._agenda.now)
        places = [
            place
            for number, each in enumerate(self.accepted)
            for place in [*((number, index) for index in each.shards), *each.late]
        ]
        assert len({*places}) == len(places), "a shard counted twice"  # noqa: S101
        most = self._policy.max_staleness
        assert all(self._done - number <= most for number, _ in late)  # noqa: S101
        have = len(result.shards) + (len(late) if self._policy.late_counts else 0)
        need = self._need or len(self._work.shards(self._done))
        assert have >= need, "closed too early"  # noqa: S101

    def _wake(self, state: CoordinatorMachine, at: float) -> None:
        if self._wakeup == at:
            self._wakeup = None
        if state.next_wakeup() == at:
            self.take(TimePassed(), state)

    def _obey(self, command: CoordinatorCommand) -> None:
        match command:
            case Send(worker, message):
                self.network.down(worker, message)
            case SendTheta(worker, version):
                self.network.down(worker, Theta(version, self.metas[version]))
            case DismissWorker(worker, reason):
                self.network.break_by_id(worker, reason)
            case CompleteRound(_, result):
                self._note(result)
                meta = self._work.step(self.metas, self._done, result)
                self._done += 1
                self.metas[self._done] = meta
                self._counted += len(result.shards)
                if self._done < self._rounds:
                    self._open_round()
                else:
                    workers = self.state.status(self._agenda.now).workers
                    self.shards_done = {each.name: each.shards_done for each in workers}
                    self.take(RunEnded("all rounds done"), self.state)
                    self.finished = True
            case FailRound(_, history):
                raise AssertionError(history)
            case Announce(_, text):
                self.announced.append(f"{self._agenda.now:8.3f} {text}")
            case _:
                assert_never(command)
