"""Any sequence of events: invariants hold, or the event is refused.

From any state, any event moves a machine to a phase that its table lists, or raises and
changes nothing.
"""

import pickle

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mlpeft.cluster import messages as m
from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator import transitions as coordinator
from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.sim import toy_shards, toy_update
from mlpeft.cluster.worker import messages as wm
from mlpeft.cluster.worker import transitions as worker_transitions
from mlpeft.cluster.worker.machine import WorkerMachine, WorkerPolicy
from mlpeft.cluster.worker.transitions import Phase
from mlpeft.errors import LocalProtocolError
from mlpeft.work import ShardUpdate
from tests.cluster.builders import META, THETA, key, lease, policy_with, theta

NAMES = st.sampled_from(["ada", "bob", "cyd"])
KEYS = st.builds(
    key,
    shard=st.integers(0, 3),
    attempt=st.integers(1, 3),
    round_id=st.integers(1, 4),
    session=st.sampled_from(["s", "s", "s", "old"]),
)


def handled(machine, table, event, now):
    """The commands after an event; [] if the machine refused it, as its table says."""
    before, knows = machine.phase, pickle.dumps(vars(machine))
    following = table[type(event)].get(before)
    try:
        commands = machine.handle(event, now)
    except LocalProtocolError:
        assert following is None
        assert pickle.dumps(vars(machine)) == knows
        return []
    assert following is not None
    assert machine.phase in (following or {before})
    assert following or commands == []
    return commands


class CoordinatorRules(RuleBasedStateMachine):
    """Joins, losses, updates good and bad, leases that run out, in any order."""

    def __init__(self):
        super().__init__()
        self.state = CoordinatorMachine(
            "s",
            policy_with(
                lost_after_s=4,
                lease_s=6,
                least_lease_s=0.5,
                quarantine_after=2,
                quarantine_s=8,
                min_workers=2,
            ),
        )
        self.now = 0.0
        self.ids = {}  # newest connection by name
        self.connections = 0
        self.version = 0
        self.paused = False
        self.granted = []  # (worker, lease)
        self.completed = 0

    @property
    def open(self):
        return self.state.phase is coordinator.Phase.ROUND

    def send(self, event):
        was_open = self.open or isinstance(event, cm.RoundOpened)
        for command in handled(self.state, coordinator.TABLE, event, self.now):
            match command:
                case cm.Send(worker, p.Lease() as granted):
                    assert worker in self.ids.values()
                    assert not self.paused
                    self.assert_takes_leases(worker)
                    self.granted.append((worker, granted))
                case cm.CompleteRound(_, result):
                    assert was_open
                    assert not self.open
                    expected = [
                        toy_update(THETA, shard)
                        for shard in toy_shards(self.version, len(result.per_task))
                    ]
                    for got, want in zip(result.totals.totals, expected, strict=True):
                        assert got["w"].tobytes() == want.total["w"].tobytes()
                    self.completed += 1
                case cm.FailRound():
                    assert was_open
                    assert not self.open
                case cm.DismissWorker(worker) | cm.Send(worker, p.RunOver()):
                    self.ids = {n: i for n, i in self.ids.items() if i != worker}

    def assert_takes_leases(self, worker):
        (record,) = [
            record
            for record in self.state.status(self.now).workers
            if record.worker == worker
        ]
        assert not record.quarantined
        assert not record.draining

    @initialize(known=st.booleans(), both=st.booleans())
    def begins(self, known, both):
        """Two workers; in some runs task times are known from a first round."""
        self.joins("ada", slots=2, crashed=False)
        self.joins("bob", slots=1, crashed=False)
        if known:
            self.opens(shards=8)
            for _ in range(8):
                self.now += 0.5
                worker, held = self.granted.pop(0)
                update = toy_update(THETA, held.shard)
                self.send(
                    cm.MessageReceived(worker, p.Update(held.key, held.version, update))
                )
            assert not self.open
        self.opens(shards=4)

    @rule(seconds=st.floats(0.1, 3))
    def time_passes(self, seconds):
        """Stop at every wakeup on the way, as the shells do."""
        until = self.now + seconds
        while (wakeup := self.state.next_wakeup()) is not None and wakeup <= until:
            assert wakeup >= self.now, "a wakeup in the past would spin"
            self.now = wakeup
            self.send(m.TimePassed())
        self.now = until

    @rule(seconds=st.floats(0.1, 6))
    def time_passes_while_all_are_alive(self, seconds):
        for _ in range(3):
            for worker in self.ids.values():
                self.send(cm.MessageReceived(worker, p.Heartbeat()))
            self.time_passes(seconds / 3)

    @rule(name=NAMES, slots=st.integers(1, 3), crashed=st.booleans())
    def joins(self, name, slots, crashed):
        self.leaves(name)
        self.connections += 1
        self.ids[name] = p.WorkerId(f"{name}-{self.connections}")
        process = f"{name}-{self.connections}" if crashed else name
        self.send(cm.WorkerJoined(self.ids[name], name, process, name, slots))

    @rule(name=NAMES)
    def gets_ready(self, name):
        self.send(cm.WorkerExpected(name, name))

    @rule(name=NAMES)
    def leaves(self, name):
        if name in self.ids:
            self.send(cm.WorkerLeft(self.ids.pop(name), "gone"))

    @rule(
        name=NAMES,
        reason=st.sampled_from(["", "in use"]),
        change=st.integers(1, 9),
    )
    def is_away(self, name, reason, change):
        worker = self.ids.get(name, p.WorkerId("nobody"))
        self.send(cm.MessageReceived(worker, p.Away(reason, change)))

    @rule(name=NAMES, held=st.lists(KEYS, max_size=2))
    def heartbeat(self, name, held):
        worker = self.ids.get(name, p.WorkerId("nobody"))
        self.send(cm.MessageReceived(worker, p.Heartbeat(tuple((k, 1) for k in held))))

    @rule(
        name=NAMES,
        what=st.sampled_from(["drain", "farewell", "release", "pause", "resume"]),
    )
    def an_operator_asks(self, name, what):
        worker = self.ids.get(name, p.WorkerId("nobody"))
        events = {
            "drain": cm.DrainRequested(name, "wanted elsewhere"),
            "farewell": cm.MessageReceived(worker, p.Draining()),
            "release": cm.ReleaseRequested(name),
            "pause": cm.PauseRequested("maintenance"),
            "resume": cm.ResumeRequested(),
        }
        if self.state.phase is not coordinator.Phase.OVER:
            self.paused = what == "pause" or (self.paused and what != "resume")
        self.send(events[what])

    @precondition(lambda self: not self.open)
    @rule(shards=st.integers(1, 4))
    def opens(self, shards):
        self.version += 1
        self.send(cm.RoundOpened(self.version, toy_shards(self.version, shards), META))

    @precondition(lambda self: self.open)
    @rule(earnest=st.integers(0, 5))
    def abandons(self, earnest):
        if earnest == 0:
            self.send(cm.RoundAbandoned("stop"))

    @rule(earnest=st.integers(0, 20))
    def the_run_ends(self, earnest):
        if earnest == 0:
            self.send(cm.RunEnded("done"))
            assert self.ids == {}

    @precondition(lambda self: not self.open)
    @rule()
    def abandons_what_is_not_open(self):
        self.send(cm.RoundAbandoned("stop"))

    @precondition(lambda self: self.open)
    @rule()
    def opens_a_second_round(self):
        self.send(cm.RoundOpened(self.version, toy_shards(self.version, 2), META))

    @rule(name=NAMES, lease_key=KEYS, held=st.booleans())
    def holds_an_upload(self, name, lease_key, held):
        worker = self.ids.get(name, p.WorkerId("nobody"))
        self.send(cm.UploadHeld(worker, lease_key if held else None))

    @rule(name=NAMES, version=st.integers(0, 3), done=st.integers(0, 2))
    def moves_theta(self, name, version, done):
        worker = self.ids.get(name, p.WorkerId("nobody"))
        self.send(cm.ThetaMoved(worker, version, done, 2))

    @rule(name=NAMES, lease_key=KEYS, done=st.integers(0, 2))
    def moves_an_update(self, name, lease_key, done):
        worker = self.ids.get(name, p.WorkerId("nobody"))
        self.send(cm.UpdateMoved(worker, lease_key, done, 2))

    @precondition(lambda self: self.granted)
    @rule(
        back=st.integers(1, 5),
        bad=st.sampled_from(["", "", "fault", "count", "version"]),
    )
    def answers(self, back, bad):
        """A lease that was given out of late is answered, perhaps again."""
        worker, held = self.granted[-min(back, len(self.granted))]
        update = toy_update(THETA, held.shard)
        if bad == "count":
            update = ShardUpdate(update.index, 9, update.total, update.per_task)
        version = held.version + (bad == "version")
        fault = "checksum" if bad == "fault" else ""
        self.send(
            cm.MessageReceived(worker, p.Update(held.key, version, update, fault))
        )

    @precondition(lambda self: self.granted)
    @rule(back=st.integers(1, 5), failed=st.booleans())
    def returns(self, back, failed):
        worker, held = self.granted[-min(back, len(self.granted))]
        self.send(cm.MessageReceived(worker, p.LeaseReturn(held.key, failed, "cannot")))

    @rule(name=NAMES, lease_key=KEYS, failed=st.booleans())
    def returns_what_nobody_gave(self, name, lease_key, failed):
        worker = self.ids.get(name, p.WorkerId("nobody"))
        self.send(
            cm.MessageReceived(worker, p.LeaseReturn(lease_key, failed, "cannot"))
        )

    @invariant()
    def the_books_agree(self):
        self.state.check_invariants()


class WorkerRules(RuleBasedStateMachine):
    """Streams that break, thetas and leases in any order, a compute thread in order."""

    def __init__(self):
        super().__init__()
        self.state = WorkerMachine(WorkerPolicy())
        self.now = 0.0
        self.computing = []
        self.cancelled = set()

    @initialize(started=st.sampled_from([True, True, True, False]))
    def begins(self, started):
        if started:
            self.send(wm.Started())

    def send(self, event):
        for command in handled(self.state, worker_transitions.TABLE, event, self.now):
            match command:
                case wm.ComputeShard(held):
                    assert held.version == self.state.version
                    assert held.key not in self.computing
                    self.computing.append(held.key)
                case wm.CancelShard(held_key):
                    assert held_key in self.computing
                    self.cancelled.add(held_key)
                case wm.Send(p.Update(held_key)) | wm.Send(p.LeaseReturn(held_key)):
                    assert self.state.phase in {Phase.WORKING, Phase.STOPPED}
                    assert held_key not in set(self.computing) - self.cancelled

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds):
        self.now += seconds
        self.send(m.TimePassed())

    @rule()
    def starts(self):
        self.send(wm.Started())

    @rule(session=st.sampled_from(["s", "t"]))
    def joins(self, session):
        self.send(wm.CoordinatorJoined(session, 1.0))

    @rule()
    def loses_the_stream(self):
        self.send(wm.StreamLost("gone", 0.5))

    @rule()
    def hears_that_the_run_is_over(self):
        self.send(p.RunOver("done"))

    @rule(version=st.integers(0, 3))
    def gets_theta(self, version):
        self.send(theta(version))

    @rule(
        shard=st.integers(0, 3),
        attempt=st.integers(1, 3),
        version=st.integers(0, 3),
        session=st.sampled_from(["s", "t"]),
    )
    def gets_a_lease(self, shard, attempt, version, session):
        self.send(lease(shard, attempt, version, session))

    @precondition(lambda self: self.state.phase is Phase.WORKING)
    @rule(shard=st.integers(0, 3), attempt=st.integers(1, 3))
    def gets_a_lease_of_its_theta(self, shard, attempt):
        """Any other lease is rarely one that it computes."""
        self.send(theta(0))
        self.send(lease(shard, attempt, self.state.version))

    @rule(lease_key=KEYS)
    def loses_a_lease(self, lease_key):
        self.send(p.LeaseRevocation(lease_key, "in"))

    @precondition(lambda self: self.computing)
    @rule(fails=st.booleans())
    def computes(self, fails):
        done = self.computing.pop(0)
        if done in self.cancelled:
            self.cancelled.discard(done)
            self.send(wm.ShardCancelled(done))
        elif fails:
            self.send(wm.ShardFailed(done, "cannot"))
        else:
            self.send(
                wm.ShardComputed(done, toy_update(THETA, lease(done.shard).shard))
            )

    @precondition(lambda self: self.computing)
    @rule(tasks=st.integers(1, 3))
    def makes_progress(self, tasks):
        self.send(wm.ProgressMade(self.computing[0], tasks))

    @rule(lease_key=KEYS)
    def hears_of_progress_of_anything(self, lease_key):
        self.send(wm.ProgressMade(lease_key, 1))

    @rule()
    def is_told_something(self):
        phase = self.state.phase
        self.send(p.Notice("quarantined"))
        assert self.state.phase is phase

    @rule(earnest=st.integers(0, 4))
    def is_needed_otherwise(self, earnest):
        self.send(wm.MachineFree() if earnest else wm.MachineNeeded("in use"))

    @rule(earnest=st.integers(0, 3))
    def is_told_to_stop(self, earnest):
        """By a signal, by an operator, or because the coordinator will not have it."""
        ends = {
            1: wm.StopRequested("Ctrl-C"),
            2: p.Drain("wanted elsewhere"),
            3: wm.JoinRefused("mlx differs"),
        }
        if earnest in ends:
            self.send(ends[earnest])

    @rule(
        event=st.sampled_from([wm.ShardCancelled, wm.ShardFailed, wm.ShardComputed]),
        lease_key=KEYS,
    )
    def hears_of_a_shard_that_is_not_computed(self, event, lease_key):
        if lease_key in self.computing:
            return
        update = toy_update(THETA, lease(lease_key.shard).shard)
        about = {wm.ShardFailed: ("cannot",), wm.ShardComputed: (update,)}
        self.send(event(lease_key, *about.get(event, ())))

    @invariant()
    def the_books_agree(self):
        self.state.check_invariants()


TestCoordinator = CoordinatorRules.TestCase
TestCoordinator.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestWorker = WorkerRules.TestCase
TestWorker.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
