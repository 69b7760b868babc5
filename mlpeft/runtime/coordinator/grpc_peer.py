"""The driver's end of a gRPC stream of work."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from mlpeft.cluster.protocol import RunOver
from mlpeft.transport.rpc import codec
from mlpeft.transport.rpc.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.protocol import Acknowledgement, CoordinatorMessage
    from mlpeft.runtime.coordinator.peer import EncodedTheta
    from mlpeft.transport.rpc.outbox import Traffic

REPORT_S = 0.25
"""Transfers that take no longer are not reported; of others, one report in so long."""


class GrpcPeer:
    """Frames that wait, and how the stream is to end.

    Args:
        traffic: Counts what goes over it.
    """

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.outbox = Outbox()
        self.dismissed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._sent: int | None = None  # version of theta that the worker will have
        self.sending = Reports()
        self.receiving = Reports()

    def send(self, message: CoordinatorMessage) -> None:
        """Send a message of one frame; after RunOver the stream ends."""
        self.outbox.put(next(codec.encode_down(message)))
        if isinstance(message, RunOver):
            self.outbox.drop_large()
            self.outbox.finish()

    def send_theta(self, theta: EncodedTheta) -> None:
        """Send theta's frames, which all workers share; it replaces one on its way.

        A worker that gets the one before to its end gets the steps from there.
        """
        if self.outbox.drop_large():
            self._sent = None
        for each in theta.after(self._sent):
            self.outbox.put_large(each.frames, each.size_bytes, each.message.version)
        self._sent = theta.message.version

    def acknowledge(self, message: Acknowledgement | None) -> None:
        """Tell the worker that its chunks were read, if there is something to tell."""
        if message is not None:
            self.outbox.put(next(codec.encode_down(message)))

    def dismiss(self, reason: str) -> None:
        """End the stream at once."""
        if not self.dismissed.done():
            self.dismissed.set_result(reason)


class Reports:
    """Says when to report how far a transfer is: not each time, and not short ones.

    Args:
        clock: Seconds on a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._label: object = None
        self._reported_at = 0.0
        self._reported = False

    def due(self, label: object, done_bytes: int, total_bytes: int) -> bool:
        """Whether to report; the end of a transfer is, if any of it was.

        Args:
            label: Which transfer.
            done_bytes: How far it is.
            total_bytes: How far it goes.
        """
        now = self._clock()
        if label != self._label:
            self._label, self._reported_at, self._reported = label, now, False
        ended = done_bytes >= total_bytes
        if ended and self._reported:
            self._reported = False
            return True
        if ended or now < self._reported_at + REPORT_S:
            return False
        self._reported_at, self._reported = now, True
        return True
