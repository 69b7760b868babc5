"""Whose turn it is to send a large update.

Updates are summed in the order of their index (`folding`), so one that comes early is
held until those before it are in. To bound what is held, an update far ahead of the sum
waits on its worker: the coordinator does not read that stream until its turn has come.

Nobody waits for ever. The first of the missing shards that is being computed is always
let through; and when none of those before an update is being computed by a worker that
can send it, the update is let through at once: its own worker may be the one that must.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlpeft.cluster.books import RoundBook
    from mlpeft.cluster.messages import WorkerId

LEAST_AT_ONCE = 2
"""One is checked and summed while the next comes in."""


class Turn(StrEnum):
    """What becomes of an update whose head has come."""

    NOW = "now"
    """Read it."""
    LATER = "later"
    """Leave it on the line; ask again."""
    NEVER = "never"
    """Pass it over: it would not count."""


def turn(
    current: RoundBook, shard: int, held_back: set[WorkerId], room_bytes: int
) -> Turn:
    """The turn of an update that would count.

    Args:
        current: The open round.
        shard: The update's.
        held_back: Workers whose stream is not read, and the update's own: what else
            they compute comes only after it.
        room_bytes: What updates that cannot be summed yet may take, if it is more than
            LEAST_AT_ONCE of them.
    """
    if current.fold is None:
        return Turn.NOW
    at_once = max(LEAST_AT_ONCE, room_bytes // max(1, current.payload_bytes))
    if shard < current.fold.done + at_once:
        return Turn.NOW
    before = any(
        key.shard < shard and live.worker not in held_back
        for key, live in current.live.items()
    )
    return Turn.LATER if before else Turn.NOW
