"""Soft prompts and prefixes as Hugging Face PEFT has them: one table.

`prompt_embeddings` has a row for each virtual token: its embedding, or all layers' keys
and values in turn.
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
    """The table, its part of an adapter_config.json, and the leaves that are in it.

    Raises:
        ConfigError: If peft cannot put such prefixes into such a base.
    """
    section = adapter.config.peft
    settings: dict[str, Any] = {
        "num_virtual_tokens": section.num_virtual_tokens,
        "num_transformer_submodules": 1,
    }
    if section.method == "prompt":
        path = _PROMPT[names.task_type]
        table = np.asarray(adapter.leaves[path])
        return table, settings | {"token_dim": table.shape[1]}, {path}
    takers = [module for module in adapter.model.modules() if _takes_prefix(module)]
    paths = _prefix_paths({block(path) for path in adapter.leaves} - {None})
    if names.task_type != "CAUSAL_LM" or len(paths) != 2 * len(takers):
        raise ConfigError(
            "peft.method: Hugging Face PEFT has prefixes in all layers of a causal_lm "
            "and nowhere else; keep the folder of mlpeft adapt"
        )
    table = np.concatenate([np.asarray(adapter.leaves[path]) for path in paths], axis=1)
    settings |= {
        "token_dim": takers[0].prefix_dims,
        "num_layers": len(takers),
        "num_attention_heads": takers[0].n_kv_heads,
        "prefix_projection": False,
    }
    return table, settings, set(paths)


def from_table(
    method: str, table: np.ndarray, settings: dict[str, Any], names: LayerNames
) -> ParamTree:
    """The leaves by our paths.

    Raises:
        DataError: If the table is made in a way that ours is not.
    """
    if method == "prompt":
        return {_PROMPT[names.task_type]: table}
    layers = settings.get("num_layers")
    projected = settings.get("prefix_projection")
    if projected or not layers or table.shape[1] % (2 * layers):
        raise DataError(
            f"the adapter's prefix_projection is {projected!r}, num_layers {layers!r} "
            f"and its table {table.shape}; mlpeft reads prefixes without a projection"
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
