"""Theta's versions: the newest for workers, and those that updates started from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlpeft.errors import ParamMismatch
from mlpeft.meta.compression import Compression
from mlpeft.runtime.coordinator.peer import EncodedTheta, RecentSteps

if TYPE_CHECKING:
    from mlpeft.cluster.protocol import Update
    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree

SLACK_BYTES = 16 << 20
"""What an update may have beyond theta's bytes: its per-task results."""


class Thetas:
    """What is known of theta's versions.

    Args:
        config: The run's.
        max_staleness: Versions that an update may be late.

    Attributes:
        newest: As workers get it; None before the first round.
        limit_bytes: The largest update that can be right just now.
    """

    def __init__(self, config: RunConfig, max_staleness: int) -> None:
        self.newest: EncodedTheta | None = None
        self.limit_bytes = SLACK_BYTES
        self._max_staleness = max_staleness
        self._metas: dict[int, ParamTree] = {}
        self._steps = RecentSteps()
        self._compression = Compression.from_config(config)

    def take(self, version: int, meta: ParamTree) -> None:
        """A round is about this version, which may be that of the one before."""
        if self.newest is not None and self.newest.message.version == version:
            return
        self.newest = EncodedTheta(version, meta)
        size = self.newest.size_bytes
        self.newest.steps = self._steps.to(version, size)
        self.limit_bytes = size + SLACK_BYTES
        oldest = version - self._max_staleness
        self._metas = {
            old: kept for old, kept in self._metas.items() if old >= oldest
        } | {version: meta}

    def note_step(self, version: int, step: ParamTree) -> None:
        """How theta of the next version follows from that before."""
        self._steps.note(version, step)

    def restored(self, message: Update) -> Update:
        """An update with its sum, made of what was sent in its place."""
        update, meta = message.update, self._metas.get(message.version)
        if self._compression is None or update is None or meta is None:
            return message
        if not update.total:  # of a validation
            return message
        try:
            update = self._compression.restore(meta, update)
        except ParamMismatch as error:
            return replace(message, update=None, fault=str(error))
        return replace(message, update=update)
