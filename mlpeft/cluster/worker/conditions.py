"""When a machine may compute: its owner comes first.

`Owner` is a state machine without IO: readings and time in, a reason to be away out. It
is away as soon as one condition fails; that it was hot counts for a while longer, so
that a machine does not go back and forth.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mlpeft.errors import MlpeftError

SERIOUS: Final = 2
"""Thermal pressure (`mlpeft.platform.sensors.Pressure`) at which a machine rests."""
COOL_S: Final = 60.0
"""Seconds of less pressure after which it goes on."""
DAY: Final = 24 * 60
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


class ConditionError(MlpeftError):
    """A condition that cannot be read."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of the day, over midnight if they end before they begin.

    Attributes:
        begin: First minute of the day that counts, from midnight.
        end: First minute that counts no more.
    """

    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Read `20-8` or `20:30-07:45`.

        Raises:
            ConditionError: If it is something else.
        """
        first, _, last = text.partition("-")
        begin, end = _minute(first), _minute(last)
        if begin is not None and end is not None and begin != end:
            return cls(begin % DAY, end % DAY)
        raise ConditionError(
            f"--hours {text}: expected two times of a day of 24 hours, such as 20-8 or "
            "20:30-07:45"
        )

    def has(self, minute: int) -> bool:
        """Whether a minute of the day counts."""
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def __str__(self) -> str:
        return f"{_clock(self.begin)}-{_clock(self.end)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """When a worker computes.

    Attributes:
        idle_s: Only after so many seconds without input; None: always.
        on_power: Only on mains power.
        when_cool: Only without thermal pressure.
        hours: Only in these hours; None: always.
    """

    idle_s: float | None = None
    on_power: bool = False
    when_cool: bool = False
    hours: Hours | None = None

    @property
    def any(self) -> bool:
        """Whether there is a condition at all."""
        return self != Conditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What a machine says of itself; None: it does not say.

    Attributes:
        minute: Of the day, in local time.
        idle_s: Seconds since the last input.
        on_battery: Whether it draws from its battery.
        pressure: Thermal pressure, from 0.
    """

    minute: int
    idle_s: float | None = None
    on_battery: bool | None = None
    pressure: int | None = None


class Owner:
    """Decides whether the machine is its owner's.

    Args:
        conditions: When it may compute.
    """

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._hot_until = float("-inf")

    def needs(self, readings: Readings, now: float) -> str:
        """Why the machine is needed otherwise; "": it may compute.

        The words do not change while the state does not.

        Args:
            readings: Of the machine.
            now: Seconds on a monotonic clock.
        """
        reasons = (
            self._hours(readings),
            self._input(readings),
            self._power(readings),
            self._heat(readings, now),
        )
        return "; ".join(reason for reason in reasons if reason)

    def _hours(self, readings: Readings) -> str:
        hours = self._conditions.hours
        return "" if hours is None or hours.has(readings.minute) else f"not in {hours}"

    def _input(self, readings: Readings) -> str:
        wanted_s = self._conditions.idle_s
        if wanted_s is None:
            return ""
        if readings.idle_s is None:
            return "cannot tell whether it is in use"
        if readings.idle_s >= wanted_s:
            return ""
        return f"in use, until {duration_text(wanted_s)} without input"

    def _power(self, readings: Readings) -> str:
        if not self._conditions.on_power or readings.on_battery is False:
            return ""
        known = readings.on_battery is not None
        return "on battery" if known else "cannot tell whether it is on battery"

    def _heat(self, readings: Readings, now: float) -> str:
        if not self._conditions.when_cool:
            return ""
        if readings.pressure is None:
            return "cannot tell how hot it is"
        if readings.pressure >= SERIOUS:
            self._hot_until = now + COOL_S
        return "hot (thermal pressure)" if now < self._hot_until else ""


def parse_duration(text: str, option: str) -> float:
    """Read `90s`, `5m` or `1h`; seconds.

    Raises:
        ConditionError: If it is something else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip().lower())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if seconds <= 0:
        raise ConditionError(
            f"{option} {text}: expected a time with its unit, such as 90s, 5m or 1h"
        )
    return seconds


def duration_text(seconds: float) -> str:
    """A time in the largest unit that divides it."""
    for unit in ("h", "m"):
        if seconds >= _UNITS[unit] and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:g} {'h' if unit == 'h' else 'min'}"
    return f"{seconds:g} s"


def _minute(text: str) -> int | None:
    """The minute of the day of `20` or `20:30`; None: it is no time."""
    found = re.fullmatch(r"(\d{1,2})(?::([0-5]\d))?", text.strip())
    minute = int(found[1]) * 60 + int(found[2] or 0) if found else DAY + 1
    return minute if minute <= DAY else None


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
