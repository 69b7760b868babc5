"""One run of a queue, and how its record is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """Where a run is on its way through the queue."""

    WAITING = "waiting"
    RUNNING = "running"
    INTERRUPTED = "interrupted"  # by the end of `queue run`; it resumes
    DONE = "done"
    STOPPED = "stopped"  # by an operator
    FAILED = "failed"


TO_RUN = (State.INTERRUPTED, State.WAITING)
"""States of runs that `queue run` still starts, those it starts first in front."""


_LATER = ("search", "setting")
"""Fields that a queue of an earlier version has not."""


@dataclass(frozen=True, slots=True)
class Search:
    """The search that a run is of.

    Attributes:
        first: The number of its first run; the others follow.
        values: Keys of the configuration, with what each may be.
        ranges: `section.key=LOW:HIGH[:log]`.
        seed: Of the sampler.
    """

    first: int
    values: dict[str, list[str]]
    ranges: list[str]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRun:
    """A run of a queue.

    Attributes:
        number: Names it in the queue; never given twice.
        name: The run's name.
        run_dir: The run's folder, absolute.
        folder: The working folder that paths of its configuration start from.
        iterations: Meta-iterations that it is to take.
        added: Unix time.
        state: Where it is on its way.
        reason: Why it is there, in words; "" if there is nothing to say.
        began: Unix time of its first start; None: not started yet.
        ended: Unix time of its end; None: it has not ended.
        search: The search that it is of; its setting is proposed when it starts.
        setting: What was proposed, for people; "" before, and without a search.
    """

    number: int
    name: str
    run_dir: Path
    folder: Path
    iterations: int
    added: float
    state: State = State.WAITING
    reason: str = ""
    began: float | None = None
    ended: float | None = None
    search: Search | None = None
    setting: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values."""
        record = asdict(self)
        return record | {"run_dir": str(self.run_dir), "folder": str(self.folder)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Convert back.

        Raises:
            ValueError, TypeError, LookupError: If it is something else.
        """
        names = [field.name for field in fields(cls)]
        known = {name: record[name] for name in names if name not in _LATER}
        known |= {name: record[name] for name in _LATER if name in record}
        search = known.get("search")
        return cls(
            **known
            | {
                "number": int(known["number"]),
                "run_dir": Path(known["run_dir"]),
                "folder": Path(known["folder"]),
                "state": State(known["state"]),
                "search": None if search is None else Search(**search),
            }
        )
