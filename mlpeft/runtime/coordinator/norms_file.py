"""Keeps what is usual of updates beside a run's checkpoints, over restarts.

It decides no bits: an honest update comes to count whatever is known. Without it a liar
would only have to wait for a restart.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import TimeoutError as NoAnswer
from typing import TYPE_CHECKING, Any, Protocol

from mlpeft.errors import CheckpointError
from mlpeft.files import parse_json_object
from mlpeft.training.run_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult

log = logging.getLogger("mlpeft.coordinator")

FILE = "norms.json"
MOST_BYTES = 1 << 20
"""Largest file that is read: all norms that are remembered take a quarter of it."""


class Norms(Protocol):
    """Whoever remembers norms: a coordinator, or the gate of an engine."""

    def norms(self) -> dict[str, list[float]]:
        """Norms of updates that counted, for the next session."""
        ...

    def restore_norms(self, norms: Mapping[str, Any]) -> None:
        """Take in the norms of an earlier session.

        Raises:
            ValueError: If they are something else.
        """
        ...


class NormsFile:
    """A `mlpeft.reporting.Reporter` that restores and saves the norms of updates.

    Args:
        norms: Who remembers them; started.
    """

    def __init__(self, norms: Norms) -> None:
        self._norms = norms
        self._path: Path | None = None

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Restore what an earlier session saved."""
        self._path = path = run_dir / FILE
        try:
            self._norms.restore_norms(_read(path))
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError, NoAnswer) as error:
            log.warning("%s is not used: %s; outliers are known later", path, error)

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Save the norms."""
        if self._path is None:
            return
        try:
            write_whole(self._path, json.dumps(self._norms.norms()))
        except (CheckpointError, NoAnswer) as error:
            log.warning("%s is not saved: %s", self._path, error)

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Nothing: norms are saved with checkpoints."""

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Nothing: scores have no norm."""

    def message(self, text: str) -> None:
        """Nothing: the log has the message."""

    def close(self) -> None:
        """Nothing: the last checkpoint has saved them."""


def _read(path: Path) -> dict[str, Any]:
    """The object in a small JSON file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is something else.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    return parse_json_object(path.read_bytes())
