"""How often somebody may try: token buckets, one a peer, with one for all."""

from __future__ import annotations

from dataclasses import dataclass

MOST_PEERS = 4096
"""Peers that are remembered; when there are more, those that may try again go first."""


@dataclass(slots=True)
class _Bucket:
    left: float
    seen: float


class RateLimit:
    """Bursts of tries, refilled with time. The clock is the caller's.

    Args:
        burst: Tries that a peer has at once.
        every_s: Seconds until it has one more.
        total_burst: Tries that all peers together have at once; refilled as fast in
            proportion.
    """

    def __init__(self, burst: int, every_s: float, total_burst: int) -> None:
        self._burst = burst
        self._every_s = every_s
        self._total_burst = total_burst
        self._total_every_s = every_s * burst / total_burst
        self._peers: dict[str, _Bucket] = {}
        self._total = _Bucket(total_burst, float("-inf"))

    def wait_s(self, peer: str, now: float) -> float:
        """Count a try of a peer; 0 if it may go on, else seconds until it may."""
        if peer not in self._peers and len(self._peers) >= MOST_PEERS:
            self._forget(now)
        bucket = self._peers.setdefault(peer, _Bucket(self._burst, now))
        _refill(bucket, self._burst, self._every_s, now)
        _refill(self._total, self._total_burst, self._total_every_s, now)
        wait = max(
            (1 - bucket.left) * self._every_s,
            (1 - self._total.left) * self._total_every_s,
        )
        if wait > 0:
            return wait
        bucket.left -= 1
        self._total.left -= 1
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop whoever has its tries back; if that is nobody, the oldest."""
        full_s = self._burst * self._every_s
        full = [name for name, b in self._peers.items() if now - b.seen >= full_s]
        for name in full or [next(iter(self._peers))]:
            del self._peers[name]


def _refill(bucket: _Bucket, burst: int, every_s: float, now: float) -> None:
    bucket.left = min(burst, bucket.left + max(0.0, now - bucket.seen) / every_s)
    bucket.seen = now
