"""Events and commands that both state machines have.

Events say what happened, in the past tense; commands what to do about it, in the
imperative. What travels between the machines is in `protocol`: a message that came is
an event, and one that is to be sent is what the command `Send` carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlpeft.cluster.protocol import LeaseKey


class Level(StrEnum):
    """How much an announcement matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class TimePassed:
    """An event: the time that `next_wakeup` named has come (or any other: harmless)."""


@dataclass(frozen=True, slots=True)
class Announce:
    """A command: tell the people.

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
