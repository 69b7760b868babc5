"""Watches the machine of a worker, in a thread: its owner comes first."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from mlpeft.cluster.worker.conditions import ConditionError, Owner, Readings
from mlpeft.cluster.worker.messages import MachineFree, MachineNeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.worker.conditions import Conditions
    from mlpeft.cluster.worker.messages import WorkerEvent
    from mlpeft.platform.sensors import Sensors

LOOK_S: Final = 1.0
"""Seconds between looks: whoever touches a key is to notice nothing of a worker."""
SLOW_LOOKS: Final = 10
"""Power and heat change slowly: they are read at every so manieth look."""


class MachineWatch:
    """Posts an event whenever the machine is needed otherwise, or free again.

    Args:
        conditions: When it may compute.
        sensors: The machine's readings.
        clock: Monotonic time in seconds.

    Raises:
        ConditionError: If the machine does not say what a condition needs.
    """

    def __init__(
        self,
        conditions: Conditions,
        sensors: Sensors,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conditions = conditions
        self._sensors = sensors
        self._clock = clock
        self._owner = Owner(conditions)
        self._looks = 0
        self._slow: tuple[bool | None, int | None] = (None, None)
        self._reason = ""
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        _check(conditions, self._readings())

    def start(self, post: Callable[[WorkerEvent], None]) -> None:
        """Post what a first look finds, and what later ones do.

        Args:
            post: Takes events; from this thread, then from another.
        """
        self._look(post)
        self._thread = threading.Thread(
            target=self._run, args=(post,), name="machine-watch", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, post: Callable[[WorkerEvent], None]) -> None:
        while not self._ending.wait(LOOK_S):
            self._look(post)

    def _look(self, post: Callable[[WorkerEvent], None]) -> None:
        reason = self._owner.needs(self._readings(), self._clock())
        if reason != self._reason:
            self._reason = reason
            post(MachineNeeded(reason) if reason else MachineFree())

    def _readings(self) -> Readings:
        conditions, sensors = self._conditions, self._sensors
        if self._looks % SLOW_LOOKS == 0:
            self._slow = (
                sensors.on_battery() if conditions.on_power else None,
                sensors.pressure() if conditions.when_cool else None,
            )
        self._looks += 1
        now = time.localtime()
        on_battery, pressure = self._slow
        return Readings(
            minute=now.tm_hour * 60 + now.tm_min,
            idle_s=sensors.idle_s() if conditions.idle_s is not None else None,
            on_battery=on_battery,
            pressure=pressure,
        )


def _check(conditions: Conditions, readings: Readings) -> None:
    """Refuse conditions that this machine can never fulfil.

    Raises:
        ConditionError: Saying which.
    """
    missing = {
        "--when-idle: this machine does not say when it was last used (macOS does; "
        "Linux with a display needs xprintidle)": (
            conditions.idle_s is not None and readings.idle_s is None
        ),
        "--on-power: this machine does not say what it draws its power from": (
            conditions.on_power and readings.on_battery is None
        ),
        "--when-cool: this machine does not say how hot it is (only macOS does)": (
            conditions.when_cool and readings.pressure is None
        ),
    }
    problems = [text for text, is_so in missing.items() if is_so]
    if problems:
        raise ConditionError("; ".join(problems))
