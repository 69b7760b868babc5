"""Says how far a round is that takes long, such as the validation of a large model."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("mlpeft.train")

EVERY_S: Final = 10.0
"""Seconds that a round may go on without a word."""
_WORDS: Final = {
    Kind.TRAIN: "meta-iteration under way: %d of %d tasks are done",
    Kind.VALIDATE: "validation: %d of %d episodes are scored",
    Kind.TEST: "test: %d of %d episodes are scored",
}


class SlowRounds:
    """Told of every task; logs a line now and then, and none for what is quick.

    Args:
        clock: Seconds, of a clock that does not jump.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = clock() + EVERY_S

    def __call__(self, kind: Kind, done: int, total: int) -> None:
        """Note how far a round is.

        Args:
            kind: What is computed.
            done: Tasks that are done; 0: the round begins.
            total: Tasks of the round.
        """
        now = self._clock()
        if done and now < self._due:
            return
        if 0 < done < total:
            log.info(_WORDS[kind], done, total)
        self._due = now + EVERY_S
