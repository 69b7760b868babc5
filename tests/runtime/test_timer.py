"""The timer of a state machine, which is moved only to an earlier time."""

import asyncio

from mlpeft.runtime.timer import WakeupTimer


class Clock:
    """An event loop that only keeps time."""

    def __init__(self):
        self.timers = []

    def call_at(self, at, action):
        self.timers.append(asyncio.TimerHandle(at, action, (), self))
        return self.timers[-1]

    def get_debug(self):
        return False

    def _timer_handle_cancelled(self, handle):
        self.timers.remove(handle)

    def ring(self):
        timer = self.timers.pop(0)
        timer._run()


def test_a_later_wakeup_leaves_the_timer_where_it_is_and_an_earlier_one_moves_it():
    clock, rung = Clock(), []
    timer = WakeupTimer(clock, lambda: rung.append(1))
    for at in (5.0, 6.0, 7.0):
        timer.set(at)
    assert [each.when() for each in clock.timers] == [5.0]
    timer.set(3.0)
    assert [each.when() for each in clock.timers] == [3.0]
    clock.ring()
    assert rung == [1]
    timer.set(7.0)
    assert [each.when() for each in clock.timers] == [7.0]


def test_a_machine_that_wants_no_wakeup_has_no_timer():
    clock = Clock()
    timer = WakeupTimer(clock, lambda: None)
    timer.set(5.0)
    timer.set(None)
    assert clock.timers == []
    timer.cancel()
