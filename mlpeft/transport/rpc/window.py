"""How many bytes may be on their way at once, by how soon they are acknowledged.

Pings and heartbeats wait behind the bytes that were sent before them, wherever these
are buffered: in gRPC, in a kernel, in a router. On a slow link a few megabytes are
enough for keepalive to cut the connection, and then all of them are sent again. So the
sender keeps no more on the way than is acknowledged within about half a second,
whatever the speed.

The sender marks some chunks; the receiver acknowledges a marked chunk when it has read
it. The time between is the delay that a ping would have. It is compared with the
shortest so far, which is the link's own, and with a limit:

    over the limit                  shrinks the window in proportion, once per window
    nearer to the link's own delay  grows it by what is acknowledged, if it is made use
                                    of: it doubles with each trip
    nearer to the limit             keeps it

It never grows beyond a few times what was acknowledged in time, since a link may let a
burst through that is much faster than what follows.

Prior art: TCP Vegas (Brakmo and Peterson 1995) and LEDBAT (RFC 6817) steer by delay,
too; here by half a second of it, not milliseconds, so acknowledgements may be few.
"""

from __future__ import annotations

from collections import deque

from mlpeft.errors import RemoteProtocolError

TARGET_S = 0.5
"""Bytes on the way should be acknowledged within so long."""
ROOM_S = 0.4
"""What may wait on a link whose own delay is long, beyond that delay."""
MOST_S = 1.0
"""Never longer: pings would run out."""
SHORT_S = 0.03
"""After so short a delay the window grows four times as large in a trip, not twice."""
LEAST_BYTES = 16 << 10
"""The smallest window, and the first: half a second at 256 kbit/s."""
MOST_BYTES = 16 << 20
"""The largest window."""
LEAST_CHUNK_BYTES = 4 << 10
MOST_CHUNK_BYTES = 1 << 20
"""The fastest of 64 KiB to 4 MiB over loopback."""


class Window:
    """Decides how much may be sent. Positions count bytes from the start of a stream.

    Attributes:
        size_bytes: Bytes that may be on their way.
        sent: Bytes sent.
        acknowledged: Bytes acknowledged.
    """

    def __init__(self) -> None:
        self.size_bytes = LEAST_BYTES
        self.sent = 0
        self.acknowledged = 0
        self._marks: deque[tuple[int, float]] = deque()  # position, when it was sent
        self._marked = 0  # the newest mark
        self._adapted = 0  # delays of what was sent before this are known
        self._least_s = float("inf")  # the shortest delay: that of the link itself

    @property
    def is_open(self) -> bool:
        """Whether the next chunk may be sent.

        Without a mark on the way no acknowledgement would come: then it always may.
        """
        return not self._marks or self.sent - self.acknowledged < self.size_bytes

    @property
    def chunk_bytes(self) -> int:
        """Bytes that the next chunk may have."""
        return min(max(self.size_bytes // 4, LEAST_CHUNK_BYTES), MOST_CHUNK_BYTES)

    @property
    def range_bytes(self) -> int:
        """Bytes that a reader should ask for at a time: a quarter of the window."""
        return self.size_bytes // 4

    def wants_mark(self, chunk_bytes: int) -> bool:
        """Whether a chunk of this size should be acknowledged: four per window."""
        return self.sent + chunk_bytes - self._marked >= self.size_bytes // 4

    def send(self, chunk_bytes: int, now: float, *, marked: bool) -> None:
        """A chunk is sent.

        Args:
            chunk_bytes: Its size.
            now: Seconds on a monotonic clock.
            marked: Whether the receiver acknowledges it.
        """
        self.sent += chunk_bytes
        if marked:
            self._marks.append((self.sent, now))
            self._marked = self.sent

    def acknowledge(self, position: int, now: float) -> None:
        """The receiver has read so many bytes of the stream.

        Raises:
            RemoteProtocolError: If they are more than were sent, or fewer than before.
        """
        if not self.acknowledged <= position <= self.sent:
            raise RemoteProtocolError(
                f"{position} bytes are acknowledged, expected from {self.acknowledged} "
                f"to {self.sent}"
            )
        was_used = 4 * (self.sent - self.acknowledged) >= self.size_bytes
        newly = position - self.acknowledged
        self.acknowledged = position
        sent_at = None
        while self._marks and self._marks[0][0] <= position:
            _, sent_at = self._marks.popleft()
        if sent_at is not None:
            self._adapt(now - sent_at, newly, was_used=was_used)

    def _adapt(self, delay_s: float, newly: int, *, was_used: bool) -> None:
        self._least_s = min(self._least_s, delay_s)
        limit_s = min(max(TARGET_S, self._least_s + ROOM_S), MOST_S)
        if delay_s > limit_s:
            if self.acknowledged > self._adapted:
                shrunk = int(self.size_bytes * limit_s / delay_s)
                self.size_bytes = max(LEAST_BYTES, shrunk)
                self._adapted = self.sent
        elif was_used and delay_s < (self._least_s + limit_s) / 2:
            factor = 3 if delay_s < SHORT_S else 1
            self.size_bytes = min(MOST_BYTES, self.size_bytes + factor * newly)
