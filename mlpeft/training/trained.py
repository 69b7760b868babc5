"""Loads a trained start from a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlpeft.charts import notebook
from mlpeft.config import RunConfig
from mlpeft.errors import CheckpointError, ConfigError
from mlpeft.params import read_npz, summary
from mlpeft.platform.home import expanded
from mlpeft.training import checkpoint
from mlpeft.training.run_files import refuse_links

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from mlpeft.params import ParamTree


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained meta-state and its configuration.

    Attributes:
        config: The run's configuration, with overrides.
        meta: Theta and carried inner state, NumPy leaves.
        path: The checkpoint.
        iteration: Meta-iterations trained; -1: not recorded (an .npz file).
    """

    config: RunConfig
    meta: ParamTree
    path: Path
    iteration: int

    def __repr__(self) -> str:
        return f"Trained({_described(self)})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        config = self.config
        values = {
            "algorithm": config.meta_learning.algorithm,
            "tasks": ", ".join(config.task_distribution.task_families),
            "model": config.model.weights or config.model.backbone,
            "meta-iterations": None if self.iteration < 0 else f"{self.iteration:,}",
            "meta": summary(self.meta),
            "folder": self.path,
        }
        return notebook.facts(f"Run {config.run.name}", values)


class SavedMeta(NamedTuple):
    """A meta-state that was read.

    Attributes:
        meta: Theta and carried inner state, NumPy leaves.
        path: The step's folder, or the .npz file.
        iteration: Meta-iterations trained; -1: not recorded (an .npz file).
    """

    meta: ParamTree
    path: Path
    iteration: int

    def __repr__(self) -> str:
        return f"SavedMeta({_described(self)})"


def _described(saved: Trained | SavedMeta) -> str:
    after = "" if saved.iteration < 0 else f"after {saved.iteration} meta-iterations, "
    return f"{str(saved.path)!r}: {after}{summary(saved.meta)}"


def load_trained(
    path: str | Path,
    config: str | Path | None = None,
    overrides: Iterable[str] = (),
    allow_modules: Container[str] = (),
) -> Trained:
    """Find and read a checkpoint.

    Args:
        path: A run's folder (its best step, else its newest), a step's folder, or an
            .npz file from `ReptileLearner.save`.
        config: The configuration file; None: the run's own `config.yaml`.
        overrides: `section.key=value` on top.
        allow_modules: Modules of your own that the run's `config.yaml` may name. It may
            be somebody else's, and importing a module runs its code. A configuration
            file that is given may name any.

    Raises:
        ConfigError: If the run's configuration names another module.
        FileNotFoundError: If the path or the configuration does not exist.
        CheckpointError: If the checkpoint cannot be read, or the run's folder has
            symbolic links.
    """
    meta, path, iteration = load_meta(path)
    run_dir = path.parent if path.is_file() else path.parents[1]
    file = Path(config) if config else run_dir / "config.yaml"
    if not file.is_file():
        raise FileNotFoundError(
            f"no configuration at {file.absolute()}; give the one that trained "
            f"{path} with --config FILE"
        )
    overrides = tuple(overrides)
    run_config = RunConfig.load(file, overrides)
    if config is None:
        _check_modules(run_config, file, overrides, allow_modules)
    return Trained(run_config, meta, path, iteration)


def load_meta(path: str | Path) -> SavedMeta:
    """Find and read a meta-state, without its configuration.

    Args:
        path: As of `load_trained`.

    Raises:
        FileNotFoundError: If the path does not exist.
        CheckpointError: If the checkpoint cannot be read, or the run's folder has
            symbolic links.
    """
    path = expanded(path)
    if not path.exists():
        raise FileNotFoundError(
            f"no checkpoint at {path.absolute()}; give a run's folder, one of its "
            "steps, or an .npz file"
        )
    if path.is_file():
        return SavedMeta(read_npz(path), path, -1)
    step = path if (path / "state.json").is_file() else _best_step(path)
    refuse_links(step.parent.parent)
    saved = checkpoint.load(step)
    return SavedMeta(saved.meta, saved.path, saved.progress.iteration)


def _check_modules(
    config: RunConfig,
    file: Path,
    overrides: tuple[str, ...],
    allow_modules: Container[str],
) -> None:
    """Refuse modules that a run's own configuration names, unless they are allowed.

    Raises:
        ConfigError: Saying how to allow them.
    """
    named = {
        "model.backbone": config.model.backbone,
        "task_distribution.task_params": config.task_distribution.task_params.get(
            "entry_point"
        ),
    }
    for key, entry_point in named.items():
        if any(text.strip().startswith(key) for text in overrides):
            continue  # the user's own words
        module, colon, _ = str(entry_point).partition(":")
        if colon and module not in allow_modules:
            raise ConfigError(
                f"{file}: {key} names {entry_point!r}, whose code would run; if it is "
                f"yours, add --allow-module {module} (in Python: "
                f"allow_modules=[{module!r}])"
            )


def _best_step(run_dir: Path) -> Path:
    best = checkpoint.best(run_dir)
    if best is not None:
        return best
    newest, skipped = checkpoint.newest(run_dir)
    if newest is None:
        problems = f": {'; '.join(skipped)}" if skipped else ""
        raise CheckpointError(
            f"no valid checkpoint in {run_dir.absolute()}{problems}; give a run's "
            "folder, as `mlpeft train` prints it"
        )
    return newest.path
