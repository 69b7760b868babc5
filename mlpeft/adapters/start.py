"""A trained start as an adapter, before any adaptation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlpeft import params
from mlpeft.adapters.adapter import Adapter, bare_model
from mlpeft.files import parse_json
from mlpeft.meta import state
from mlpeft.meta.inner import InnerLoop

if TYPE_CHECKING:
    from pathlib import Path

    import mlx.nn as nn

    from mlpeft.params import ParamTree
    from mlpeft.training.trained import Trained


def as_adapter(trained: Trained) -> Adapter:
    """The start of a run as an adapter without labels, for export.

    Raises:
        ParamMismatch: If the checkpoint does not fit the configured model.
    """
    model = bare_model(trained.config)
    theta = start_theta(trained, model)
    adaptation = _inner(trained).adaptation.bound(model)
    leaves = adaptation.model_leaves(theta)
    return Adapter(config=trained.config, leaves=leaves, history=start_history(trained))


def start_theta(trained: Trained, model: nn.Module) -> ParamTree:
    """A checkpoint's theta, NumPy leaves, checked against the model.

    Raises:
        ParamMismatch: If it was trained for another model.
    """
    theta, _ = state.split(state.without_head(trained.meta))
    fresh = state.new(model, _inner(trained), trained.config.run.seed)
    expected = params.schema(state.split(fresh)[0])
    params.check_schema(expected, theta, f"checkpoint {trained.path}")
    return theta


def _inner(trained: Trained) -> InnerLoop:
    return InnerLoop.from_config(trained.config.meta_learning)


def start_history(trained: Trained) -> dict[str, Any]:
    """What a model card says about a start; plain values."""
    return {
        "checkpoint": str(trained.path),
        "meta_iterations": trained.iteration,
        "results": _results(trained.path),
    }


def _results(checkpoint: Path) -> dict[str, Any]:
    """The results of `mlpeft evaluate` in the run's folder, by file stem."""
    run_dir = checkpoint.parent if checkpoint.is_file() else checkpoint.parents[1]
    results = {}
    for file in sorted(run_dir.glob("evaluation*.json")):
        try:
            results[file.stem] = parse_json(file.read_bytes())
        except (OSError, ValueError):
            continue  # an unreadable file holds no result
    return results
