"""How a worker behaves when nobody answers: when it tries again, and what it says.

Pure, as the machine is: time and jitter come in as arguments.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPolicy:
    """How a worker behaves when nobody answers.

    Attributes:
        first_delay_s: Longest wait before the first reconnect, in seconds.
        longest_delay_s: Longest wait before any reconnect.
        announce_s: Seconds between the first two lines that say what it waits for;
            each next one takes twice as long to come, up to `longest_announce_s`.
        longest_announce_s: Seconds between two such lines at most.
        welcome_s: Longest wait for the first message of a stream of work.
        once: Stop when a run is over, rather than wait for the next.
    """

    first_delay_s: float = 0.25
    longest_delay_s: float = 10.0
    announce_s: float = 5.0
    longest_announce_s: float = 600.0
    welcome_s: float = 30.0
    once: bool = False

    def delay_s(self, failures: int, jitter: float) -> float:
        """Seconds until the next try: doubled by each failure, capped, spread out.

        Args:
            failures: Failures since the worker was last connected, from 1.
            jitter: In [0, 1).
        """
        # The exponent is capped too: 2 ** 2000 is no float.
        longest = self.first_delay_s * 2.0 ** min(failures - 1, 32)
        return min(longest, self.longest_delay_s) * (0.5 + 0.5 * jitter)


class Patience:
    """Counts the tries since the worker was last joined, and when it last said so.

    Args:
        policy: Delays between tries, and between lines.
    """

    def __init__(self, policy: WorkerPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._announced_at = float("-inf")
        self._announce_gap_s = 0.0

    def joined(self) -> None:
        """Somebody answered: the next silence begins anew."""
        self._failures = 0
        self._announced_at = float("-inf")
        self._announce_gap_s = 0.0

    def run_over(self, now: float) -> None:
        """It has just said that it waits for the next run."""
        self._announced_at = now
        self._announce_gap_s = self._policy.announce_s

    def try_at_once(self) -> None:
        """Failures before now say nothing of the next try."""
        self._failures = 0

    def failed(self, jitter: float) -> float:
        """Another try failed; seconds until the next one.

        Args:
            jitter: In [0, 1).
        """
        self._failures += 1
        return self._policy.delay_s(self._failures, jitter)

    def speaks(self, now: float) -> bool:
        """Whether it is time to say again what it waits for; then it counts as said."""
        if now < self._announced_at + self._announce_gap_s:
            return False
        self._announced_at = now
        self._announce_gap_s = min(
            max(self._policy.announce_s, 2 * self._announce_gap_s),
            self._policy.longest_announce_s,
        )
        return True
