"""metrics.jsonl: every measurement of a run, one JSON object per line.

    {"kind": "train", "iteration": 7, "support_loss": 0.6, ..., "time": 1764000000.0}
    {"kind": "validate", "iteration": 100, "steps": [0, 5], "acc": [0.5, 0.9], ...}

`time` is Unix time in seconds. Non-finite numbers are null.
"""

from __future__ import annotations

import json
import logging
import math
import time
from typing import IO, TYPE_CHECKING, Any, Final

from mlpeft.files import parse_json, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult

log = logging.getLogger("mlpeft.reporting")

FILE_NAME: Final = "metrics.jsonl"
FLUSH_S: Final = 1.0
"""The longest time in seconds that a line stays in memory during a run."""


class JsonlReporter:
    """Writes metrics.jsonl in the run's folder.

    It buffers lines and writes them every second, at validations, checkpoints and the
    end: a system call per line would cost more than a small meta-iteration. After a
    failed write, as on a full disk, it keeps the lines and retries at the next flush.

    Args:
        clock: Unix time in seconds, for the lines' `time`.
        monotonic: Monotonic time in seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._file: IO[bytes] | None = None
        self._lines: list[str] = []
        self._unwritten = b""  # continues the file, maybe in mid-line
        self._flushed_at = 0.0

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Open a new file, or the old one without records after the first iteration."""
        path = run_dir / FILE_NAME
        if first_iteration:
            truncate_after(path, first_iteration)
        else:
            path.unlink(missing_ok=True)
        # Unbuffered: after a failed flush of a buffer nobody knows what was written.
        self._file = path.open("ab", buffering=0)
        self._unwritten = b""
        self._flushed_at = self._monotonic()

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Buffer a `train` line."""
        self._add({"kind": "train", "iteration": iteration, **metrics})
        if self._monotonic() - self._flushed_at >= FLUSH_S:
            self._flush()

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Write a `validate` line."""
        self._add({"kind": "validate", "iteration": iteration, **result.to_dict()})
        self._flush()

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Write the buffered lines."""
        self._flush()

    def message(self, text: str) -> None:
        """Nothing: messages are not metrics."""

    def close(self) -> None:
        """Write the buffered lines and close the file."""
        if self._file is not None:
            self._flush()
            if self._unwritten:
                lost = self._unwritten.count(b"\n")
                log.error("lost %d lines of %s: cannot write it", lost, self._file.name)
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
        self._flushed_at = self._monotonic()
        try:
            while self._unwritten:
                written = self._file.write(self._unwritten)
                self._unwritten = self._unwritten[written:]
        except OSError as error:
            if not failed_before:
                log.warning(
                    "cannot write %s (%s); keeping its lines in memory and retrying",
                    *(self._file.name, error.strerror),
                )


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Read the file's records, in order.

    Skips lines that are not records, such as the partial line of a killed process.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = parse_json(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record


def truncate_after(path: Path, iteration: int) -> None:
    """Drop all records beyond an iteration, and a partial last line.

    Replaces the file atomically. Does nothing if there is no file.
    """
    if not path.exists():
        return
    records = (each for each in read_records(path) if _iteration(each) <= iteration)
    text = "".join(json.dumps(record) + "\n" for record in records)
    write_atomically(path, text.encode())


def _iteration(record: Mapping[str, Any]) -> float:
    iteration = record.get("iteration")
    return iteration if isinstance(iteration, int) else math.inf


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
