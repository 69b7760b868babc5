"""sessions.jsonl: on what, with what and by which command a run was computed.

    {"started": 1764000000.0, "iteration": 0, "command": "mlpeft train --config C", ...}
    {"ended": 1764000600.0, "iteration": 1000}

A line at each start and end; a session that was killed has no end.
"""

from __future__ import annotations

import json
import logging
import platform as python_platform
import shlex
import sys
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlpeft.config.notify import without_targets
from mlpeft.platform.machine import describe_machine, source_commit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult

log = logging.getLogger("mlpeft.reporting")

FILE_NAME: Final = "sessions.jsonl"
PACKAGES: Final = ("mlpeft", "mlx", "numpy")


class SessionReporter:
    """Writes sessions.jsonl in the run's folder. A full disk does not end the run."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._iteration = 0

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Write what computes the run from now on."""
        self._path, self._iteration = run_dir / FILE_NAME, first_iteration
        machine = asdict(describe_machine())
        self._write(
            {
                "started": round(time.time(), 3),
                "iteration": first_iteration,
                "command": _command(),
                "versions": {name: _version(name) for name in PACKAGES}
                | {"python": python_platform.python_version()},
                "commit": source_commit(),
                "system": machine["system"],
                "device": machine["device"],
                "cores": machine["cores"],
                "memory_bytes": machine["memory_bytes"],
            }
        )

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Remember how far the run is."""
        self._iteration = iteration

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Nothing: metrics.jsonl has it."""

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Nothing: checkpoints are folders of their own."""

    def message(self, text: str) -> None:
        """Nothing: the log has it."""

    def close(self) -> None:
        """Write the end of the session."""
        if self._path is not None:
            now = round(time.time(), 3)
            self._write({"ended": now, "iteration": self._iteration})
            self._path = None

    def _write(self, record: dict[str, Any]) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            log.warning("cannot write %s (%s)", self._path, error.strerror)


def _command() -> str:
    """The command line of this process, as one types it into a shell."""
    module = getattr(sys.modules.get("__main__"), "__spec__", None)
    if module is None:
        program = [Path(sys.argv[0]).name]
    else:
        program = ["python", "-m", module.name.removesuffix(".__main__")]
    return shlex.join([*program, *without_targets(sys.argv[1:])])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
