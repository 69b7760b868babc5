"""Waits for workers of an engine: bounded, and never in silence."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from mlpeft.errors import counted
from mlpeft.runtime.engines.engine import EngineError
from mlpeft.work import RoundInterruptedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.runtime.engines.engine import Engine

log = logging.getLogger("mlpeft.engine")

SAY_S: Final = 10.0
"""Seconds between messages about what is waited for."""
LOOK_S: Final = 0.1
"""Seconds between looks at who is there."""


class Patience:
    """A bounded wait for an engine's workers.

    Args:
        engine: Whose workers.
        wait_s: How long there may be too few.
        wanted: How many there should be.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        engine: Engine,
        wait_s: float,
        wanted: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._wait_s = wait_s
        self._wanted = wanted
        self._clock = clock
        self._since: float | None = None  # when it was seen that there are too few
        self._say_at = 0.0

    def check(self) -> bool:
        """Look who is there; whether that is enough.

        Raises:
            EngineError: If there have been too few for too long, or the engine ended.
        """
        there = len(self._engine.workers())
        if there >= self._wanted:
            self.over()
            return True
        now = self._clock()
        if self._since is None:
            self._since, self._say_at = now, now + SAY_S
        left_s = self._wait_s - (now - self._since)
        which = f"{self._engine.name} at {self._engine.address}"
        if left_s <= 0:
            raise EngineError(
                f"{which} has {there} of {counted(self._wanted, 'worker')} after "
                f"{self._wait_s:g} s; start workers there, with mlpeft in their "
                "environment, or raise engine.wait_s"
            )
        if now >= self._say_at:
            self._say_at = now + SAY_S
            text = "waiting for workers of %s: %d of %d, for %.0f s more"
            log.warning(text, which, there, self._wanted, left_s)
        return False

    def over(self) -> None:
        """There are workers."""
        self._since = None


def wait_for_workers(
    engine: Engine, wanted: int, wait_s: float, should_stop: Callable[[], bool]
) -> None:
    """Wait until an engine has so many workers.

    Raises:
        EngineError: If they do not come in time.
        RoundInterruptedError: If someone asked to stop.
    """
    patience = Patience(engine, wait_s, wanted)
    while not patience.check():
        if should_stop():
            raise RoundInterruptedError(f"stopped while waiting for {engine.name}")
        time.sleep(LOOK_S)
