"""Reports to Weights & Biases if `logging.wandb_enabled` (extra: wandb)."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any, Final

from mlpeft.reporting.scalars import ScalarReporter, package_missing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig

ID_FILE: Final = "wandb_id.txt"
"""In the run's folder: a resumed run continues the same W&B run."""


class WandbReporter(ScalarReporter):
    """Reports to the project `mlpeft` under the run's name.

    Respects W&B's environment variables (WANDB_PROJECT, WANDB_MODE, ...).

    Raises:
        ConfigError: If wandb is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            import wandb
        except ImportError as error:
            raise package_missing("wandb_enabled", "wandb") from error
        self._wandb = wandb
        self._run: Any = None

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Start a W&B run, or resume that of this run folder."""
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
            config=config.for_others().to_dict(),
            dir=str(run_dir),
            **settings,
        )
        # W&B's step may only grow; a resumed run goes back to its checkpoint.
        self._run.define_metric("*", step_metric="iteration")

    def log(self, iteration: int, scalars: Mapping[str, float]) -> None:
        """Send scalars by name."""
        if self._run is not None:
            self._run.log({"iteration": iteration, **scalars})

    def close(self) -> None:
        """Send what is buffered and finish the W&B run."""
        if self._run is not None:
            self._run.finish()
            self._run = None
