"""The kinds of language models that mlx-lm knows, each small enough to run in a moment.

Most arguments mean the same in every kind, so one table of sizes serves all. A kind has
an entry of its own for what it names or combines differently.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx.utils import tree_flatten

from mlpeft.errors import DataError

if TYPE_CHECKING:
    from types import ModuleType

    import mlx.nn as nn

VOCABULARY = 96
LAYERS = 4
_FULL, _SLIDING = "full_attention", "sliding_attention"
_LAYER_TYPES = [_SLIDING, _FULL, _SLIDING, _FULL]
_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
_ROPE_BY_TYPE = {_FULL: _ROPE, _SLIDING: _ROPE}

SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "num_vocab"), VOCABULARY),
    **dict.fromkeys(("vocab_size_per_layer_input",), VOCABULARY),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers"), LAYERS),
    "num_transformer_layers": LAYERS,
    **dict.fromkeys(("hidden_size", "hidden_dim", "n_embd", "d_model"), 64),
    **dict.fromkeys(("model_dim", "block_dim", "mamba_d_ssm"), 64),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_head", "n_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_kv_heads"), 2),
    **dict.fromkeys(("num_attention_groups", "n_shared_head"), 2),
    **dict.fromkeys(("head_dim", "global_head_dim", "kv_channels"), 16),
    "hidden_size_per_head": 16,
    **dict.fromkeys(("intermediate_size", "intermediate_size_mlp"), 64),
    **dict.fromkeys(("ff_intermediate_size", "ffn_hidden_size", "n_inner"), 64),
    **dict.fromkeys(("dense_intermediate_size", "shared_intermediate_size"), 64),
    **dict.fromkeys(("block_ff_dim", "moe_hidden_size"), 64),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 128),
    **dict.fromkeys(("block_size", "model_max_length"), 128),
    **dict.fromkeys(("rms_norm_eps", "layer_norm_eps", "norm_eps"), 1e-5),
    **dict.fromkeys(("layer_norm_epsilon", "layernorm_epsilon"), 1e-5),
    "post_norm_eps": 1e-5,
    **dict.fromkeys(("rope_theta", "rotary_emb_base", "swa_rope_theta"), 10_000.0),
    "rope_local_base_freq": 10_000.0,
    "rope_scaling": None,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "original_max_position_embeddings": 128,
        "llama_4_scaling_beta": 0.1,
        "partial_rotary_factor": 0.5,
    },
    **dict.fromkeys(("partial_rotary_factor", "rotary_pct"), 0.5),
    "rotary_dim": 8,
    "tie_word_embeddings": True,
    # Windows, and which layers have one.
    **dict.fromkeys(("sliding_window", "sliding_window_size", "window_size"), 8),
    "attention_window_size": 8,
    **dict.fromkeys(("sliding_window_pattern", "full_attention_interval"), 2),
    "attention_chunk_size": 8,
    "num_kv_shared_layers": 0,
    # Experts.
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    "moe_num_experts": 4,
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk"), 2),
    **dict.fromkeys(("moe_top_k", "moe_k"), 2),
    **dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("shared_expert_intermediate_size", "share_expert_dim"), 32),
    "moe_shared_expert_intermediate_size": 32,
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "num_shared_expert"), 1),
    **dict.fromkeys(("num_dense_layers", "first_k_dense_replace"), 1),
    **dict.fromkeys(("moe_layer_freq", "decoder_sparse_step"), 1),
    **dict.fromkeys(("n_group", "topk_group"), 1),
    "mlp_only_layers": [],
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
    **dict.fromkeys(("score_function", "scoring_func"), "sigmoid"),
    "topk_method": "noaux_tc",
    # Multi-head latent attention.
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim"), 8),
    "v_head_dim": 16,
    **dict.fromkeys(("index_head_dim",), 16),
    **dict.fromkeys(("index_n_heads",), 2),
    "index_topk": 8,
    # State spaces, convolutions, linear attention.
    **dict.fromkeys(("state_size", "ssm_state_size", "mamba_d_state"), 8),
    **dict.fromkeys(("mamba_d_conv", "conv_kernel", "linear_conv_kernel_dim"), 4),
    **dict.fromkeys(("conv_L_cache", "conv1d_width"), 3),
    **dict.fromkeys(("mamba_expand", "conv_window"), 2),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 4),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 16),
    **dict.fromkeys(("mamba_n_groups", "n_groups", "group_norm_size"), 1),
    **dict.fromkeys(("time_step_rank", "mamba_dt_rank"), 4),
    "time_step_limit": (0.001, 100.0),
    "layer_group_size": 2,
    **dict.fromkeys(("a_low_rank_dim", "v_low_rank_dim"), 8),
    **dict.fromkeys(("gate_low_rank_dim", "decay_low_rank_dim"), 8),
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 16),
    # Factors.
    **dict.fromkeys(("embedding_multiplier", "residual_multiplier"), 1.0),
    **dict.fromkeys(("attention_multiplier", "logits_scaling", "scale_emb"), 1.0),
    "scale_depth": 1.4,
    "dim_model_base": 64,
    "logits_soft_cap": 30.0,
    "final_logit_softcapping": 30.0,
    "output_multiplier": 1.0,
}
"""Arguments of one meaning in every kind; 64 numbers a token, 4 layers of 4 heads."""

OWN: dict[str, dict[str, Any]] = {
    "afm7": {"num_kv_reuse_layers": 2},
    "afmoe": {"layer_types": _LAYER_TYPES},
    "baichuan_m1": {"sliding_window_layers": [0, 2], "tie_word_embeddings": False},
    "dbrx": {
        "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10_000.0},
    },
    "deepseek": {"num_key_value_heads": 4},
    "deepseek_v2": {
        "topk_method": "gready",
        "rope_scaling": {
            "type": "yarn",
            "factor": 2.0,
            "original_max_position_embeddings": 64,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "beta_fast": 32,
            "beta_slow": 1,
        },
    },
    "exaone4": {"sliding_window_pattern": "LG"},
    "exaone_moe": {"layer_types": _LAYER_TYPES, "is_moe_layer": [False, *[True] * 3]},
    "gear": {"layer_types": ["conv", _FULL, "conv", _FULL]},
    "gemma3n": {
        "layer_types": _LAYER_TYPES,
        "activation_sparsity_pattern": [0.5, 0.5, 0.0, 0.0],
        "hidden_size_per_layer_input": 8,
        "altup_num_inputs": 2,
        "altup_coef_clip": 120.0,
        "altup_correct_scale": True,
        "altup_active_idx": 0,
        "laurel_rank": 8,
        "num_kv_shared_layers": 2,
    },
    "gemma4_text": {
        "layer_types": _LAYER_TYPES,
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 2,
        "rope_parameters": _ROPE_BY_TYPE,
    },
    "gptj": {"n_inner": None},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2},
    "hunyuan": {
        "use_cla": True,
        "cla_share_factor": 2,
        "use_mixed_mlp_moe": True,
        "rope_scaling": {"type": "dynamic", "alpha": 1000.0, "factor": 1.0},
    },
    "jamba": {
        "attn_layer_offset": 1,
        "attn_layer_period": 2,
        "expert_layer_offset": 1,
        "expert_layer_period": 2,
    },
    "kimi_k3": {
        "activation_situ_beta": 4.0,
        "activation_situ_linear_beta": 25.0,
        "attn_res_block_size": 2,
        "linear_attn_config": {
            "kda_layers": [1, 3],
            "full_attn_layers": [2, 4],
            "num_heads": 4,
            "head_dim": 16,
            "short_conv_kernel_size": 4,
        },
    },
    "kimi_linear": {
        "linear_attn_config": {
            "kda_layers": [1, 3],
            "full_attn_layers": [2, 4],
            "num_heads": 4,
            "head_dim": 16,
            "short_conv_kernel_size": 4,
        },
    },
    "lfm2": {
        "block_multiple_of": 8,
        "block_ffn_dim_multiplier": 1.0,
        "full_attn_idxs": [1, 3],
    },
    "lfm2_moe": {"full_attn_idxs": [1, 3]},
    "llama4": {"interleave_moe_layer_step": 2, "num_experts_per_tok": 1},
    "llama4_text": {"no_rope_layers": [1, 0, 1, 0]},
    "longcat_flash": {
        "attention_method": "MLA",
        "zero_expert_type": "identity",
        "zero_expert_num": 2,
        "mla_scale_q_lora": True,
        "mla_scale_kv_lora": True,
    },
    "longcat_flash_ngram": {
        "zero_expert_num": 2,
        "ngram_vocab_size_ratio": 2,
        "mla_scale_q_lora": True,
        "mla_scale_kv_lora": True,
    },
    "mellum": {"layer_types": _LAYER_TYPES, "rope_parameters": _ROPE_BY_TYPE},
    "mimo_v2_flash": {
        "hybrid_layer_pattern": [1, 0, 1, 0],
        "moe_layer_freq": [0, 1, 1, 1],
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 2,
        "swa_head_dim": 16,
        "swa_v_head_dim": 16,
        "add_swa_attention_sink_bias": True,
    },
    "minicpm": {"tie_word_embeddings": False},
    "minicpm3": {"rope_scaling": {"original_max_position_embeddings": 128}},
    "minimax_m3_vl": {"moe_layer_freq": [0, 1, 1, 1], "index_n_heads": None},
    "muse_glimmer": {"layer_types": _LAYER_TYPES},
    "muse_spark": {
        "layer_types": _LAYER_TYPES,
        "layer_rope_theta": [10_000.0, 0.0, 10_000.0, 0.0],
        "num_shared_experts": 0,
    },
    "nemotron": {"hidden_act": "relu2"},
    "nemotron-nas": {
        "block_configs": [
            {"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.0}},
            {"attention": {"no_op": True}, "ffn": {"ffn_mult": 1.0}},
            {
                "attention": {"replace_with_linear": True},
                "ffn": {"replace_with_linear": True},
            },
            {"attention": {"n_heads_in_group": 2}, "ffn": {"no_op": True}},
        ]
    },
    "nemotron_h": {"hybrid_override_pattern": ["M", "*", "E", "-"]},
    "olmo_hybrid": {"layer_types": ["linear_attention", _FULL] * 2},
    "openelm": {
        "num_query_heads": [4] * LAYERS,
        "num_kv_heads": [2] * LAYERS,
        "ffn_multipliers": [1.0] * LAYERS,
        "ffn_dim_divisor": 8,
    },
    "phi3small": {
        "dense_attention_every_n_layers": 2,
        "gegelu_limit": 20.0,
        "vocab_size": 100_352,  # it writes to fixed ids, else past the end
    },
    "qwen": {"intermediate_size": 128},
    "qwen3_5": {"num_experts": 0},
    "qwen3_5_moe": {"num_experts": 4},
    "qwen3_vl_moe": {"tie_word_embeddings": False},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "spark2_5": {"layer_types": _LAYER_TYPES, "rope_parameters": _ROPE_BY_TYPE},
    "step3p5": {"layer_types": _LAYER_TYPES},
}
"""What a kind names or combines differently."""

TEXT_KINDS = {
    "gemma3": "gemma3_text",
    "gemma3n": None,
    "gemma4": "gemma4_text",
    "kimi_k25": "deepseek_v3",
    "lfm2-vl": "lfm2",
    "mistral3": "llama",
    "pixtral": "llama",
    "qwen2_vl": "qwen2",
    "qwen3_5_moe": "qwen3_5",
    "qwen3_vl": "qwen3",
    "qwen3_vl_moe": "qwen3_moe",
}
"""Kinds with pictures, or with another model's text part: the kind of that part."""
UNBUILT = {"prism_hadamard_qwen35": "its weights exist only packed"}
"""Kinds without random weights, and why."""
_TEXT_ARGUMENTS = ("TextArgs", "TextConfig", "TextModelArgs")


def all_kinds() -> list[str]:
    """The kinds of language models, by the name of mlx-lm's module."""
    import mlx_lm.models

    names = (entry.name for entry in pkgutil.iter_modules(mlx_lm.models.__path__))
    return [name for name in sorted(names, key=str.lower) if _is_kind(name)]


def small_config(kind: str, **changes: Any) -> dict[str, Any]:
    """A config.json of a kind, with small sizes.

    Raises:
        DataError: If it cannot be built with random weights.
    """
    if kind in UNBUILT:
        raise DataError(UNBUILT[kind])
    module = _module(kind)
    own = OWN.get(kind, {}) | changes
    if "text_config" not in _names(module.ModelArgs):
        return _arguments(module.ModelArgs, kind, own)
    text_kind = TEXT_KINDS.get(kind)
    if text_kind is not None:
        text = small_config(text_kind, **own)
        text = text.get("text_config", text)
    else:
        text = _arguments(_text_arguments(module), kind, own)
    return _arguments(module.ModelArgs, kind, {"text_config": text})


def small_model(kind: str, **changes: Any) -> nn.Module:
    """A model of a kind with small sizes and random weights, in evaluation mode."""
    module = _module(kind)
    mx.random.seed(0)
    model: nn.Module = module.Model(
        module.ModelArgs.from_dict(small_config(kind, **changes))
    )
    _fill_zeros(model)
    model.eval()
    return model


def _fill_zeros(model: nn.Module) -> None:
    """Random values for leaves that start as zero, such as biases and convolutions.

    Else a kind could ignore what a test changes before them.
    """
    filled = [
        (name, 0.1 * mx.random.normal(leaf.shape).astype(leaf.dtype))
        for name, leaf in tree_flatten(model.parameters())
        if mx.issubdtype(leaf.dtype, mx.floating) and not mx.any(leaf).item()
    ]
    model.load_weights(filled, strict=False)


def _arguments(cls: type, kind: str, own: dict[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {"model_type": kind}
    for field in dataclasses.fields(cls):
        if field.name in own:
            arguments[field.name] = own[field.name]
        elif field.name in SIZES:
            arguments[field.name] = SIZES[field.name]
        elif _required(field) and field.type in (bool, "bool"):
            arguments[field.name] = False
    return arguments


def _required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _names(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def _text_arguments(module: ModuleType) -> type:
    found: type = next(
        getattr(module, name) for name in _TEXT_ARGUMENTS if hasattr(module, name)
    )
    return found


def _module(kind: str) -> ModuleType:
    try:
        return importlib.import_module(f"mlx_lm.models.{kind}")
    except SystemExit as error:  # of a kind that needs another package
        raise DataError(f"mlx-lm needs another package for {kind}") from error


def _is_kind(name: str) -> bool:
    try:
        module = _module(name)
    except DataError:
        return True
    return hasattr(module, "Model") and hasattr(module, "ModelArgs")
