"""What a run's folder tells: configuration, metrics, checkpoints, as they are written.

It is read only while somebody looks, and only what was added since the last look. Of a
large metrics.jsonl all validations are read, and a sample of the training lines.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mlpeft.config import RunConfig
from mlpeft.dashboard.curve import Curve
from mlpeft.errors import DataError, MlpeftError
from mlpeft.files import parse_json
from mlpeft.reporting.jsonl import FILE_NAME
from mlpeft.results import EvalResult

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOSSES: Final = {"query_loss": "query loss", "support_loss": "support loss"}
"""Keys of a training line, and their names for people; the first one there counts."""
WHOLE_BYTES: Final = 4 << 20
"""A larger file is sampled at the first look."""
SAMPLES: Final = 6000
"""Training lines of a sample."""
MOST_LINES: Final = 2000
"""Added lines that one look parses; of more, every nth."""
SPEED_S: Final = 1.0
"""Shortest time over which speed is measured."""


@dataclass(slots=True)
class Measurements:
    """What metrics.jsonl says.

    Attributes:
        losses: By key of `LOSSES`.
        outer_lr: The outer step size.
        speed: Meta-iterations per second.
        validations: (meta-iterations, score, Unix time), ascending.
        iteration: Meta-iterations done.
        time: Unix time of the newest line; 0: there is none.
        version: Grows with each look that read something.
    """

    losses: dict[str, Curve] = field(default_factory=dict)
    outer_lr: Curve = field(default_factory=Curve)
    speed: Curve = field(default_factory=Curve)
    validations: list[tuple[int, EvalResult, float]] = field(default_factory=list)
    iteration: int = 0
    time: float = 0.0
    version: int = 0

    @property
    def best(self) -> tuple[int, EvalResult] | None:
        """The best validation, as training sees it."""
        best: tuple[int, EvalResult] | None = None
        for iteration, result, _ in self.validations:
            if best is None or result.better_than(best[1]):
                best = (iteration, result)
        return best

    def loss(self) -> tuple[str, Curve] | None:
        """The loss that counts, with its name."""
        for key, name in LOSSES.items():
            if key in self.losses:
                return name, self.losses[key]
        return None


class RunFolder:
    """A run's folder, read step by step.

    Args:
        path: The folder.

    Raises:
        DataError: If it is none.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise DataError(
                f"no folder {path.absolute()}; give a run's folder, as `mlpeft train` "
                "prints it"
            )
        self.path = path
        self.name = path.resolve().name
        self.measured = Measurements()
        self._inode, self._offset = 0, 0
        self._mark: tuple[int, float] | None = None  # iteration and time, for speed
        self._config: RunConfig | None = None

    @property
    def config(self) -> RunConfig | None:
        """The run's configuration; None: not written yet, or not readable."""
        if self._config is None:
            with contextlib.suppress(MlpeftError, OSError):
                self._config = RunConfig.load(self.path / "config.yaml")
        return self._config

    def read(self) -> bool:
        """Read what was added to metrics.jsonl; whether anything was."""
        path = self.path / FILE_NAME
        try:
            file = path.open("rb")
        except OSError:
            return False
        with file:
            state = os.fstat(file.fileno())
            if state.st_ino != self._inode or state.st_size < self._offset:
                self._begin_again(state.st_ino)
            if state.st_size == self._offset:
                return False
            first = self._offset == 0 and state.st_size > WHOLE_BYTES
            lines = _sampled(file.fileno()) if first else self._added(file)
            for line in lines:
                self._take(line)
            if first:
                self._offset = state.st_size
        self.measured.version += 1
        return True

    def _begin_again(self, inode: int) -> None:
        """A resumed or new run wrote another file."""
        self._inode, self._offset, self._mark = inode, 0, None
        self.measured = Measurements(version=self.measured.version)

    def _added(self, file: Any) -> Iterator[bytes]:
        file.seek(self._offset)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        self._offset += whole
        lines = content[:whole].splitlines()
        stride = max(1, len(lines) // MOST_LINES) if len(content) > WHOLE_BYTES else 1
        for index, line in enumerate(lines):
            if index % stride == 0 or b'"validate"' in line:
                yield line

    def _take(self, line: bytes) -> None:
        try:
            record = parse_json(line)
            kind, iteration = record["kind"], int(record["iteration"])
            now = float(record.get("time") or 0.0)
        except (ValueError, TypeError, LookupError):
            return
        measured = self.measured
        if kind == "validate":
            with contextlib.suppress(MlpeftError, ValueError, TypeError):
                result = EvalResult.from_dict(record)
                measured.validations.append((iteration, result, now))
        elif kind == "train":
            for key in LOSSES:
                value = record.get(key)
                if isinstance(value, int | float):
                    measured.losses.setdefault(key, Curve()).add(iteration, value)
            if isinstance(record.get("outer_lr"), int | float):
                measured.outer_lr.add(iteration, record["outer_lr"])
            self._measure_speed(iteration, now)
        measured.iteration = max(measured.iteration, iteration)
        measured.time = max(measured.time, now)

    def _measure_speed(self, iteration: int, now: float) -> None:
        if self._mark is None or iteration <= self._mark[0]:
            self._mark = (iteration, now)
            return
        before, then = self._mark
        if now - then >= SPEED_S:
            self.measured.speed.add(iteration, (iteration - before) / (now - then))
            self._mark = (iteration, now)

    # --- beside metrics.jsonl ---------------------------------------------------------

    def checkpoint(self) -> tuple[int, float] | None:
        """The newest step: its meta-iterations and Unix time; None: there is none."""
        from mlpeft.training.checkpoint import step_folders

        for step in reversed(step_folders(self.path)):
            with contextlib.suppress(OSError, ValueError):
                return int(step.name), (step / "state.json").stat().st_mtime
        return None

    def is_running(self) -> bool:
        """Whether the process that locked the folder lives."""
        with contextlib.suppress(OSError, ValueError):
            text = (self.path / "lock").read_text(encoding="ascii").split()
            os.kill(int(text[-1]), 0)
            return True
        return False


def _sampled(descriptor: int) -> Iterator[bytes]:
    """All validations of a large file, and evenly spaced training lines, in order."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        step = len(content) // SAMPLES
        found = content.find(b'"validate"')
        validations = []
        while found != -1:
            validations.append(content.rfind(b"\n", 0, found) + 1)
            found = content.find(b'"validate"', found + 1)
        starts = {content.find(b"\n", at) + 1 for at in range(0, len(content), step)}
        for start in sorted({0, *starts, *validations}):
            end = content.find(b"\n", start)
            if end != -1:
                yield content[start:end]
