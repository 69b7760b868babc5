"""Causal language models: mlx-lm's modules, from a folder, the hub or a GGUF file.

The module is mlx-lm's own, so its layers have mlx-lm's names
(`model.layers.0.self_attn.q_proj`), which are the names in the adapters that mlx-lm
reads. It takes token numbers (n, length) and gives logits (n, length, vocabulary).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map

from mlpeft.errors import DataError
from mlpeft.models.pretrained.frozen_layers import prepare_texts
from mlpeft.models.pretrained.loss_positions import take_loss_positions
from mlpeft.models.pretrained.source import model_file, model_path
from mlpeft.models.pretrained.virtual_tokens import take_virtual_tokens

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.platform import BaseDtype

logger = logging.getLogger(__name__)


def read_causal_lm(where: str, base_dtype: BaseDtype = "float32") -> nn.Module:
    """The language model that a folder, a hub name or a GGUF file holds.

    Args:
        where: See `mlpeft.models.pretrained.source`.
        base_dtype: "stored": dtypes and quantisation as the files have them;
            "float32" or "bfloat16": dequantised, every weight of this type.

    Raises:
        DataError: If mlx-lm is not installed, files are missing, or it is of a kind
            that mlx-lm does not know.
    """
    try:
        import mlx_lm  # noqa: F401 - is it there?
    except ImportError as error:
        raise DataError(
            "a causal language model needs the package mlx-lm; install it with: "
            "pip install 'mlpeft[lm]'"
        ) from error
    path = model_path(where)
    model = _from_gguf(path) if path.is_file() else _from_folder(where, path)
    # Adaptation must not depend on who computes it: no dropout.
    model.eval()
    if base_dtype != "stored":
        _convert(model, mx.float32 if base_dtype == "float32" else mx.bfloat16)
    take_virtual_tokens(model)
    take_loss_positions(model)
    prepare_texts(model)
    mx.eval(model.parameters())
    return model


def is_quantised(model: nn.Module) -> bool:
    """Whether any layer holds quantised weights."""
    kinds = (nn.QuantizedLinear, nn.QuantizedEmbedding)
    return any(isinstance(module, kinds) for module in model.modules())


def _from_gguf(path: Path) -> nn.Module:
    from mlpeft.models.pretrained.gguf_llama import read_gguf_llama

    return read_gguf_llama(path)


def _from_folder(where: str, path: Path) -> nn.Module:
    from mlx_lm.utils import load_model

    model_file(where, "config.json")
    try:
        # Never the model's own Python: no code travels.
        model, _ = load_model(path, lazy=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{path} cannot be read as a language model by mlx-lm "
            f"({type(error).__name__}: {error}); expected config.json and "
            "model*.safetensors of a kind that mlx-lm knows"
        ) from error
    found: nn.Module = model
    return found


def _convert(model: nn.Module, dtype: mx.Dtype) -> None:
    """Every weight as `dtype`, quantised ones dequantised; in place."""
    from mlx_lm.utils import dequantize_model

    def cast(leaf: mx.array) -> mx.array:
        return leaf.astype(dtype) if mx.issubdtype(leaf.dtype, mx.floating) else leaf

    # Scales first: a weight is then computed in the precision that it is kept in.
    model.update(tree_map(cast, model.parameters()))
    dequantize_model(model)
