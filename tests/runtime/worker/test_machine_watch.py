"""A worker on a machine whose owner comes first."""

import asyncio
import queue
import threading

import pytest

from mlpeft.cluster.sim import serial_result
from mlpeft.cluster.worker.conditions import ConditionError, Conditions, Hours
from mlpeft.cluster.worker.messages import MachineFree, MachineNeeded
from mlpeft.platform.sensors import Pressure
from mlpeft.runtime.memory import MemoryLink
from mlpeft.runtime.worker import machine_watch
from mlpeft.runtime.worker.machine_watch import MachineWatch
from tests.runtime.toy import ToyRunner, bounded, toy_coordinator, toy_run, toy_worker


class Fake:
    """A machine that says what the test wants."""

    def __init__(self, idle_s=1000.0, on_battery=False, pressure=Pressure.NOMINAL):
        self.idle, self.battery, self.heat = idle_s, on_battery, pressure
        self.power_asked = 0

    def idle_s(self):
        return self.idle

    def on_battery(self):
        self.power_asked += 1
        return self.battery

    def pressure(self):
        return self.heat


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        (Conditions(idle_s=5), "--when-idle: this machine does not say"),
        (Conditions(on_power=True), "--on-power: this machine does not say"),
        (Conditions(when_cool=True), "--when-cool: this machine does not say"),
    ],
)
def test_a_condition_that_the_machine_can_never_fulfil_is_refused(conditions, told):
    with pytest.raises(ConditionError, match=told):
        MachineWatch(conditions, Fake(None, None, None))
    MachineWatch(Conditions(hours=Hours.parse("0-24")), Fake(None, None, None))


def test_it_posts_what_changes_and_nothing_else(monkeypatch):
    monkeypatch.setattr(machine_watch, "LOOK_S", 0.001)
    fake = Fake(idle_s=3.0)
    watch = MachineWatch(Conditions(idle_s=60), fake)
    posted = queue.SimpleQueue()
    used = MachineNeeded("in use, until 1 min without input")
    watch.start(posted.put)
    assert posted.get(timeout=10) == used
    fake.idle = 61.0
    assert posted.get(timeout=10) == MachineFree()
    fake.idle = 0.0
    assert posted.get(timeout=10) == used
    watch.close()
    assert posted.empty()


def test_power_and_heat_are_read_less_often_than_input():
    fake = Fake()
    watch = MachineWatch(Conditions(on_power=True), fake)
    for _ in range(25):
        watch._look(lambda event: None)
    assert fake.power_asked == 3


class Watch:
    """What a MachineWatch does, when the test wants it."""

    def __init__(self, reason=""):
        self.reason = reason
        self.post = None

    def start(self, post):
        self.post = post
        if self.reason:
            post(MachineNeeded(self.reason))

    def close(self):
        self.post = None


def test_an_owner_who_returns_mid_shard_costs_no_bytes():
    """ada's owner comes back while she computes; bob does her shard."""
    began, go_on = threading.Event(), threading.Event()

    class Slow(ToyRunner):
        def run(self, meta, shard, progress=lambda _: None):
            began.set()
            assert go_on.wait(30)
            return super().run(meta, shard, progress)

    async def scenario():
        driver = toy_coordinator({"backup_factor": 0.0})
        watch = Watch()
        ada = toy_worker(MemoryLink(driver), name="ada", runner=Slow(), watch=watch)
        bob = toy_worker(MemoryLink(driver), name="bob", watch=Watch("on battery"))
        tasks = [asyncio.create_task(each.run()) for each in (ada, bob)]
        training = asyncio.create_task(toy_run(driver, rounds=4))
        await asyncio.to_thread(began.wait, 30)
        assert [each.name for each in driver.status().workers] == ["ada"]
        watch.post(MachineNeeded("in use"))
        bob._watch.post(MachineFree())
        theta = await training
        (first, second) = driver.status().workers
        assert (first.name, first.state, first.away) == ("ada", "away", "in use")
        assert (first.leases, first.shards_done, first.failures) == (0, 0, 0)
        assert second.shards_done > 0
        go_on.set()
        driver.end("done")
        await asyncio.gather(*tasks)
        return theta

    assert bounded(scenario()).tobytes() == serial_result(4).tobytes()
