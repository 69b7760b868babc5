"""One schedule of faults, from start to end."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator.messages import (
    DrainRequested,
    PauseRequested,
    ResumeRequested,
)
from mlpeft.cluster.policy import Policy
from mlpeft.cluster.sim.coordinator import Head
from mlpeft.cluster.sim.event_queue import EventQueue
from mlpeft.cluster.sim.fault_injector import FaultInjector, Faults
from mlpeft.cluster.sim.toy import ToyWork
from mlpeft.cluster.sim.worker import Process
from mlpeft.cluster.worker.messages import (
    MachineFree,
    MachineNeeded,
    Started,
    StopRequested,
)
from mlpeft.config import ClusterSection
from mlpeft.work import Displacement

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.sim.toy import Accepted, Vector, Work
    from mlpeft.params import ParamTree

PATIENT = replace(
    Policy.from_config(
        ClusterSection(
            lease_s=20.0,
            least_lease_s=3.0,
            quarantine_s=15.0,
            max_attempts=10_000,
            norm_factor=0.0,
        ),
        displacement=Displacement.FROM_THETA,
        ordered_sum=False,
    ),
    announce_s=1.0,
)
"""Shards fail often here, and no run is to end for it; short waits are told, too."""
MOST_S = 900.0
"""Virtual seconds that a run may take: five times what the longest of the first 4,000
schedules takes."""
LONGEST_FREEZE_S = 15.0
DEVICES = 2
"""Kinds of devices; workers on the same are compared by their bits."""
MOST_EVENTS = 50_000
"""Events that a run may take, should time stand still; and as many more a round:"""
EVENTS_A_ROUND = 500


class Simulation:
    """One schedule.

    Args:
        seed: Decides everything that is random.
        workers: Worker processes.
        rounds: Rounds of the toy run.
        shards: Shards of each.
        faults: What goes wrong.
        policy: The coordinator's; None: a patient one.
        need: Updates with which a round may close; None: all.
        work: What is computed; None: the toy run.
    """

    def __init__(
        self,
        seed: int,
        *,
        workers: int = 3,
        rounds: int = 6,
        shards: int = 3,
        faults: Faults | None = None,
        policy: Policy | None = None,
        need: int | None = None,
        work: Work | None = None,
    ) -> None:
        self.seed = seed
        self._faults = faults or Faults()
        self._chance = FaultInjector(seed, self._faults)
        self._agenda = EventQueue()
        self._most_events = MOST_EVENTS + EVENTS_A_ROUND * rounds
        self._work = work or ToyWork(shards)
        self.took_s: dict[tuple[int, int], float] = {}
        """Seconds of computing of whoever was the first to be done, by round and
        shard."""
        self._head = Head(
            rounds, self._work, policy or PATIENT, self._agenda, self._chance, need
        )
        self._ids = itertools.count(1)
        self._processes = [self._process(f"w{slot}", slot) for slot in range(workers)]

    @property
    def announced(self) -> list[str]:
        """What the coordinator told the people, each line with its time."""
        return self._head.announced

    @property
    def accepted(self) -> list[Accepted]:
        """What counted, by round."""
        return self._head.accepted

    @property
    def metas(self) -> dict[int, ParamTree]:
        """Theta by the number of rounds that are done."""
        return self._head.metas

    @property
    def goodput(self) -> float:
        """Seconds of computing that counted, of all that the workers had."""
        places = [
            place
            for number, each in enumerate(self.accepted)
            for place in [*((number, index) for index in each.shards), *each.late]
        ]
        useful_s = sum(self.took_s[place] for place in places)
        return useful_s / (len(self._processes) * self.seconds)

    @property
    def completed_at(self) -> list[float]:
        """Virtual seconds at which rounds were done."""
        return self._head.completed_at

    @property
    def seconds(self) -> float:
        """Virtual seconds since the start."""
        return self._agenda.now

    @property
    def backups(self) -> int:
        """Leases granted as backups since the coordinator started."""
        return self._head.state.status(self._agenda.now).backups

    @property
    def shards_done(self) -> dict[str, int]:
        """Updates that counted of those who were connected at the end, by name."""
        return self._head.shards_done

    def run(self, most_s: float = MOST_S) -> Vector:
        """Run the toy run to the end of training; theta.

        Args:
            most_s: Virtual seconds after which it counts as hanging.

        Raises:
            AssertionError: If an invariant breaks, or it does not come to an end.
        """
        self.finish(most_s)
        theta: Vector = self.metas[max(self.metas)]["w"]
        return theta

    def finish(self, most_s: float = MOST_S) -> None:
        """As `run`, whatever is computed; `metas` has it then."""
        self._head.start()
        for process in self._processes:
            process.take(Started())
        self._plan_faults()
        for _ in range(self._most_events):
            if self._head.finished:
                return
            if self._agenda.now > most_s:
                break
            self._agenda.step()
        wait = self._head.state.status(self._agenda.now).wait
        raise AssertionError(f"seed {self.seed} did not end: {wait}")

    # --- workers ----------------------------------------------------------------------

    def _process(self, name: str, slot: int) -> Process:
        return Process(
            name,
            f"{name}-{next(self._ids)}",
            self._identity(slot),
            f"device-{slot % DEVICES}",
            self._agenda,
            self._chance,
            self._head.network,
            self._work,
            self.took_s,
            liar=slot < self._faults.liars,
            straggler=slot < self._faults.stragglers,
            can_tell=self._head.can_tell,
            ended=self._replace,
        )

    def _identity(self, slot: int) -> str:
        """Liars in a conspiracy are processes of one machine of their own."""
        faults = self._faults
        if faults.conspiracy and slot < faults.liars:
            return "conspirators"
        return f"machine-{slot % faults.machines if faults.machines else slot}"

    def _replace(self, process: Process) -> None:
        """A process has ended; after a while another is started in its place."""
        slot = self._processes.index(process)
        fresh = self._process(process.name, slot)
        self._processes[slot] = fresh
        self._agenda.after(
            self._chance.between(0.1, 5.0), lambda: fresh.take(Started())
        )

    # --- faults -----------------------------------------------------------------------

    def _plan_faults(self) -> None:
        faults = self._faults
        plan: list[tuple[int, Callable[[Process], None]]] = [
            (faults.drops, self._drop),
            (faults.crashes, self._crash),
            (faults.freezes, self._freeze),
            (faults.hangs, self._hang),
            (faults.drains, self._drain),
            (faults.pauses, lambda _: self._pause()),
            (faults.restarts, lambda _: self._head.start()),
        ]
        for count, fault in plan:
            for _ in range(count):
                at = self._chance.between(0.0, faults.horizon_s)
                slot = self._chance.below(len(self._processes))
                # Whoever has the slot by then is the victim.
                self._agenda.after(at, lambda f=fault, s=slot: f(self._processes[s]))  # type: ignore[misc]
        for _ in range(faults.absences):
            at = self._chance.between(0.0, faults.horizon_s)
            slot = self._chance.below(len(self._processes))
            self._agenda.after(at, lambda s=slot: self._need(self._processes[s]))  # type: ignore[misc]
        for place in range(1, faults.stuck + 1):
            at = self._chance.between(0.0, faults.horizon_s)
            self._agenda.after(at, lambda s=-place: self._stick(self._processes[s]))  # type: ignore[misc]

    def _drop(self, process: Process) -> None:
        if process.line is not None:
            self._head.network.break_line(process.line, "connection dropped")

    def _crash(self, process: Process) -> None:
        process.alive = False
        if process.line is not None:
            self._head.network.break_line(process.line, "process died")
        self._replace(process)

    def _freeze(self, process: Process) -> None:
        frozen_s = self._chance.between(1.0, LONGEST_FREEZE_S)
        process.frozen_until = self._agenda.now + frozen_s

    def _hang(self, process: Process) -> None:
        process.hung_until = self._agenda.now + self._chance.between(5.0, 40.0)

    def _need(self, process: Process) -> None:
        """Somebody sits down at the machine, and goes away later."""
        process.take(MachineNeeded("in use"))
        back_s = self._chance.between(0.5, 15.0)
        # Again, since a frozen process takes both in at its end, in any order.
        for later_s in (back_s, back_s + 4 * LONGEST_FREEZE_S):
            self._agenda.after(later_s, lambda: process.take(MachineFree()))

    def _stick(self, process: Process) -> None:
        process.hung_until = float("inf")

    def _drain(self, process: Process) -> None:
        """By an operator, or by a signal."""
        if self._chance.happens(0.5):
            drain = DrainRequested(process.name, "wanted elsewhere")
            self._head.take(drain, self._head.state)
        else:
            process.take(StopRequested("SIGTERM"))

    def _pause(self) -> None:
        """A coordinator that is started again meanwhile has forgotten it."""
        state = self._head.state
        self._head.take(PauseRequested("an operator"), state)
        self._agenda.after(
            self._chance.between(0.5, 5.0),
            lambda: self._head.take(ResumeRequested(), state),
        )
