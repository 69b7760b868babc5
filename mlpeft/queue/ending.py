"""How the coordinator of a queued run ended, in its own words.

An exit code does not say whether a run is done or was stopped by an operator, nor what
failed; without this file the process was killed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mlpeft.errors import CheckpointError
from mlpeft.files import parse_json_object
from mlpeft.training.run_files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

MOST_TEXT = 2000
"""Characters that are kept of an error."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a coordinator ended.

    Attributes:
        reason: "done", "stopped" or "patience", as `TrainResult`; "failed".
        text: What went wrong, if anything.
        of_machine: Whether it is the machine's fault (its address, certificates), so
            that every other run would end like it.
    """

    reason: str
    text: str = ""
    of_machine: bool = False

    def write(self, path: Path) -> None:
        """Write it, if the disk lets us: the exit code says most of it, too."""
        record = asdict(self) | {"text": self.text[:MOST_TEXT]}
        try:
            write_whole(path, json.dumps(record) + "\n")
        except CheckpointError:
            return

    @classmethod
    def read(cls, path: Path) -> Ending | None:
        """What was written; None: nothing whole."""
        try:
            record = parse_json_object(path.read_bytes())
            return cls(
                str(record["reason"]), str(record["text"]), bool(record["of_machine"])
            )
        except (OSError, ValueError, LookupError):
            return None
