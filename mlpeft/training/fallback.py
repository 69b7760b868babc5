"""Computes the shards that a run's strategy cannot compute, and says so.

Native code is made for the sizes of a task's arrays, and for some it cannot be. Such
a shard is computed with another strategy, it alone: that follows from the shard and not
from those before it, so that every worker and every restart comes to the same bits.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from mlpeft.fused import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.meta.engine import Engine
    from mlpeft.meta.strategies import StrategyName
    from mlpeft.work import Kind

ResultT = TypeVar("ResultT")

log = logging.getLogger("mlpeft.train")


class Fallback:
    """The engine of a run, and another for shards that it cannot compute.

    Args:
        new_engine: Makes one for a strategy; one that keeps it.
        strategy: The run's.

    Attributes:
        engine: The run's.
    """

    def __init__(
        self, new_engine: Callable[[StrategyName], Engine], strategy: StrategyName
    ) -> None:
        self.engine = new_engine(strategy)
        self._strategy = strategy
        self._new_engine = new_engine
        self._other: Engine | None = None
        self._calibrated = False
        self._told: set[Kind] = set()

    def calibrate(self) -> None:
        """See `Engine.calibrate`."""
        self._calibrated = True
        for engine in (self.engine, self._other):
            if engine is not None:
                engine.calibrate()

    def compute(
        self, kind: Kind, by: Callable[[Engine], ResultT]
    ) -> tuple[ResultT, str]:
        """What an engine computes for a shard.

        Args:
            kind: Of the shard.
            by: Computes it.

        Returns:
            Also how it was computed where that is not the run's strategy, and why; "":
            as the run says.
        """
        try:
            result = by(self.engine)
        except Unsupported as error:
            instead = self._instead()
            how = self._said(instead.strategy, f"{error}")
            if kind not in self._told:
                log.info("a shard (%s) is computed with %s", kind, how)
                self._told.add(kind)
            return by(instead), how
        if self.engine.strategy != self._strategy:
            return result, self._said(self.engine.strategy, "the model does not vmap")
        return result, ""

    def _instead(self) -> Engine:
        if self._other is None:
            self._other = self._new_engine(self.engine.otherwise)
            if self._calibrated:
                self._other.calibrate()
        return self._other

    def _said(self, strategy: StrategyName, reason: str) -> str:
        return f"{strategy} in place of {self._strategy}: {reason}"
