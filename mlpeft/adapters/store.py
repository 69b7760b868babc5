"""An adapter's folder.

adapter.json          labels, the run's configuration, the base's digest, the history
adapter.safetensors   the leaves
examples.safetensors  of a TextClassifier: its embedded examples
README.md             the model card
"""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mlpeft.adapters.card import model_card
from mlpeft.adapters.classifier import Classifier
from mlpeft.adapters.completer import Completer
from mlpeft.config import RunConfig
from mlpeft.errors import DataError
from mlpeft.files import parse_json
from mlpeft.heads.examples import Examples
from mlpeft.models.pretrained.source import weights_digest

FORMAT = 1
RECORD = "adapter.json"
LEAVES = "adapter.safetensors"
CARD = "README.md"
EXAMPLES = "examples.safetensors"
"""Embedded examples of a TextClassifier, for adding more."""
_DIMS = ("last_dims", "layers_dims")
HISTORY = "story"
"""The key of `Adapter.history` in adapter.json, format 1."""
DECISION = "decision"
_DECISION_KEYS = ("reject_below", "multi_label", "none_label")
"""How a classifier decides; absent in folders of earlier versions."""

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.adapters.adapter import Adapter


def save(adapter: Adapter, folder: str | Path) -> Path:
    """Write an adapter's folder, replacing files of these names.

    Raises:
        DataError: If a file is in its place.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder.absolute()} is a file; give a folder to write")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(adapter.leaves, folder / LEAVES)
    record = {
        "format": FORMAT,
        "mlpeft_version": version("mlpeft"),
        "labels": list(adapter.labels),
        "base_sha256": weights_digest(str(adapter.config.model.weights)),
        "config": adapter.config.to_dict(),
        HISTORY: adapter.history,
    }
    if isinstance(adapter, Classifier):
        record[DECISION] = {key: getattr(adapter, key) for key in _DECISION_KEYS}
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")
    # safetensors makes the file private whatever the umask.
    shutil.copymode(folder / RECORD, folder / LEAVES)
    (folder / CARD).write_text(model_card(adapter), encoding="utf-8")
    return folder


def load_adapter(
    folder: str | Path, weights: str | None = None
) -> Classifier | Completer:
    """Read an adapter's folder; the base is loaded on first use.

    Args:
        folder: Written by `mlpeft adapt`.
        weights: Where the base is on this machine; None: where it was when adapted.

    Raises:
        FileNotFoundError: If the folder holds no adapter.
        DataError: If the adapter or its base cannot be read, or the base differs.
    """
    folder = Path(folder)
    record = _read_record(folder / RECORD)
    try:
        leaves = load_file(folder / LEAVES)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder / LEAVES} cannot be read: {error}") from error
    config = RunConfig.from_dict(record["config"], source=str(folder / RECORD))
    if config.model.backbone not in ("encoder", "causal_lm"):
        raise DataError(
            f"{folder / RECORD} names model.backbone {config.model.backbone!r}, "
            "expected encoder or causal_lm; mlpeft adapt writes no other"
        )
    if weights is not None:
        config = config.with_changes(model={"weights": weights})
    digest = weights_digest(str(config.model.weights))
    if digest != record["base_sha256"]:
        raise DataError(
            f"{folder} was adapted from other weights than {config.model.weights}: "
            f"expected SHA-256 {record['base_sha256'][:12]}..., got "
            f"{digest[:12]}...; give the folder of the original weights"
        )
    kind = adapter_class(config)
    decision = record.get(DECISION, {}) if kind is Classifier else {}
    return kind(
        config=config,
        labels=tuple(record["labels"]),
        leaves=leaves,
        history=record[HISTORY],
        **{key: decision[key] for key in _DECISION_KEYS if key in decision},
    )


def save_examples(examples: Examples, folder: Path) -> None:
    """Write the embedded examples of a classifier into its adapter's folder."""
    arrays = {
        field.name: np.ascontiguousarray(getattr(examples, field.name))
        for field in fields(examples)
    }
    for name in _DIMS:
        arrays[name] = np.array([getattr(examples, name)])
    save_file(arrays, folder / EXAMPLES)
    shutil.copymode(folder / RECORD, folder / EXAMPLES)


def load_examples(folder: Path) -> Examples:
    """Read what `save_examples` wrote.

    Raises:
        DataError: If it is missing or damaged.
    """
    try:
        arrays = load_file(folder / EXAMPLES)
        # Absent in folders of earlier versions: all columns are of the last layer.
        zero = np.zeros(1, int)
        last, layers = (int(arrays.pop(name, zero)[0]) for name in _DIMS)
        return Examples(**arrays, last_dims=last, layers_dims=layers)
    except (OSError, SafetensorError, TypeError) as error:
        raise DataError(f"{folder / EXAMPLES} cannot be read: {error}") from error


def check_is_adapter(folder: Path) -> None:
    """Check that a folder is an adapter's.

    Raises:
        FileNotFoundError: If it is not.
    """
    if not (folder / RECORD).is_file():
        raise FileNotFoundError(
            f"no adapter in {folder.absolute()}; give the folder that "
            "`mlpeft adapt --output` wrote"
        )


def _read_record(file: Path) -> Mapping[str, Any]:
    check_is_adapter(file.parent)
    try:
        record = parse_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        format_ = record.get("format") if isinstance(record, dict) else None
        raise DataError(f"{file} has format {format_}, this mlpeft reads {FORMAT}")
    required = {"labels", "base_sha256", "config", HISTORY}
    if missing := sorted(required - record.keys()):
        raise DataError(f"{file} lacks {', '.join(missing)}; run mlpeft adapt again")
    return record


def adapter_class(config: RunConfig) -> type[Classifier | Completer]:
    """The class of adapters of a run's model."""
    return Completer if config.model.backbone == "causal_lm" else Classifier
