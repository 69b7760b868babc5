"""Bounds how often a worker may say that it lives."""

from __future__ import annotations

from mlpeft.errors import RemoteProtocolError

BURST = 1000
"""Heartbeats that may come at once: the network may have held them back."""
TOLERANCE = 10
"""Times as often as they were asked for."""


class HeartbeatRate:
    """A token bucket of one stream. The caller provides the clock.

    Args:
        heartbeat_s: Seconds between heartbeats, as asked for.
    """

    def __init__(self, heartbeat_s: float) -> None:
        self._per_second = TOLERANCE / heartbeat_s
        self._tokens = float(BURST)
        self._at: float | None = None

    def count(self, now: float) -> None:
        """One more heartbeat.

        Args:
            now: Seconds on a monotonic clock.

        Raises:
            RemoteProtocolError: If there are too many.
        """
        waited_s = 0.0 if self._at is None else now - self._at
        self._at = now
        self._tokens = min(BURST, self._tokens + waited_s * self._per_second) - 1
        if self._tokens < 0:
            raise RemoteProtocolError(
                f"heartbeats come more than {self._per_second:g} times per second"
            )
