"""Theta and shards on an engine, and who may compute them."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

from mlpeft import params
from mlpeft.runtime.engines.engine import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mlpeft.params import ParamTree
    from mlpeft.runtime.engines.engine import Engine
    from mlpeft.runtime.engines.shard import Reply
    from mlpeft.work import Shard

log = logging.getLogger("mlpeft.engine")

LOOK_S: Final = 1.0
"""Seconds that a list of workers is good for."""


class Placement:
    """Gives an engine one theta at a time, and shards for it.

    Args:
        engine: The engine.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, engine: Engine, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._meta: ParamTree = {}
        self._digest = ""
        self._theta: Any = None  # as the engine knows it; None: it has none
        self._given = 0  # how often theta was given to the engine
        self._unlike: set[str] = set()  # workers that may not compute
        self._clock = clock
        self._there: Sequence[str] = ()
        self._looked_at = -math.inf

    def use(self, meta: ParamTree) -> None:
        """Another theta; the one before is released, unless it is the same."""
        digest = params.digest(meta)
        if digest != self._digest:
            self.give_again(self._given)
        self._meta, self._digest = meta, digest

    def give_again(self, given: int) -> None:
        """Give theta to the workers with the next shards, whatever they have.

        Args:
            given: What `submit` returned when it was given last; it has been given
                again since if it is another.
        """
        if self._theta is not None and given == self._given:
            self._engine.release(self._theta)
            self._theta = None

    def submit(self, shards: Sequence[Shard], avoid: Collection[str] = ()) -> int:
        """Have shards computed; how often theta was given by now.

        Args:
            shards: What to compute.
            avoid: Workers that are not to, besides those that may not.
        """
        if self._theta is None:
            self._theta = self._engine.put(self._digest, self._meta)
            self._given += 1
        self._engine.submit(self._theta, shards, self._unlike.union(avoid))
        return self._given

    def exclude(self, reply: Reply) -> None:
        """Ask no more of a worker that may not compute for this run.

        Raises:
            EngineError: If none is left.
        """
        if reply.worker not in self._unlike:
            self._unlike.add(reply.worker)
            log.warning("worker %s refused: %s", reply.worker, reply.refusal)
        if not self.able():
            raise EngineError(
                f"no worker of {self._engine.name} may compute for this run: "
                f"{reply.refusal}"
            )

    def able(self) -> list[str]:
        """Workers that may compute, as seen a moment ago: asking takes a message."""
        now = self._clock()
        if now - self._looked_at > LOOK_S:
            self._looked_at, self._there = now, self._engine.workers()
        return [name for name in self._there if name not in self._unlike]
