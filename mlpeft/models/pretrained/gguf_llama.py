"""A Llama-type language model from a GGUF file, as mlx-lm's module.

ggml permutes the rows of the query and key projections so that rotary positions act on
adjacent pairs. Here they return to the order of the Hugging Face checkpoint, so that an
adapter learned on the GGUF file also fits the checkpoint.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn

from mlpeft.errors import DataError
from mlpeft.models.pretrained.gguf import GROUP_SIZE, Gguf, quantised_bits, read_gguf

if TYPE_CHECKING:
    from pathlib import Path

_RENAMED = (
    (r"^token_embd\.", "model.embed_tokens."),
    (r"^output_norm\.", "model.norm."),
    (r"^output\.", "lm_head."),
    (r"^blk\.(\d+)\.", r"model.layers.\1."),
    (r"\.attn_(q|k|v)\.", r".self_attn.\1_proj."),
    (r"\.attn_output\.", ".self_attn.o_proj."),
    (r"\.ffn_(gate|up|down)\.", r".mlp.\1_proj."),
    (r"\.attn_norm\.", ".input_layernorm."),
    (r"\.ffn_norm\.", ".post_attention_layernorm."),
)
_UNUSED = ("rope_freqs.weight",)


def read_gguf_llama(path: Path) -> nn.Module:
    """Read the model of a GGUF file, with the file's quantisation.

    Raises:
        DataError: If it is not a Llama-type model, or its weights do not match its
            metadata.
    """
    from mlx_lm.models.llama import Model, ModelArgs

    gguf = read_gguf(path)
    if gguf.value("general.architecture") != "llama":
        raise DataError(
            f"{path} is a {gguf.value('general.architecture')!r} model; only the "
            "architecture 'llama' is supported from GGUF: use the model's Hugging "
            "Face folder, from which mlx-lm reads many architectures"
        )
    settings = _read_settings(gguf)
    heads = {
        "q_proj": settings["num_attention_heads"],
        "k_proj": settings["num_key_value_heads"],
    }
    weights = {
        name: _unpermute(name, leaf, heads)
        for name, leaf in (
            (_rename(ggml_name), leaf)
            for ggml_name, leaf in gguf.weights.items()
            if ggml_name not in _UNUSED
        )
    }
    settings["tie_word_embeddings"] = "lm_head.weight" not in weights
    model: nn.Module = Model(ModelArgs.from_dict(settings))

    def quantisation(name: str, module: nn.Module) -> bool | dict[str, int]:
        bits = quantised_bits(weights, name)
        if bits is None or not hasattr(module, "to_quantized"):
            return False
        return {"group_size": GROUP_SIZE, "bits": bits}

    nn.quantize(model, class_predicate=quantisation)
    try:
        model.load_weights(list(weights.items()))
    except ValueError as error:
        raise DataError(
            f"the weights of {path} do not match its metadata: {error}"
        ) from error
    return model


def _read_settings(gguf: Gguf) -> dict[str, Any]:
    """mlx-lm's settings of the model, named as in Hugging Face's config.json."""
    heads = int(gguf.value("llama.attention.head_count"))
    vocabulary = gguf.metadata.get("llama.vocab_size")
    if vocabulary is None:
        vocabulary = len(gguf.value("tokenizer.ggml.tokens"))
    scaling = [key for key in gguf.metadata if key.startswith("llama.rope.scaling.")]
    if scaling:
        raise DataError(
            f"{gguf.path} scales its rotary positions ({scaling[0]}), which is not "
            "supported from GGUF; use the model's Hugging Face folder"
        )
    return {
        "model_type": "llama",
        "hidden_size": int(gguf.value("llama.embedding_length")),
        "num_hidden_layers": int(gguf.value("llama.block_count")),
        "intermediate_size": int(gguf.value("llama.feed_forward_length")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(
            gguf.metadata.get("llama.attention.head_count_kv", heads)
        ),
        "rms_norm_eps": float(gguf.value("llama.attention.layer_norm_rms_epsilon")),
        "vocab_size": int(vocabulary),
        "max_position_embeddings": int(gguf.value("llama.context_length")),
        "rope_theta": float(gguf.metadata.get("llama.rope.freq_base", 10_000.0)),
    }


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _unpermute(name: str, leaf: mx.array, heads: dict[str, int]) -> mx.array:
    """Reorder rows of a query or key projection from pairs to halves of a head."""
    count = heads.get(name.split(".")[-2])
    if count is None:
        return leaf
    pairs = leaf.reshape(count, leaf.shape[0] // count // 2, 2, *leaf.shape[1:])
    return pairs.swapaxes(1, 2).reshape(leaf.shape)
