"""Weights & Biases, behind `logging.wandb_enabled` (extra: wandb)."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any, Final

from mlpeft.reporting.scalars import ScalarReporter, missing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig

ID_FILE: Final = "wandb_id.txt"
"""In the run's folder: makes a resumed run go on in the same W&B run."""


class WandbReporter(ScalarReporter):
    """Reports to the project `mlpeft`, under the run's name.

    W&B's own variables (WANDB_PROJECT, WANDB_MODE, ...) are honoured.

    Raises:
        ConfigError: If wandb is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            import wandb
        except ImportError as error:
            raise missing("wandb_enabled", "wandb") from error
        self._wandb = wandb
        self._run: Any = None

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Open a W&B run, or go on in the one that this run folder belongs to."""
        id_file = run_dir / ID_FILE
        if not (first_iteration and id_file.exists()):
            id_file.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
        settings: dict[str, Any] = {}
        if "WANDB_PROJECT" not in os.environ:
            settings["project"] = "mlpeft"
        self._run = self._wandb.init(
            id=id_file.read_text(encoding="utf-8").strip(),
            resume="allow",
            name=config.run.name,
            config=config.to_dict(),
            dir=str(run_dir),
            **settings,
        )
        # W&B's own step may only grow; a resumed run goes back to its checkpoint.
        self._run.define_metric("*", step_metric="iteration")

    def log(self, iteration: int, scalars: Mapping[str, float]) -> None:
        """Send numbers by their names."""
        if self._run is not None:
            self._run.log({"iteration": iteration, **scalars})

    def close(self) -> None:
        """Send what is left."""
        if self._run is not None:
            self._run.finish()
            self._run = None
