"""Exports an adapter or a start; imports an adapter of another library."""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx

from mlpeft import params
from mlpeft.adapters.adapter import Adapter, bare_model
from mlpeft.adapters.start import as_adapter
from mlpeft.adapters.store import EXAMPLES, RECORD, load_adapter, load_examples
from mlpeft.adapters.text_classifier import TextClassifier
from mlpeft.errors import ConfigError, DataError, ParamMismatch
from mlpeft.exchange import (
    files,
    huggingface,
    merged,
    mlx_lm,
    onnx_export,
    sentence_transformers,
)
from mlpeft.exchange.last_layer_head import NOTE, with_last_layer_head
from mlpeft.meta import state
from mlpeft.meta.functional import get_params, set_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.training.run_files import locked
from mlpeft.training.run_folder import create_run, run_folder
from mlpeft.training.runner import resolved
from mlpeft.training.trained import load_trained

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from mlpeft.config import RunConfig
    from mlpeft.heads.examples import Examples
    from mlpeft.params import ParamTree


class Format(StrEnum):
    """The format of an exported folder."""

    MLX_LM = "mlx-lm"
    PEFT = "peft"
    MERGED = "merged"
    ONNX = "onnx"
    SENTENCE_TRANSFORMERS = "sentence-transformers"


_OF_LAST_LAYER = (Format.PEFT, Format.MERGED, Format.SENTENCE_TRANSFORMERS)
"""Formats that can hold an encoder, but no head that sees more than its last layer."""
_WRITERS = {
    Format.MLX_LM: mlx_lm.write,
    Format.PEFT: huggingface.write,
    Format.MERGED: merged.write,
    Format.ONNX: onnx_export.write,
    Format.SENTENCE_TRANSFORMERS: sentence_transformers.write,
}


def export_adapter(
    source: str | Path | Adapter | TextClassifier,
    format_: str | Format,
    output: str | Path,
    *,
    config: str | Path | None = None,
    overrides: Iterable[str] = (),
    allow_modules: Container[str] = (),
    int8: bool = False,
    tell: Callable[[str], None] = warnings.warn,
) -> Path:
    """Write an adapter or the start of a run in another library's format.

    Args:
        source: The folder of an adapter or of a run, an adapter, or a classifier.
        format_: "mlx-lm", "peft" (Hugging Face), "merged" (the whole model), "onnx"
            (for onnxruntime) or "sentence-transformers".
        output: The folder to write.
        config: A configuration file, for a checkpoint without one beside it.
        overrides: `section.key=value` on top of the run's configuration.
        allow_modules: See `load_trained`.
        int8: With "onnx": whether to write a model of 8-bit weights, too.
        tell: Called with a sentence if the format cannot hold the head of a
            classifier, and another one was fitted to its examples.

    Returns:
        The folder.

    Raises:
        ConfigError: If the format cannot hold the method, its base or its head, or a
            package that it needs is missing.
        DataError: If the adapter or the base cannot be read.
        FileNotFoundError: If the source is neither an adapter nor a run.
    """
    adapter, examples = _read(source, config, overrides, allow_modules)
    if int8 and Format(format_) is not Format.ONNX:
        raise ConfigError("int8 goes with the format onnx alone; leave it out")
    folder = Path(output)
    _check_empty(folder)
    if Format(format_) in _OF_LAST_LAYER:
        adapter = with_last_layer_head(adapter, examples)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        options = {"int8": True} if int8 else {}
        _WRITERS[Format(format_)](adapter, folder, **options)
    except ConfigError:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    if NOTE in adapter.history:
        tell(f"{adapter.history[NOTE].capitalize()}.")
    return folder


def import_adapter(folder: str | Path, config: RunConfig) -> Path:
    """Make an adapter of mlx-lm or Hugging Face PEFT the start of a run.

    Args:
        folder: Written by mlx-lm or Hugging Face PEFT.
        config: The run; its base must be the adapter's. The adapter decides method,
            rank, factor and layers of the `peft` section.

    Returns:
        The run's folder: adapt from it, evaluate it, or continue with --resume.

    Raises:
        ConfigError: If the run's base is of another kind.
        DataError: If the folder cannot be read, or its leaves do not fit the base.
        CheckpointError: If the run's folder is in use, or holds a run.
    """
    folder = Path(folder)
    settings = huggingface.read_settings(folder)
    reader = huggingface if "peft_type" in settings else mlx_lm
    imported = reader.read(folder, config)
    try:
        peft = {"alpha": None, "rslora": False} | imported.peft
        config = config.with_changes(peft=peft)
    except ConfigError as error:
        raise DataError(
            f"{folder / files.CONFIG} has settings that mlpeft cannot take: "
            f"{'; '.join(error.problems)}"
        ) from error
    model = bare_model(config)
    _check_leaves(get_params(model), imported.leaves, folder)
    set_params(model, {k: mx.array(leaf) for k, leaf in imported.leaves.items()})
    inner = InnerLoop.from_config(config.meta_learning)
    meta = state.new(model, inner, config.run.seed)
    with locked(run_folder(config)):
        return create_run(resolved(config, model), meta)


def _read(
    source: str | Path | Adapter | TextClassifier,
    config: str | Path | None,
    overrides: Iterable[str],
    allow_modules: Container[str],
) -> tuple[Adapter, Examples | None]:
    """What to export, and the examples that it was fitted to, if they are known."""
    if isinstance(source, TextClassifier):
        return source.as_adapter(), source.examples_
    if isinstance(source, Adapter):
        return source, None
    folder = Path(source)
    if (folder / RECORD).is_file():
        has_examples = (folder / EXAMPLES).is_file()
        return load_adapter(folder), load_examples(folder) if has_examples else None
    return as_adapter(load_trained(folder, config, overrides, allow_modules)), None


def _check_leaves(theta: ParamTree, leaves: ParamTree, folder: Path) -> None:
    """Check imported leaves against those of the wrapped base, theta."""
    layers = {_layer(name) for name in leaves}
    expected = {name: leaf for name, leaf in theta.items() if _layer(name) in layers}
    try:
        params.check_schema(params.schema(expected), leaves, f"adapter {folder}")
    except ParamMismatch as error:
        told = str(error).removesuffix(" Was it made for another model?").rstrip(".")
        raise DataError(f"{told}. Is it an adapter of another base?") from error


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder.absolute()} exists; give a new or an empty folder")
