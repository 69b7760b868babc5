"""A whole model with the adapter merged in: a folder like the base's own.

An encoder's file has the names and all the leaves of the base's; mlx-lm writes a
language model, dequantised.
"""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx.utils import tree_flatten

from mlpeft.exchange import files
from mlpeft.exchange.names import ENCODER, layer_names
from mlpeft.models.pretrained.encoder_weights import is_used, our_name
from mlpeft.models.pretrained.gguf import read_gguf_tokenizer
from mlpeft.models.pretrained.rope_settings import older_rope_settings
from mlpeft.models.pretrained.source import model_folder, model_path, weight_files
from mlpeft.peft.wrap import merge

if TYPE_CHECKING:
    from pathlib import Path

    import mlx.nn as nn

    from mlpeft.adapters.adapter import Adapter

WEIGHTS = "model.safetensors"
_TEXT_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
"""A model's files beside the weights: settings, tokenizer, chat template."""
_USE = "Use this folder instead of the base's."
_GENERATE = """

```bash
mlx_lm.generate --model FOLDER {prompt}
```"""


def write(adapter: Adapter, folder: Path) -> None:
    """Write a folder of the merged model.

    Raises:
        ConfigError: If the run's model has no pretrained base, or the method cannot be
            merged.
    """
    config = adapter.config
    layer_names(config)  # raises without a pretrained base
    model = adapter.build_model()
    merge(model, config.peft)
    use = _USE
    if config.model.backbone == "causal_lm":
        _write_language_model(model, adapter, folder)
        use += _GENERATE.format(prompt=files.prompt_option(config))
    else:
        _write_encoder(model, str(config.model.weights), folder)
    files.write_head(folder, adapter)
    files.write_card(folder, adapter, use)


def _write_encoder(model: nn.Module, weights: str, folder: Path) -> None:
    merged = dict(tree_flatten(model.parameters()))
    base: Any = mx.load(str(weight_files(weights)[0]))
    arrays = {
        name: merged[ENCODER + our_name(name)].astype(leaf.dtype)
        if is_used(our_name(name))
        else leaf
        for name, leaf in base.items()
    }
    _copy_text_files(model_folder(weights), folder)
    files.write_arrays(folder, WEIGHTS, arrays)


def _write_language_model(model: nn.Module, adapter: Adapter, folder: Path) -> None:
    from mlx_lm.utils import dequantize_model, load_config, save_config, save_model

    path = model_path(str(adapter.config.model.weights))
    model = dequantize_model(model)
    if path.is_file():
        settings = _write_gguf_texts(model, path, folder)
    else:
        settings = load_config(path)
        settings |= older_rope_settings(settings)  # mlx-lm reads these alone
        _copy_text_files(path, folder)
    for key in ("quantization", "quantization_config"):
        settings.pop(key, None)
    save_config(settings, folder / "config.json")
    save_model(folder, model)


def _write_gguf_texts(model: nn.Module, file: Path, folder: Path) -> dict[str, Any]:
    """Write the tokenizer of a GGUF file; its model's config.json."""
    tokenizer, end = read_gguf_tokenizer(file)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer_config: dict[str, str | None] = {
        "tokenizer_class": "PreTrainedTokenizerFast"
    }
    if end is not None:
        tokenizer_config["eos_token"] = tokenizer.id_to_token(end)
    files.write_json(folder, "tokenizer_config.json", tokenizer_config)
    settings: dict[str, Any] = dataclasses.asdict(model.args)
    present = {key: value for key, value in settings.items() if value is not None}
    return present | {"eos_token_id": end}


def _copy_text_files(source: Path, folder: Path) -> None:
    for pattern in _TEXT_FILES:
        for file in source.glob(pattern):
            if not file.name.endswith(".index.json"):
                shutil.copyfile(file, folder / file.name)
    pooling = source / "1_Pooling"
    if pooling.is_dir():
        shutil.copytree(pooling, folder / pooling.name, dirs_exist_ok=True)
