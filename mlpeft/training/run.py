"""A run under way: its state, and when and how that is saved."""

from __future__ import annotations

import copy
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlpeft.errors import CheckpointError
from mlpeft.training import checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.meta.outer import OuterStep
    from mlpeft.params import ParamTree
    from mlpeft.reporting import Reporter
    from mlpeft.training.accepted import AcceptedLog
    from mlpeft.training.checkpoint import Progress

log = logging.getLogger("mlpeft.train")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run at one moment. Its arrays are shared: never write to them."""

    meta: ParamTree
    outer: ParamTree
    progress: Progress


@dataclass(slots=True, kw_only=True)
class Run:
    """The mutable state of a run.

    Attributes:
        config: With strategy and shard size resolved.
        run_dir: The run's folder, locked by this process.
        meta: Theta and carried inner state, NumPy float32.
        outer: The outer step and its moments.
        progress: The rest of the state.
        accepted: What counted in meta-iterations that did not wait for all.
        notes: Messages about the folder, from opening it.
    """

    config: RunConfig
    run_dir: Path
    meta: ParamTree
    outer: OuterStep
    progress: Progress
    accepted: AcceptedLog
    notes: list[str] = field(default_factory=list)
    _saved: Progress | None = None
    """The newest progress on disk; None: nothing is saved."""
    _unsaved_best: Snapshot | None = None
    """The best step, until it is written."""
    _tried_at: float = field(default_factory=time.monotonic)
    """When the last save was tried, in monotonic seconds."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        settings, progress = self.config.meta_learning, self.progress
        if progress.validation_due:
            return False
        return progress.iteration >= settings.num_meta_iterations or self.patience_over

    @property
    def patience_over(self) -> bool:
        """Whether the last `patience` validations brought no improvement."""
        patience = self.config.meta_learning.patience
        return patience is not None and self.progress.stale >= patience

    def note_best(self) -> None:
        """Let the next save write the present state as the best step."""
        self._unsaved_best = self._snapshot()

    @property
    def save_overdue(self) -> bool:
        """Whether the last save is older than `paths.save_seconds`."""
        return time.monotonic() >= self._tried_at + self.config.paths.save_seconds

    def save(self, reporter: Reporter) -> None:
        """Write a checkpoint of the run, unless its state is saved.

        Args:
            reporter: Informed of each checkpoint.

        Raises:
            CheckpointError: If it cannot be written. Saved steps stay as they are, and
                the next save retries the best step.
        """
        self._tried_at = time.monotonic()
        if self._unsaved_best is not None:
            step = self._write(self._unsaved_best, reporter)
            checkpoint.mark_best(self.run_dir, step)
            self._unsaved_best = None
        if self._saved != self.progress:
            self._write(self._snapshot(), reporter)
        checkpoint.prune(
            self.run_dir,
            self.config.paths.keep_last,
            self.config.meta_learning.save_interval,
        )

    def try_to_save(self, reporter: Reporter) -> None:
        """Save, or log a warning if that fails: the next save may succeed.

        Raises:
            CheckpointError: If it fails and nothing of the run is on disk yet.
        """
        try:
            self.save(reporter)
        except CheckpointError as error:
            if self._saved is None:
                raise
            log.warning(
                "meta-iteration %d is not saved: %s. The run continues and retries at "
                "the next checkpoint; the last saved meta-iteration is %d",
                self.progress.iteration,
                error,
                self._saved.iteration,
            )

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.meta, dict(self.outer.state), copy.copy(self.progress))

    def _write(self, snapshot: Snapshot, reporter: Reporter) -> Path:
        iteration = snapshot.progress.iteration
        # Reports first: a process killed in between must not lose reported metrics.
        reporter.checkpoint(iteration, checkpoint.step_folder(self.run_dir, iteration))
        self.accepted.flush()
        path = checkpoint.save(
            self.run_dir, snapshot.meta, snapshot.outer, snapshot.progress
        )
        self._saved = snapshot.progress
        return path
