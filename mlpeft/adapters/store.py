"""An adapter's folder.

adapter.json          labels, the run's configuration, the base's digest, the story
adapter.safetensors   the leaves
README.md             the model card
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mlpeft.adapters.card import model_card
from mlpeft.adapters.classifier import Classifier
from mlpeft.adapters.completer import Completer
from mlpeft.config import RunConfig
from mlpeft.errors import DataError
from mlpeft.models.pretrained.source import weights_digest

FORMAT = 1
RECORD = "adapter.json"
LEAVES = "adapter.safetensors"
CARD = "README.md"

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.adapters.adapter import Adapter


def save(adapter: Adapter, folder: str | Path) -> Path:
    """Write an adapter's folder; what is there of these names is replaced."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(adapter.leaves, folder / LEAVES)
    record = {
        "format": FORMAT,
        "mlpeft_version": version("mlpeft"),
        "labels": list(adapter.labels),
        "base_sha256": weights_digest(str(adapter.config.model.weights)),
        "config": adapter.config.to_dict(),
        "story": adapter.story,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")
    # safetensors lets nobody else read, whatever the umask.
    shutil.copymode(folder / RECORD, folder / LEAVES)
    (folder / CARD).write_text(model_card(adapter), encoding="utf-8")
    return folder


def load_adapter(
    folder: str | Path, weights: str | None = None
) -> Classifier | Completer:
    """Read an adapter's folder; the base is read when it is first used.

    Args:
        folder: What `mlpeft adapt` wrote.
        weights: Where the base lies here; None: where it lay when it was adapted.

    Raises:
        FileNotFoundError: If there is no adapter in the folder.
        DataError: If the adapter or its base cannot be read, or the base is another.
    """
    folder = Path(folder)
    record = _read_record(folder / RECORD)
    try:
        leaves = load_file(folder / LEAVES)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder / LEAVES} cannot be read: {error}") from error
    config = RunConfig.from_dict(record["config"], source=str(folder / RECORD))
    if weights is not None:
        config = config.with_changes(model={"weights": weights})
    found = weights_digest(str(config.model.weights))
    if found != record["base_sha256"]:
        raise DataError(
            f"{folder} was adapted from other weights than those of "
            f"{config.model.weights} (SHA-256 {record['base_sha256'][:12]}..., these "
            f"have {found[:12]}...); name the folder of the right ones"
        )
    return kind_of(config)(
        config=config,
        labels=tuple(record["labels"]),
        leaves=leaves,
        story=record["story"],
    )


def _read_record(file: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"no adapter in {file.parent.absolute()}; give the folder that "
            "`mlpeft adapt --output` wrote"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        written = record.get("format") if isinstance(record, dict) else None
        raise DataError(f"{file} has format {written}, this mlpeft reads {FORMAT}")
    needed = {"labels", "base_sha256", "config", "story"}
    if missing := sorted(needed - record.keys()):
        raise DataError(f"{file} lacks {', '.join(missing)}; adapt anew")
    return record


def kind_of(config: RunConfig) -> type[Classifier | Completer]:
    """What an adapter of a run's model does."""
    return Completer if config.model.backbone == "causal_lm" else Classifier
