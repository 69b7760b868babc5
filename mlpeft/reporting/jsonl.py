"""metrics.jsonl: everything that was measured, one JSON object a line.

    {"kind": "train", "iteration": 7, "support_loss": 0.6, ..., "time": 1764000000.0}
    {"kind": "validate", "iteration": 100, "steps": [0, 5], "acc": [0.5, 0.9], ...}

`time` is in seconds since 1970. A number that is not finite is null.
"""

from __future__ import annotations

import json
import logging
import math
import time
from typing import IO, TYPE_CHECKING, Any, Final

from mlpeft.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult

log = logging.getLogger("mlpeft.reporting")

FILE_NAME: Final = "metrics.jsonl"
FLUSH_S: Final = 1.0
"""The longest that a line waits in memory while the run goes on."""


class JsonlReporter:
    """Writes metrics.jsonl in the run's folder.

    Lines are gathered and written each second, at validations, checkpoints and the end:
    a system call a line would cost more than a small meta-iteration.

    Lines that cannot be written, as on a full disk, wait for the next time.

    Args:
        clock: Seconds since 1970, for the lines' `time`.
        steady: Seconds, of a clock that does not jump.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._steady = steady
        self._file: IO[bytes] | None = None
        self._lines: list[str] = []
        self._unwritten = b""  # begins where the file ends, maybe inside a line
        self._flushed = 0.0

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Open the file: anew, or without what came after the first iteration."""
        path = run_dir / FILE_NAME
        if first_iteration:
            truncate_after(path, first_iteration)
        else:
            path.unlink(missing_ok=True)
        # Unbuffered: a buffer that could not be written tells nobody what was.
        self._file = path.open("ab", buffering=0)
        self._unwritten = b""
        self._flushed = self._steady()

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Note a `train` line."""
        self._add({"kind": "train", "iteration": iteration, **metrics})
        if self._steady() - self._flushed >= FLUSH_S:
            self._flush()

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Write a `validate` line."""
        self._add({"kind": "validate", "iteration": iteration, **result.to_dict()})
        self._flush()

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Write what was gathered."""
        self._flush()

    def message(self, text: str) -> None:
        """Messages are for people; they are not written."""

    def close(self) -> None:
        """Write what was gathered, and close the file."""
        if self._file is not None:
            self._flush()
            if self._unwritten:
                lost = self._unwritten.count(b"\n")
                log.error("%d lines of %s are lost", lost, self._file.name)
            self._file.close()
            self._file = None

    def _add(self, record: dict[str, Any]) -> None:
        record["time"] = self._clock()
        try:
            line = json.dumps(record, allow_nan=False)
        except ValueError:
            line = json.dumps({key: _finite(value) for key, value in record.items()})
        self._lines.append(line + "\n")

    def _flush(self) -> None:
        if self._file is None:
            return
        failed_before = bool(self._unwritten)
        self._unwritten += "".join(self._lines).encode()
        self._lines.clear()
        self._flushed = self._steady()
        try:
            while self._unwritten:
                written = self._file.write(self._unwritten)
                self._unwritten = self._unwritten[written:]
        except OSError as error:
            if not failed_before:
                log.warning(
                    "cannot write %s (%s); its lines wait in memory until it can be",
                    *(self._file.name, error.strerror),
                )


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The file's records, in order.

    A process that is killed may leave half a line; it and anything else that is not a
    record is passed over.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(record, dict):
                yield record


def truncate_after(path: Path, iteration: int) -> None:
    """Drop all records beyond an iteration, and a half-written last line.

    The file is replaced at once, so that a crash leaves the old one or the new one.
    Where there is none, nothing is done.
    """
    if not path.exists():
        return
    kept = (record for record in read_records(path) if _number(record) <= iteration)
    text = "".join(json.dumps(record) + "\n" for record in kept)
    write_atomically(path, text.encode())


def _number(record: Mapping[str, Any]) -> float:
    iteration = record.get("iteration")
    return iteration if isinstance(iteration, int) else math.inf


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
