"""Hugging Face PEFT's adapter folders.

    adapter_config.json          the method and the layers that it changes
    adapter_model.safetensors    base_model.model.LAYER.LEAF

Layers are named by full paths, since several may share the end of a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import mlx.core as mx

from mlpeft.errors import ConfigError, DataError
from mlpeft.exchange import files, virtual_tokens
from mlpeft.exchange.names import layer_names
from mlpeft.models.pretrained.source import GGUF, PACKAGE
from mlpeft.peft.linear import is_experts
from mlpeft.peft.method import AdaptedLinear
from mlpeft.peft.wrap import METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from mlpeft.adapters.adapter import Adapter
    from mlpeft.config import RunConfig
    from mlpeft.exchange.names import LayerNames
    from mlpeft.params import ParamTree
    from mlpeft.peft.method import Method

    _Parts: TypeAlias = tuple[Mapping[str, mx.array], dict[str, Any], set[str]]
    """Arrays, settings, and the names of the leaves in them."""

WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PLAIN: dict[str, Any] = {
    "rank_pattern": {},
    "alpha_pattern": {},
    "bias": "none",
    "lora_bias": False,
    "layer_replication": [],
}
"""Settings of which mlpeft has one value."""
_WHOLE = ("modules_to_save", "target_parameters", "trainable_token_indices")
"""Settings that name what is trained besides the method's leaves."""
_STARTS = ("gaussian", "eva", "orthogonal")
"""Ways to begin that leave the base as it is; others, such as PiSSA, change it."""
_USE = {
    "FEATURE_EXTRACTION": """```python
from peft import PeftModel
from transformers import AutoModel

model = PeftModel.from_pretrained(AutoModel.from_pretrained(BASE), FOLDER)
```""",
    "CAUSAL_LM": """```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), FOLDER)
```""",
}


class ImportedAdapter(NamedTuple):
    """An adapter read from another library's folder.

    Attributes:
        peft: Keys of the `peft` section that wraps the base in the same way.
        leaves: The leaves by our paths, float32.
    """

    peft: dict[str, Any]
    leaves: ParamTree


def write(adapter: Adapter, folder: Path) -> None:
    """Write a folder that peft loads.

    Raises:
        ConfigError: If the format cannot hold the method or one of its leaves.
    """
    section = adapter.config.peft
    if section.method == "head" and files.has_head(adapter):
        raise ConfigError(
            "peft.method: the base is as it was, and only a head was fitted to it, so "
            "there is no adapter for Hugging Face PEFT; export with --format merged, "
            "onnx or sentence-transformers"
        )
    method = METHODS.get(section.method)
    if method is None or method.hf_type is None:
        raise ConfigError(
            f"peft.method: Hugging Face PEFT has no equivalent of {section.method}; "
            f"{_alternative(adapter)}"
        )
    names = layer_names(adapter.config)
    arrays, settings, written = (
        _virtual_tokens(adapter, names)
        if section.method in virtual_tokens.METHODS
        else _layers(adapter, method, names)
    )
    files.check_all_written(adapter, written, "Hugging Face PEFT")
    settings |= {
        "peft_type": method.hf_type,
        "task_type": names.task_type,
        "base_model_name_or_path": _base_name(str(adapter.config.model.weights)),
        "inference_mode": True,
    }
    files.write_arrays(folder, WEIGHTS, arrays)
    files.write_json(folder, files.CONFIG, settings)
    files.write_head(folder, adapter)
    files.write_card(folder, adapter, _USE[names.task_type])


def _virtual_tokens(adapter: Adapter, names: LayerNames) -> _Parts:
    table, settings, written = virtual_tokens.to_table(adapter, names)
    return {virtual_tokens.TABLE: mx.array(table)}, settings, written


def _layers(adapter: Adapter, method: Method, names: LayerNames) -> _Parts:
    layers = {
        path: module
        for path, module in sorted(adapter.model.named_modules())
        if isinstance(module, AdaptedLinear)
    }
    experts = [path for path, layer in layers.items() if is_experts(layer.linear)]
    if experts:
        raise ConfigError(
            f"peft.keys: Hugging Face PEFT has no equivalent of LoRA of experts "
            f"({experts[0]}); export with --format mlx-lm or merged, or name other "
            "layers in peft.keys"
        )
    arrays = {
        f"{_PREFIX}{names.theirs(path)}.{theirs}": method.to_hf(layer, ours)
        for path, layer in layers.items()
        for ours, theirs in method.hf_leaves.items()
    }
    written = {f"{path}.{leaf}" for path in layers for leaf in method.hf_leaves}
    theirs = {names.theirs(path): layer for path, layer in layers.items()}
    settings = method.hf_settings(adapter.config.peft, theirs)
    return arrays, {"target_modules": list(theirs), **settings}, written


def read(folder: Path, config: RunConfig) -> ImportedAdapter:
    """Read a folder that peft wrote.

    Args:
        folder: The folder.
        config: A run of the same base.

    Raises:
        DataError: If it cannot be read, or mlpeft lacks its method.
    """
    what = "expected a folder that Hugging Face PEFT wrote"
    settings = read_settings(folder)
    name = _method_name(settings)
    method = METHODS[name]
    names = layer_names(config)
    arrays = files.read_arrays(folder / WEIGHTS)
    if name in virtual_tokens.METHODS:
        table = arrays.get(virtual_tokens.TABLE)
        if table is None:
            raise DataError(f"{folder / WEIGHTS} has no {virtual_tokens.TABLE}; {what}")
        leaves = virtual_tokens.from_table(name, table, settings, names)
        peft = {"method": name, "num_virtual_tokens": len(table)}
        return ImportedAdapter(peft, leaves)
    ends = {theirs: ours for ours, theirs in method.hf_leaves.items()}
    layout: dict[str, np.ndarray] = {}
    for path, leaf in arrays.items():
        end = next((end for end in ends if path.endswith(f".{end}")), None)
        if not path.startswith(_PREFIX) or end is None:
            raise DataError(
                f"{folder / WEIGHTS} has {path!r}, which is no leaf of {name} of a "
                "linear layer; mlpeft adapts no other layers with it, so train the "
                "adapter without them"
            )
        layer = names.ours(path.removeprefix(_PREFIX).removesuffix(f".{end}"))
        layout[f"{layer}.{ends[end]}"] = leaf
    layers = sorted({path.rpartition(".")[0] for path in layout})
    return ImportedAdapter(
        {"method": name, "keys": layers, **method.hf_section(settings, layout)},
        {
            path: method.from_hf(path.rpartition(".")[2], leaf)
            for path, leaf in layout.items()
        },
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the adapter_config.json of a folder."""
    return files.read_json(
        folder / files.CONFIG,
        "expected a folder that mlx-lm or Hugging Face PEFT wrote",
    )


def _method_name(settings: dict[str, Any]) -> str:
    """Our name of a folder's method.

    Raises:
        DataError: If mlpeft lacks the method, or one of its settings.
    """
    peft_type = settings.get("peft_type")
    # A list: what a damaged file gives as the type may have no hash.
    supported = sorted({m.hf_type for m in METHODS.values() if m.hf_type})
    if peft_type not in supported:
        raise DataError(
            f"the adapter's peft_type is {peft_type!r}; mlpeft reads "
            f"{', '.join(supported)}"
        )
    for key, value in _PLAIN.items():
        if settings.get(key) not in (value, None):
            raise DataError(
                f"the adapter's {key} is {settings[key]!r}; mlpeft supports {value!r}"
            )
    for key in _WHOLE:
        if settings.get(key):
            raise DataError(
                f"the adapter's {key} is {settings[key]!r}: it holds more of the base "
                "than the leaves of its method, which mlpeft cannot read; train it "
                f"without {key}"
            )
    start = settings.get("init_lora_weights")
    if isinstance(start, str) and start.lower() not in _STARTS:
        raise DataError(
            f"the adapter's init_lora_weights is {start!r}, which changed the base's "
            "weights too, so that it fits no base but its own; convert it with peft's "
            "save_pretrained(..., path_initial_model_for_weight_conversion=...), or "
            "merge it with merge_and_unload and use the merged model as the base"
        )
    if peft_type == "LORA":
        return "dora" if settings.get("use_dora") else "lora"
    return next(name for name, method in METHODS.items() if method.hf_type == peft_type)


def _base_name(weights: str) -> str | None:
    """The base for Hugging Face's libraries; None if they cannot load it."""
    loadable = not weights.startswith(PACKAGE) and not weights.endswith(GGUF)
    return weights if loadable else None


def _alternative(adapter: Adapter) -> str:
    """Advice for a method that this format cannot hold."""
    method = METHODS.get(adapter.config.peft.method)
    if method is None or method.merges:
        return "export with --format merged"
    return "no other library reads it; keep the folder of mlpeft adapt"
