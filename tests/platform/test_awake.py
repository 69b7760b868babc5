"""A machine is kept awake while there is work, and a moment longer."""

import asyncio

import pytest

from mlpeft.platform.wakefulness import Awake
from mlpeft.runtime.memory import MemoryLink
from tests.runtime.toy import ToyRunner, bounded, toy_coordinator, toy_run, toy_worker


class Hold:
    """Notes when it was taken and let go."""

    def __init__(self):
        self.story = []

    def hold(self):
        self.story.append("hold")

    def release(self):
        self.story.append("release")


def test_it_is_held_across_short_gaps_and_let_go_after_a_long_one():
    async def scenario():
        hold = Hold()
        awake = Awake(hold, linger_s=3600)
        for _ in range(3):
            awake.note(working=True)
            awake.note(working=False)
        assert hold.story == ["hold"]
        awake.release()
        awake.note(working=True)
        return hold.story

    assert bounded(scenario()) == ["hold", "release", "hold"]


def test_after_the_last_work_it_is_let_go_by_itself():
    async def scenario():
        let_go = asyncio.Event()
        hold = Hold()
        hold.release = let_go.set
        awake = Awake(hold, linger_s=0.0)
        awake.note(working=True)
        awake.note(working=False)
        await let_go.wait()

    bounded(scenario())


def test_without_work_nothing_is_held():
    async def scenario():
        hold = Hold()
        Awake(hold).note(working=False)
        return hold.story

    assert bounded(scenario()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_worker_holds_from_its_first_lease_and_never_after_its_end(fails):
    async def scenario():
        hold = Hold()

        def compute(update):
            assert hold.story == ["hold"]
            return update

        driver = toy_coordinator()
        worker = toy_worker(
            MemoryLink(driver),
            runner=ToyRunner(compute),
            prepare=(lambda _: 1 / 0) if fails else None,
            wakefulness=hold,
        )
        task = asyncio.create_task(worker.run())
        if not fails:
            await toy_run(driver, rounds=2)
            driver.end("done")
        await asyncio.gather(task, return_exceptions=True)
        return hold.story

    assert bounded(scenario())[-1] == "release"
