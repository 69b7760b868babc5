"""Counting what goes over connections."""

from __future__ import annotations

from mlpeft.cluster.overview import Bytes


class Traffic:
    """Bytes of one connection, or of several together.

    Args:
        whole: What this is a part of; it counts the same bytes.
    """

    def __init__(self, whole: Traffic | None = None) -> None:
        self._whole = whole
        self._up = 0
        self._down = 0

    def came(self, frame: bytes) -> None:
        """A message came from a worker."""
        self._up += len(frame)
        if self._whole is not None:
            self._whole.came(frame)

    def went(self, frame: bytes) -> None:
        """A message went to a worker."""
        self._down += len(frame)
        if self._whole is not None:
            self._whole.went(frame)

    def bytes_moved(self) -> Bytes:
        """The sums."""
        return Bytes(self._up, self._down)
