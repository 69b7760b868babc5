"""Causal language models: mlx-lm's modules, from a folder, the hub or a GGUF file.

The module is mlx-lm's own, so its layers (`model.layers.0.self_attn.q_proj`) have the
names that mlx-lm expects in an adapter. It maps token ids (n, length) to logits
(n, length, vocabulary).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map

from mlpeft.errors import DataError
from mlpeft.files import parse_json_object
from mlpeft.models.pretrained.frozen_layers import enable_frozen_layers
from mlpeft.models.pretrained.loss_positions import enable_loss_positions
from mlpeft.models.pretrained.rope_settings import older_rope_settings
from mlpeft.models.pretrained.source import model_file, model_path
from mlpeft.models.pretrained.virtual_tokens import enable_virtual_tokens

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.platform import BaseDtype

logger = logging.getLogger(__name__)


def read_causal_lm(source: str, base_dtype: BaseDtype = "float32") -> nn.Module:
    """Read a language model from a folder, the hub or a GGUF file.

    Args:
        source: See `mlpeft.models.pretrained.source`.
        base_dtype: "stored": the files' dtypes and quantisation; "float32" or
            "bfloat16": dequantised, every weight of this dtype.

    Raises:
        DataError: If mlx-lm is not installed or does not know the architecture, or
            files are missing.
    """
    try:
        import mlx_lm  # noqa: F401 - is it installed?
    except ImportError as error:
        raise DataError(
            "a causal language model needs the package mlx-lm; install it with: "
            "pip install 'mlpeft[lm]'"
        ) from error
    path = model_path(source)
    model = _read_gguf(path) if path.is_file() else _read_folder(source, path)
    # Adaptation must not depend on the machine: no dropout.
    model.eval()
    if base_dtype != "stored":
        _convert(model, mx.float32 if base_dtype == "float32" else mx.bfloat16)
    enable_all(model)
    mx.eval(model.parameters())
    return model


def enable_all(model: nn.Module) -> None:
    """Add what mlpeft needs of a language model in place, as far as its kind allows."""
    for module in model.modules():
        if not hasattr(module, "_no_grad"):
            # A kind of mlx-lm whose constructor forgets that of its base class.
            nn.Module.__init__(module)
    enable_virtual_tokens(model)
    enable_loss_positions(model)
    enable_frozen_layers(model)


def is_quantised(model: nn.Module) -> bool:
    """Whether any layer holds quantised weights."""
    kinds = (nn.QuantizedLinear, nn.QuantizedEmbedding)
    return any(isinstance(module, kinds) for module in model.modules())


def _read_gguf(path: Path) -> nn.Module:
    from mlpeft.models.pretrained.gguf_llama import read_gguf_llama

    return read_gguf_llama(path)


def _read_folder(source: str, path: Path) -> nn.Module:
    from mlx_lm.utils import load_model

    config = model_file(source, "config.json")
    model: nn.Module
    try:
        added = older_rope_settings(parse_json_object(config.read_bytes()))
        # Never run the model's own Python: no code travels.
        model, _ = load_model(
            path, lazy=True, model_config=added, trust_remote_code=False
        )
    except SystemExit as error:  # mlx-lm ends the process if a package is missing
        raise DataError(
            f"mlx-lm cannot read {path}: this kind of model needs another package, "
            "which mlx-lm names above"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(
            f"mlx-lm cannot read {path} as a language model "
            f"({type(error).__name__}: {error}); expected config.json and "
            "model*.safetensors of an architecture that mlx-lm knows"
        ) from error
    return model


def _convert(model: nn.Module, dtype: mx.Dtype) -> None:
    """Dequantise weights and cast them to `dtype`, in place."""
    from mlx_lm.utils import dequantize_model

    def cast(leaf: mx.array) -> mx.array:
        return leaf.astype(dtype) if mx.issubdtype(leaf.dtype, mx.floating) else leaf

    # Scales first, so that weights are dequantised in their final precision.
    model.update(tree_map(cast, model.parameters()))
    dequantize_model(model)
