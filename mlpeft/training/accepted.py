"""Which updates counted in which meta-iteration, where a round need not wait for all.

    {"iteration": 17, "shards": [0, 2, 3], "late": [[15, 1]]}

A line of `accepted.jsonl` for each such meta-iteration: the shards of its own that were
in time, and meta-iteration and index of those that were late. They are all that theta
depends on beside the configuration, so a run can be computed again (`replay`). A line
is on disk before the checkpoint that it leads to; lines beyond the checkpoint that a
run goes on from are cut off. A meta-iteration without a line had all its shards.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.errors import CheckpointError
from mlpeft.files import parse_json_object
from mlpeft.training.run_files import explained, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.rounds import RoundResult

FILE = "accepted.jsonl"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What counted in a meta-iteration.

    Attributes:
        iteration: Which, from 0.
        shards: Indices of its own shards that were in time.
        late: Meta-iteration and index of those that were late.
    """

    iteration: int
    shards: tuple[int, ...]
    late: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, iteration: int, result: RoundResult) -> Accepted:
        """What a round returned."""
        late = tuple(each.place for each in result.late)
        return cls(iteration, result.shards, late)

    def line(self) -> str:
        """As it stands in the file."""
        record = {
            "iteration": self.iteration,
            "shards": self.shards,
            "late": self.late,
        }
        return json.dumps(record) + "\n"


class AcceptedLog:
    """The file, as a run writes it.

    Args:
        run_dir: The run's folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE
        self._unwritten: list[str] = []

    def cut(self, iterations: int) -> None:
        """Keep what was before a checkpoint.

        Args:
            iterations: Meta-iterations that are done.

        Raises:
            CheckpointError: If it cannot be read or written.
        """
        self._unwritten.clear()
        if not self._path.exists():
            return
        kept = [
            each.line()
            for each in read(self._path.parent, torn=True).values()
            if each.iteration < iterations
        ]
        if kept:
            write_whole(self._path, "".join(kept))
        else:
            with explained(self._path):
                self._path.unlink()

    def note(self, accepted: Accepted) -> None:
        """A round is over."""
        self._unwritten.append(accepted.line())

    def flush(self) -> None:
        """Have all lines on disk.

        Raises:
            CheckpointError: If they cannot be written; the next time may succeed.
        """
        if not self._unwritten:
            return
        with explained(self._path):
            size = self._path.stat().st_size if self._path.exists() else 0
            try:
                with self._path.open("ab") as file:
                    file.write("".join(self._unwritten).encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(self._path, size)  # no line twice
                raise
        self._unwritten.clear()


def read(run_dir: Path, *, torn: bool = False) -> dict[int, Accepted]:
    """What counted, by meta-iteration; {} if there is no such file.

    Args:
        run_dir: The run's folder.
        torn: Whether lines from the first that is damaged on are left out, as a process
            that was killed leaves them.

    Raises:
        CheckpointError: Naming the first line that is damaged.
    """
    path = run_dir / FILE
    if not path.exists():
        return {}
    found: dict[int, Accepted] = {}
    with explained(path):
        lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            each = _parsed(line)
        except (ValueError, TypeError, KeyError) as error:
            if torn:
                break
            raise CheckpointError(
                f"{path}, line {number} is damaged ({error}); what counted after it is "
                "not known"
            ) from error
        found[each.iteration] = each
    return found


def _parsed(line: bytes) -> Accepted:
    """A line of the file.

    Raises:
        ValueError: If it is something else, or KeyError, or TypeError.
    """
    record = parse_json_object(line)
    shards = tuple(_number(index) for index in record["shards"])
    late = tuple((_number(number), _number(index)) for number, index in record["late"])
    iteration = _number(record["iteration"])
    if any(number >= iteration for number, _ in late):
        raise ValueError("a late shard is not of an earlier meta-iteration")
    if len({*shards}) < len(shards) or len({*late}) < len(late):
        raise ValueError("a shard counts twice")
    return Accepted(iteration, shards, late)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no number of a shard or meta-iteration")
    return value
