"""Tables of what may happen in which phase; the state machines enforce theirs.

A table lists, for each event, the phases in which it is legal, and for each of them the
phases that may follow. IGNORED: legal, and without effect. An event in a phase that is
not listed is a mistake of our own side, never of the network: LocalProtocolError.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar

from mlpeft.errors import LocalProtocolError

P = TypeVar("P", bound=StrEnum)
Table: TypeAlias = Mapping[type[Any], Mapping[P, frozenset[P]]]

IGNORED: frozenset[Any] = frozenset()


def to(*phases: P) -> frozenset[P]:
    """The phases that may follow; for tables."""
    return frozenset(phases)


class Transitions(Generic[P]):
    """Enforces a table.

    Args:
        who: Whose table it is, for messages.
        table: What is legal.
    """

    def __init__(self, who: str, table: Table[P]) -> None:
        self.who = who
        self.table = table

    def following(self, event: object, phase: P) -> frozenset[P]:
        """The phases that may follow; IGNORED if the event has no effect.

        Raises:
            LocalProtocolError: If the event may not come in this phase.
        """
        legal = self.table.get(type(event), {})
        following = legal.get(phase)
        if following is None:
            name, phases = type(event).__name__, ", ".join(legal) or "never"
            raise LocalProtocolError(
                f"{name} came while {self.who} is {phase.value}; it is legal while "
                f"{self.who} is: {phases}"
            )
        return following

    def check(
        self, event: object, before: P, after: P, following: frozenset[P]
    ) -> None:
        """Raise AssertionError if a machine went where its table does not lead."""
        if after not in following:
            name = type(event).__name__
            raise AssertionError(
                f"{self.who} went from {before.value} to {after.value} after {name}; "
                "its table does not list that"
            )
