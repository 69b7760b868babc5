"""Reports to trackio if `logging.trackio_enabled` (extra: trackio).

Its data stay on this machine; `trackio show` serves them.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, Final

from mlpeft.reporting.scalars import ScalarReporter, package_missing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig

PROJECT: Final = "mlpeft"


class TrackioReporter(ScalarReporter):
    """Reports to the project `mlpeft` under the run's name.

    Respects trackio's environment variables (TRACKIO_DIR, TRACKIO_SPACE_ID, ...).

    Raises:
        ConfigError: If trackio is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            import trackio
        except ImportError as error:
            raise package_missing("trackio_enabled", "trackio") from error
        self._trackio = trackio
        self._run: Any = None

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Start a trackio run, or resume that of this name."""
        with redirect_stdout(sys.stderr):  # results go to standard output
            self._run = self._trackio.init(
                project=PROJECT,
                name=config.run.name,
                config=config.for_others().to_dict(),
                resume="allow" if first_iteration else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def log(self, iteration: int, scalars: Mapping[str, float]) -> None:
        """Write scalars by name."""
        if self._run is not None:
            self._run.log(dict(scalars), step=iteration)

    def close(self) -> None:
        """Write what is buffered and finish the run."""
        if self._run is not None:
            self._run = None
            with redirect_stdout(sys.stderr):
                self._trackio.finish()
