"""Writes TensorBoard events if `logging.tensorboard_enabled` (extra: tensorboard)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from mlpeft.reporting.scalars import ScalarReporter, package_missing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig

FOLDER: Final = "tensorboard"
"""In the run's folder; `tensorboard --logdir checkpoints` shows all runs."""


class TensorBoardReporter(ScalarReporter):
    """Writes events into the run's folder.

    Raises:
        ConfigError: If tensorboard is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from tensorboard import summary
        except ImportError as error:
            raise package_missing("tensorboard_enabled", "tensorboard") from error
        self._summary = summary
        self._writer: Any = None

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Open an event file; a resumed run voids earlier events beyond its start."""
        folder = str(run_dir / FOLDER)
        _begin_session(folder, first_iteration + 1)
        self._writer = self._summary.Writer(folder)

    def log(self, iteration: int, scalars: Mapping[str, float]) -> None:
        """Write scalars by name."""
        if self._writer is not None:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, iteration)

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Flush buffered events."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write buffered events and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _begin_session(folder: str, step: int) -> None:
    """Make TensorBoard discard earlier events of a step and later ones.

    A killed run may have reported more than it saved. TensorBoard purges those events
    at a session start, except the first in a folder. Its scalar writer cannot write
    session starts.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(folder)
    start = SessionLog(status=SessionLog.START)
    writer.add_event(Event(wall_time=time.time(), step=step, session_log=start))
    writer.close()
