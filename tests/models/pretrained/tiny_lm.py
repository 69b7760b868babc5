"""A Llama so small that tests can train it: as a Hugging Face folder, and as GGUF."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from pathlib import Path

    import mlx.nn as nn

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "eos_token_id": 0,
}
LETTERS = "abcdefghijklmnopqrstuvwxyz ,.!?"
TOKENS = ["<end>", *LETTERS.replace(" ", "Ġ"), "ab"]
_GGUF = (
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("model.layers.", "blk."),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.", "attn_"),
    ("mlp.", "ffn_"),
    ("_proj", ""),
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
)


def weights() -> dict[str, np.ndarray]:
    """Random weights by Hugging Face's names."""
    rng = np.random.default_rng(0)
    size, inner, kv = 32, 64, 16
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (CONFIG["vocab_size"], size),
        "model.norm.weight": (size,),
    }
    for layer in range(CONFIG["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        for part, shape in (
            ("self_attn.q_proj", (size, size)),
            ("self_attn.k_proj", (kv, size)),
            ("self_attn.v_proj", (kv, size)),
            ("self_attn.o_proj", (size, size)),
            ("mlp.gate_proj", (inner, size)),
            ("mlp.up_proj", (inner, size)),
            ("mlp.down_proj", (size, inner)),
            ("input_layernorm", (size,)),
            ("post_attention_layernorm", (size,)),
        ):
            shapes[f"{name}{part}.weight"] = shape
    return {
        name: (rng.normal(size=shape) * 0.3 + (len(shape) == 1)).astype(np.float32)
        for name, shape in shapes.items()
    }


def write(folder: Path, **changes: Any) -> Path:
    """Write the folder; `changes` go into config.json."""
    import tokenizers

    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    save_file(weights(), folder / "model.safetensors")
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [("a", "b")]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False
    )
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def of_kind(kind: str, **changes: Any) -> nn.Module:
    """A model of another kind that mlx-lm knows, with random weights."""
    module = importlib.import_module(f"mlx_lm.models.{kind}")
    config = CONFIG | {"model_type": kind, "head_dim": 16} | changes
    mx.random.seed(0)
    model: nn.Module = module.Model(module.ModelArgs.from_dict(config))
    model.eval()
    return model


def write_gguf(file: Path, **metadata: Any) -> Path:
    """Write the same model as ggml's converters would; `metadata` on top."""
    heads = {"q_proj": 2, "k_proj": 1}
    stored = {}
    for name, leaf in weights().items():
        rows, count = leaf, heads.get(name.split(".")[-2])
        if count is not None:
            halves = leaf.reshape(count, 2, len(leaf) // count // 2, -1)
            rows = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(leaf.shape)
        stored[_ggml_name(name)] = mx.array(rows)
    known = {
        "general.architecture": "llama",
        "llama.embedding_length": mx.array(32, mx.uint32),
        "llama.block_count": mx.array(2, mx.uint32),
        "llama.feed_forward_length": mx.array(64, mx.uint32),
        "llama.attention.head_count": mx.array(2, mx.uint32),
        "llama.attention.head_count_kv": mx.array(1, mx.uint32),
        "llama.attention.layer_norm_rms_epsilon": mx.array(1e-5, mx.float32),
        "llama.context_length": mx.array(128, mx.uint32),
        "llama.vocab_size": mx.array(40, mx.uint32),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": mx.array([3] + [1] * (len(LETTERS) + 1), mx.int32),
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": mx.array(0, mx.uint32),
    }
    mx.save_gguf(str(file), stored, known | metadata)
    return file


def _ggml_name(name: str) -> str:
    for theirs, ggml in _GGUF:
        name = name.replace(theirs, ggml)
    return name
