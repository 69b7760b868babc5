"""The tiny language model in NumPy, with all that attention does written out."""

from __future__ import annotations

import numpy as np

from tests.models.pretrained import tiny_lm

EPS = tiny_lm.CONFIG["rms_norm_eps"]
HEAD_DIMS = 16


def logits(
    tokens: list[int], prefixes: dict[int, tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """(length, vocabulary) of one text.

    Args:
        tokens: Its numbers.
        prefixes: Keys and values (count, dims) that layers, by their number, see before
            those of the text, and that keep their angles. The text's go on after them.
    """
    weights = tiny_lm.weights()
    embeddings = weights["model.embed_tokens.weight"]
    h = embeddings[tokens]
    for number in range(tiny_lm.CONFIG["num_hidden_layers"]):
        name = f"model.layers.{number}."
        layer = {
            key.removeprefix(name).removesuffix(".weight"): leaf
            for key, leaf in weights.items()
            if key.startswith(name)
        }
        x = _norm(h, layer["input_layernorm"])
        h = h + _attention(x, layer, prefixes.get(number))
        x = _norm(h, layer["post_attention_layernorm"])
        gate = x @ layer["mlp.gate_proj"].T
        up = x @ layer["mlp.up_proj"].T
        h = h + (gate / (1 + np.exp(-gate)) * up) @ layer["mlp.down_proj"].T
    return _norm(h, weights["model.norm.weight"]) @ embeddings.T


def _attention(
    x: np.ndarray,
    layer: dict[str, np.ndarray],
    prefix: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    keys, values = (x @ layer[f"self_attn.{part}_proj"].T for part in "kv")
    queries = x @ layer["self_attn.q_proj"].T
    count = 0 if prefix is None else len(prefix[0])
    keys = _turned(keys, count)
    if prefix is not None:
        keys = np.concatenate([prefix[0], keys])
        values = np.concatenate([prefix[1], values])
    heads = []
    for start in range(0, queries.shape[1], HEAD_DIMS):
        own = _turned(queries[:, start : start + HEAD_DIMS], count)
        out = np.zeros_like(own)
        for t, query in enumerate(own):
            seen = count + t + 1
            scores = keys[:seen] @ query / np.sqrt(HEAD_DIMS)
            weight = np.exp(scores - scores.max())
            out[t] = weight @ values[:seen] / weight.sum()
        heads.append(out)
    return np.concatenate(heads, axis=1) @ layer["self_attn.o_proj"].T


def _turned(x: np.ndarray, first: int) -> np.ndarray:
    """Rotary positions, from `first` on, of (length, HEAD_DIMS)."""
    half = HEAD_DIMS // 2
    base = tiny_lm.CONFIG["rope_theta"]
    angles = np.outer(first + np.arange(len(x)), base ** (-np.arange(half) / half))
    a, b = x[:, :half], x[:, half:]
    turned = (
        a * np.cos(angles) - b * np.sin(angles),
        a * np.sin(angles) + b * np.cos(angles),
    )
    return np.concatenate(turned, axis=1)


def _norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPS) * weight
