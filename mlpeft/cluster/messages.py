"""The cluster's vocabulary: what happened (events), what to do about it (commands).

Events are in the past tense, commands in the imperative. Both are frozen. An event that
came over the network carries what the peer sent and is never trusted: late, repeated
and misdirected ones are legal and change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, NewType

if TYPE_CHECKING:
    from mlpeft.work import Shard

WorkerId = NewType("WorkerId", str)
"""One connection of one worker; a worker that reconnects gets a new one."""


class LeaseKey(NamedTuple):
    """Names one attempt at one shard.

    Attributes:
        session: Differs for each start of a coordinator; what was computed for one
            session means nothing in another.
        round_id: Counts what the training loop asked for, from 1 in each session.
        shard: The shard's index in its round.
        attempt: From 1; grows whenever the shard is leased again.
    """

    session: str
    round_id: int
    shard: int
    attempt: int

    def __str__(self) -> str:
        return f"round {self.round_id} shard {self.shard} attempt {self.attempt}"


@dataclass(frozen=True, slots=True)
class Lease:
    """A shard handed to one worker.

    Attributes:
        key: Which attempt at which shard of which round.
        version: The version of theta to start from.
        shard: What to compute.
        lease_s: Seconds that the worker has, from the grant.
    """

    key: LeaseKey
    version: int
    shard: Shard
    lease_s: float


class Level(StrEnum):
    """How much an announcement matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


# --- events of both machines ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The time that `next_wakeup` named has come (or any other: harmless)."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the people.

    Attributes:
        level: How much it matters.
        text: What to say.
        worker: Name of the worker that it is about; "" if it is about no single one.
        key: The lease that it is about, if there is one.
    """

    level: Level
    text: str
    worker: str = ""
    key: LeaseKey | None = None


def about(worker: str, key: LeaseKey | None = None) -> dict[str, str | int]:
    """The `extra` of a log call.

    Args:
        worker: Name of a worker; "" for none.
        key: A lease, if the line is about one.
    """
    context: dict[str, str | int] = {"worker": worker} if worker else {}
    if key is not None:
        context |= {"round": key.round_id, "shard": key.shard, "attempt": key.attempt}
    return context
