"""A trained start, read from what a run has left on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlpeft.config import RunConfig
from mlpeft.errors import CheckpointError
from mlpeft.params import read_npz
from mlpeft.training import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlpeft.params import ParamTree

    Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained meta-state and the configuration that it was trained with.

    Attributes:
        config: The run's configuration, with overrides.
        meta: Theta and carried inner state, NumPy leaves.
        path: The checkpoint that it came from.
        iteration: Meta-iterations behind it; -1: not recorded (an .npz file).
    """

    config: RunConfig
    meta: ParamTree
    path: Path
    iteration: int


def load_trained(
    path: str | Path, config: str | Path | None = None, overrides: Iterable[str] = ()
) -> Trained:
    """Find and read a checkpoint.

    Args:
        path: A run's folder (its best step, else its newest), a step's folder, or an
            .npz file of `ReptileLearner.save`.
        config: The configuration file; None: the run's own `config.yaml`.
        overrides: `section.key=value` on top.

    Raises:
        FileNotFoundError: If there is nothing at the path, or no configuration.
        CheckpointError: If what is there cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"no checkpoint at {path.absolute()}; give a run's folder, one of its "
            "steps, or an .npz file"
        )
    if path.is_file():
        run_dir, found = path.parent, None
    else:
        step = path if (path / "state.json").is_file() else _best_step(path)
        run_dir, found = step.parent.parent, checkpoint.load(step)
    file = Path(config) if config else run_dir / "config.yaml"
    if not file.is_file():
        raise FileNotFoundError(
            f"no configuration at {file.absolute()}; name the one that {path} was "
            "trained with: --config FILE"
        )
    run_config = RunConfig.load(file, overrides)
    if found is not None:
        return Trained(run_config, found.meta, found.path, found.progress.iteration)
    return Trained(run_config, read_npz(path), path, -1)


def _best_step(run_dir: Path) -> Path:
    best = checkpoint.best(run_dir)
    if best is not None:
        return best
    found, skipped = checkpoint.newest(run_dir)
    if found is None:
        story = f": {'; '.join(skipped)}" if skipped else ""
        raise CheckpointError(
            f"no sound checkpoint in {run_dir.absolute()}{story}; give the folder of a "
            "run, as `mlpeft train` prints it"
        )
    return found.path
