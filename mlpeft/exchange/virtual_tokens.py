"""Soft prompts and prefixes in Hugging Face PEFT's form: one table.

`prompt_embeddings` has a row per virtual token: its embedding, or the keys and values
of all layers in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.errors import ConfigError, DataError
from mlpeft.peft.prefix import TakesPrefix
from mlpeft.peft.targets import block

if TYPE_CHECKING:
    from mlpeft.adapters.adapter import Adapter
    from mlpeft.exchange.names import LayerNames
    from mlpeft.params import ParamTree

TABLE = "prompt_embeddings"
METHODS = ("prompt", "prefix")
_PROMPT = {
    "FEATURE_EXTRACTION": "encoder.soft_prompt",
    "CAUSAL_LM": "model.soft_prompt",
}
_PARTS = ("keys", "values")


def to_table(
    adapter: Adapter, names: LayerNames
) -> tuple[np.ndarray, dict[str, Any], set[str]]:
    """The table, its part of adapter_config.json, and the names of its leaves.

    Raises:
        ConfigError: If peft cannot apply these prefixes to this base.
    """
    section = adapter.config.peft
    settings: dict[str, Any] = {
        "num_virtual_tokens": section.num_virtual_tokens,
        "num_transformer_submodules": 1,
    }
    if section.method == "prompt":
        # Some language models keep theirs deeper than "model.soft_prompt".
        (path,) = (name for name in adapter.leaves if name.endswith("soft_prompt"))
        table = np.asarray(adapter.leaves[path])
        return table, settings | {"token_dim": table.shape[1]}, {path}
    attentions = [module for module in adapter.model.modules() if _takes_prefix(module)]
    paths = _prefix_paths({block(path) for path in adapter.leaves} - {None})
    if names.task_type != "CAUSAL_LM" or len(paths) != 2 * len(attentions):
        raise ConfigError(
            "peft.method: Hugging Face PEFT supports prefixes only in all layers of a "
            "causal_lm; keep the folder of mlpeft adapt"
        )
    table = np.concatenate([np.asarray(adapter.leaves[path]) for path in paths], axis=1)
    settings |= {
        "token_dim": attentions[0].prefix_dims,
        "num_layers": len(attentions),
        "num_attention_heads": attentions[0].n_kv_heads,
        "prefix_projection": False,
    }
    return table, settings, set(paths)


def from_table(
    method: str, table: np.ndarray, settings: dict[str, Any], names: LayerNames
) -> ParamTree:
    """Split a table into leaves by our paths.

    Raises:
        DataError: If the table has another shape than ours.
    """
    if method == "prompt":
        return {_PROMPT[names.task_type]: table}
    layers = settings.get("num_layers")
    # With prefix_projection too, peft writes what its perceptron has computed.
    if not layers or table.shape[1] % (2 * layers):
        raise DataError(
            f"the adapter's num_layers is {layers!r} and its table {table.shape}; "
            "expected the keys and values of all layers beside each other"
        )
    paths = _prefix_paths(set(range(layers)))
    parts = np.split(table, 2 * layers, axis=1)
    return dict(zip(paths, map(np.ascontiguousarray, parts), strict=True))


def _prefix_paths(layers: set[Any]) -> list[str]:
    return [
        f"model.layers.{layer}.self_attn.prefix_{part}"
        for layer in sorted(layers)
        for part in _PARTS
    ]


def _takes_prefix(module: object) -> bool:
    return isinstance(module, TakesPrefix)
