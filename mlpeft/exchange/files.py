"""Files of every exported folder: arrays, settings, a head, a model card."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from mlpeft.adapters.card import model_card
from mlpeft.adapters.completer import template_of
from mlpeft.errors import ConfigError, DataError
from mlpeft.files import parse_json_object
from mlpeft.models.pretrained.encoder import unit
from mlpeft.tasks.families.completion_tokens import PROMPT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from mlpeft.adapters.adapter import Adapter
    from mlpeft.config import RunConfig

CONFIG = "adapter_config.json"
_LFS_POINTER = b"version https://git-lfs"
HEAD = "head."
HEAD_FILE = "head.safetensors"
LABELS_FILE = "labels.json"

_HEAD_USE = """

`head.safetensors` and `labels.json` are the classifier: a text with the unit embedding
e has the logits `scale (W e) + b`, where `scale` is {scale:g}."""
_PROMPT_USE = """

A prompt must have the template of training, here as a JSON string, and no other chat
format around it: `{template}`"""


def write_arrays(folder: Path, name: str, arrays: Mapping[str, mx.array]) -> None:
    """Write a safetensors file that both MLX and PyTorch can read."""
    contiguous = {key: mx.contiguous(array) for key, array in arrays.items()}
    mx.save_safetensors(str(folder / name), contiguous, {"format": "pt"})


def write_json(folder: Path, name: str, values: Mapping[str, Any]) -> None:
    """Write an indented JSON file."""
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    (folder / name).write_text(text, encoding="utf-8")


def write_card(
    folder: Path, adapter: Adapter, use: str, *, head_files: bool = True
) -> None:
    """Write the model card with a section on how to use the folder.

    Args:
        folder: Of the export.
        adapter: What was exported.
        use: The section.
        head_files: Whether the head, if there is one, has files of its own.
    """
    if head_files and has_head(adapter):
        use += _HEAD_USE.format(scale=adapter.config.model.logit_scale)
    if adapter.config.model.backbone == "causal_lm":
        template = json.dumps(template_of(adapter.config), ensure_ascii=False)
        use += _PROMPT_USE.format(template=template)
    text = model_card(adapter, use)
    (folder / "README.md").write_text(text, encoding="utf-8")


def prompt_option(config: RunConfig) -> str:
    r"""Options of mlx_lm.generate for a prompt in the template of training.

    It decodes `\n` as a newline, and would apply the model's chat template.
    """
    prompt = template_of(config).replace(PROMPT, "...")
    escaped = prompt.replace("\n", "\\n").replace("\t", "\\t")
    return f"--ignore-chat-template --prompt {shlex.quote(escaped)}"


def has_head(adapter: Adapter) -> bool:
    """Whether the adapter has a classification head."""
    return any(name.startswith(HEAD) for name in adapter.leaves)


def write_head(folder: Path, adapter: Adapter) -> None:
    """Write the head, if there is one, to files of its own: no other format has it."""
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
    """Check that a format holds every leaf but the head's.

    Raises:
        ConfigError: Names the leaves that the format cannot hold.
    """
    missing = {name for name in adapter.leaves if not name.startswith(HEAD)} - written
    if missing:
        raise ConfigError(
            f"peft.train_also: {what} cannot hold {', '.join(sorted(missing)[:3])}"
            f"{', ...' if len(missing) > 3 else ''}; export with --format merged"
        )


def read_json(file: Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        file: The file.
        what: The end of the error message: what was expected.

    Raises:
        DataError: If the file is missing or holds anything else.
    """
    try:
        values = parse_json_object(file.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f"no {file.name} in {file.parent.absolute()}; {what}"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}; {what}") from error
    return values


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a safetensors file as float32.

    Raises:
        DataError: If it cannot be read, is empty, or a value is not finite.
    """
    _check_kind(file)
    try:
        # NumPy has no bfloat16; MLX does.
        loaded: Any = mx.load(str(file))
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{file} cannot be read as safetensors: {error}") from error
    if not loaded:
        raise DataError(
            f"{file} holds no arrays, so there is no adapter in it; save it again "
            "where it was made"
        )
    import numpy as np

    arrays = {name: np.array(leaf.astype(mx.float32)) for name, leaf in loaded.items()}
    for name, leaf in arrays.items():
        if not np.isfinite(leaf).all():
            raise DataError(
                f"{file}: {name} has values that are not finite; its training "
                "diverged, so take an earlier checkpoint"
            )
    return arrays


def _check_kind(file: Path) -> None:
    """Tell a pickle, and what Git LFS leaves in a file's place, from arrays."""
    pickled = file.with_suffix(".bin")
    if not file.is_file() and pickled.is_file():
        raise DataError(
            f"{pickled} is a pickle, which may run code when it is read, so mlpeft "
            f"does not; save it as {file.name}: save_pretrained(..., "
            "safe_serialization=True)"
        )
    if not file.is_file():
        raise DataError(
            f"no {file.name} in {file.parent.absolute()}; copy the whole folder there"
        )
    with file.open("rb") as opened:
        if opened.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise DataError(
                f"{file} is a pointer of Git LFS, not the file itself; run: git lfs "
                "pull"
            )
