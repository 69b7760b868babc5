"""cluster.json: who computed a run, and what it survived, for reports.

It decides nothing. Each session of a coordinator adds an entry, which is written with
every checkpoint; workers that joined and left between two of them are in the log.
"""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import TimeoutError as NoAnswer
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from mlpeft.errors import CheckpointError
from mlpeft.files import parse_json_object
from mlpeft.training.run_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.cluster.overview import Overview
    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult
    from mlpeft.runtime.coordinator.executor import Runtime

log = logging.getLogger("mlpeft.coordinator")

FILE: Final = "cluster.json"
MOST_WORKERS: Final = 1000
"""Names that are remembered of a session."""


class ClusterFile:
    """A `mlpeft.reporting.Reporter` that writes cluster.json.

    Args:
        runtime: The coordinator, started.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._path: Path | None = None
        self._sessions: dict[str, Any] = {}
        self._workers: dict[str, dict[str, Any]] = {}
        self._began = time.time()

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Read the entries of earlier sessions."""
        self._path = run_dir / FILE
        try:
            tree = parse_json_object(self._path.read_bytes())
            self._sessions = dict(tree["sessions"]) if first_iteration else {}
        except FileNotFoundError:
            return
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.warning("%s is begun anew: %s", self._path, error)

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Write the entry of this session."""
        if self._path is None:
            return
        try:
            overview = self._runtime.overview()
            self._sessions[overview.session] = self._entry(overview)
            text = json.dumps({"sessions": self._sessions}, indent=1) + "\n"
            write_whole(self._path, text)
        except (CheckpointError, NoAnswer) as error:
            log.warning("%s is not saved: %s", self._path, error)

    def _entry(self, overview: Overview) -> dict[str, Any]:
        cluster = overview.cluster
        for worker in cluster.workers:
            if worker.name in self._workers or len(self._workers) < MOST_WORKERS:
                self._workers[worker.name] = {
                    "device": worker.device,
                    "shards_done": worker.shards_done,
                    "failures": worker.failures,
                }
        return {
            "began": round(self._began, 3),
            "written": round(time.time(), 3),
            "iteration": overview.progress.iteration,
            "workers": self._workers,
            "counted": cluster.counted,
            "refused": cluster.refused,
            "backups": cluster.backups,
            "failures": dict(cluster.failures),
            "bytes": asdict(overview.bytes_moved),
        }

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Nothing: it is written with checkpoints."""

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Nothing: metrics.jsonl has it."""

    def message(self, text: str) -> None:
        """Nothing: the log has it."""

    def close(self) -> None:
        """Write how the session ended."""
        if self._path is not None:
            self.checkpoint(0, self._path)
            self._path = None
