"""A Hugging Face folder of an encoder so small that tests can train it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from pathlib import Path

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}


def weights(**sizes: int) -> dict[str, np.ndarray]:
    """Random weights by Hugging Face's names; `sizes` in place of CONFIG's."""
    rng = np.random.default_rng(0)
    config = CONFIG | sizes
    size, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], size),
        "embeddings.position_embeddings.weight": (40, size),
        "embeddings.token_type_embeddings.weight": (2, size),
        "embeddings.LayerNorm.weight": (size,),
        "embeddings.LayerNorm.bias": (size,),
        "pooler.dense.weight": (size, size),
    }
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}."
        for part, outputs, inputs in (
            ("attention.self.query", size, size),
            ("attention.self.key", size, size),
            ("attention.self.value", size, size),
            ("attention.output.dense", size, size),
            ("intermediate.dense", inner, size),
            ("output.dense", size, inner),
        ):
            shapes[f"{name}{part}.weight"] = (outputs, inputs)
            shapes[f"{name}{part}.bias"] = (outputs,)
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{name}{part}.weight"] = (size,)
            shapes[f"{name}{part}.bias"] = (size,)
    return {
        name: rng.normal(size=shape).astype(np.float32) * 0.3
        for name, shape in shapes.items()
    }


def write(folder: Path, **changes: Any) -> Path:
    """Write the folder; `changes` go into config.json."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    save_file(weights(), folder / "model.safetensors")
    return folder


def write_tokenizer(folder: Path, *words: str) -> Path:
    """Write a tokenizer.json: [PAD] is 0, [UNK] 1, and the words follow.

    Skips the test where the package `tokenizers` is missing.
    """
    tokenizers = pytest.importorskip("tokenizers")
    numbers = {word: number for number, word in enumerate(("[PAD]", "[UNK]", *words))}
    model = tokenizers.models.WordLevel(numbers, unk_token="[UNK]")  # noqa: S106
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
