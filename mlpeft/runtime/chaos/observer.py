"""Rounds and stalls of a training, as the coordinator's status shows them."""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING, Final

from mlpeft.transport.rpc import channel, status_codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.overview import Overview

ASK_S: Final = 0.2
"""Seconds between two questions."""
ANSWER_S: Final = 1.0
"""Seconds that an answer may take."""


class StallClock:
    """The longest time without a finished round.

    A coordinator that was killed repeats the rounds since its newest checkpoint: each
    round that is finished counts, whether for the first time or not.

    Attributes:
        rounds: Rounds that were seen to be finished.
        longest_s: The longest stall so far.
        lasted_s: From the first round that was seen to be finished to the end.
    """

    def __init__(self) -> None:
        self.rounds = 0
        self.longest_s = 0.0
        self.lasted_s = 0.0
        self._first: float | None = None
        self._session = ""
        self._iteration = 0
        self._since: float | None = None

    def see(self, session: str, iteration: int, now: float) -> None:
        """The coordinator says how far it is.

        Args:
            session: One start of it.
            iteration: Rounds of training that are done.
            now: Seconds on a monotonic clock.
        """
        done = iteration - self._iteration if session == self._session else 0
        self._session, self._iteration = session, iteration
        if done > 0:
            self.rounds += done
            self._first = now if self._first is None else self._first
            self._note(now)
            self._since = now

    def stop(self, now: float) -> None:
        """Nothing more is expected; a stall that lasts until now counts."""
        if self._since is not None:
            self._note(now)
        if self._first is not None:
            self.lasted_s = now - self._first
        self._since = None

    def _note(self, now: float) -> None:
        if self._since is not None:
            self.longest_s = max(self.longest_s, now - self._since)


class Observer:
    """Asks a coordinator again and again, in a thread of its own.

    Args:
        address: Where it is, host:port, now or at times.
    """

    def __init__(self, address: Callable[[], str]) -> None:
        self._address = address
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._clock = StallClock()
        self._task_s: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    @property
    def rounds(self) -> int:
        """Rounds that were seen to be finished."""
        with self._lock:
            return self._clock.rounds

    def task_s(self) -> float | None:
        """Seconds that a training task usually took; None: no worker had done one."""
        return statistics.median(self._task_s) if self._task_s else None

    def stop(self) -> StallClock:
        """Ask no more; what was seen."""
        self._stop.set()
        self._thread.join()
        self._clock.stop(time.monotonic())
        return self._clock

    def _run(self) -> None:
        while not self._stop.wait(ASK_S):
            overview = _ask(self._address())
            if overview is not None:
                workers = overview.cluster.workers
                self._task_s += [each.task_s for each in workers if each.task_s]
                with self._lock:
                    self._clock.see(
                        overview.session,
                        overview.progress.iteration,
                        time.monotonic(),
                    )


def _ask(address: str) -> Overview | None:
    """What the coordinator shows; None if it does not answer in time."""
    import grpc

    with grpc.insecure_channel(address, options=channel.OPTIONS) as connection:
        try:
            answer = connection.unary_unary(channel.STATUS)(b"", timeout=ANSWER_S)
        except grpc.RpcError:
            return None
    return status_codec.decode_overview(answer)
