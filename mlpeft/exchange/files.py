"""What every exported folder has: arrays, settings, a head, a model card."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from mlpeft.adapters.card import model_card
from mlpeft.adapters.completer import template_of
from mlpeft.errors import ConfigError, DataError
from mlpeft.models.pretrained.encoder import unit
from mlpeft.tasks.families.completion_tokens import PROMPT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from mlpeft.adapters.adapter import Adapter
    from mlpeft.config import RunConfig

CONFIG = "adapter_config.json"
HEAD = "head."
HEAD_FILE = "head.safetensors"
LABELS_FILE = "labels.json"

_HEAD_USE = """

`head.safetensors` and `labels.json` are the classifier: a text with the embedding e, of
length 1, has the logits `scale (W e) + b`, `scale` being {scale:g}."""
_PROMPT_USE = """

A prompt has the form of those that were learned from, here as a string of JSON, and no
other chat format around it: `{template}`"""


def write_arrays(folder: Path, name: str, arrays: Mapping[str, mx.array]) -> None:
    """A safetensors file that names MLX's and PyTorch's readers alike can open."""
    whole = {key: mx.contiguous(array) for key, array in arrays.items()}
    mx.save_safetensors(str(folder / name), whole, {"format": "pt"})


def write_json(folder: Path, name: str, values: Mapping[str, Any]) -> None:
    """A JSON file for people, too."""
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    (folder / name).write_text(text, encoding="utf-8")


def write_card(folder: Path, adapter: Adapter, use: str) -> None:
    """The model card, with how the folder is used."""
    if has_head(adapter):
        use += _HEAD_USE.format(scale=adapter.config.model.logit_scale)
    if adapter.config.model.backbone == "causal_lm":
        template = json.dumps(template_of(adapter.config), ensure_ascii=False)
        use += _PROMPT_USE.format(template=template)
    text = model_card(adapter, use)
    (folder / "README.md").write_text(text, encoding="utf-8")


def prompt_option(config: RunConfig) -> str:
    r"""`--prompt` and other words that have mlx_lm.generate take a prompt as learned.

    It reads `\n` as the end of a line, and would put a chat format around it.
    """
    prompt = template_of(config).replace(PROMPT, "...")
    words = prompt.replace("\n", "\\n").replace("\t", "\\t")
    return f"--ignore-chat-template --prompt {shlex.quote(words)}"


def has_head(adapter: Adapter) -> bool:
    """Whether the adapter brings a classifier of its own."""
    return any(name.startswith(HEAD) for name in adapter.leaves)


def write_head(folder: Path, adapter: Adapter) -> None:
    """The classifier beside the base, if there is one: no other format has it."""
    head = {
        name.removeprefix(HEAD): mx.array(leaf)
        for name, leaf in adapter.leaves.items()
        if name.startswith(HEAD)
    }
    if head:
        if adapter.config.model.head == "cosine":
            head["weight"] = unit(head["weight"])
        write_arrays(folder, HEAD_FILE, head)
        labels = {
            "labels": list(adapter.labels),
            "scale": adapter.config.model.logit_scale,
        }
        write_json(folder, LABELS_FILE, labels)


def check_all_written(adapter: Adapter, written: set[str], what: str) -> None:
    """No leaf is left out in silence.

    Raises:
        ConfigError: Naming the leaves that the format has no place for.
    """
    left = {name for name in adapter.leaves if not name.startswith(HEAD)} - written
    if left:
        raise ConfigError(
            f"peft.train_also: {what} has no place for {', '.join(sorted(left)[:3])}"
            f"{', ...' if len(left) > 3 else ''}; export with --format merged"
        )


def read_json(file: Path, what: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        DataError: If there is none.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"no {file.name} in {file.parent.absolute()}; {what}"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}; {what}") from error
    if not isinstance(values, dict):
        raise DataError(f"{file} is not a JSON object; {what}")
    return values


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file as float32.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        # NumPy has no bfloat16; MLX does.
        loaded: Any = mx.load(str(file))
    except (OSError, RuntimeError) as error:
        raise DataError(f"{file} cannot be read as safetensors: {error}") from error
    import numpy as np

    return {name: np.array(leaf.astype(mx.float32)) for name, leaf in loaded.items()}
