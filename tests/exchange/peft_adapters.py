"""Adapters of many kinds as Hugging Face PEFT writes them. Needs torch and peft.

    python peft_adapters.py BASE IN.npz OUT

BASE is an encoder. OUT gets a folder for each kind, with the moved adapter, and in
`outputs.npz` the embeddings that peft computes with it for IN.npz's `tokens`; besides,
a Llama in `llama`, and adapters of it, with their logits. A kind that needs a package
which is not installed is left out.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import peft
import torch
import transformers

TARGETS = ["query", "value"]
KINDS = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "layers_to_transform": {"layers_to_transform": [1], "layers_pattern": "layer"},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "rank_pattern": {"rank_pattern": {"query": 3}},
    "alpha_pattern": {"alpha_pattern": {"query": 3}},
    "bias": {"bias": "lora_only"},
    "lora_bias": {"lora_bias": True},
    "modules_to_save": {"modules_to_save": ["word_embeddings"]},
    "trainable_tokens": {
        "trainable_token_indices": {"word_embeddings": [3, 4]},
    },
    "no_r": {"r": 8, "lora_alpha": 8},
    "not_finite": {},
    "pickled": {},
    "ia3": None,
}
LLAMA = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "rope_theta": 500.0,
    "tie_word_embeddings": True,
}
LANGUAGE = {
    "lm_lora": (peft.LoraConfig, {"r": 2, "target_modules": "all-linear"}),
    "lm_dora": (peft.LoraConfig, {"r": 2, "use_dora": True}),
    "lm_ia3": (peft.IA3Config, {}),
    "lm_prompt": (peft.PromptTuningConfig, {"num_virtual_tokens": 3}),
    "lm_prefix": (peft.PrefixTuningConfig, {"num_virtual_tokens": 3}),
    "lm_projected": (
        peft.PrefixTuningConfig,
        {"num_virtual_tokens": 3, "prefix_projection": True, "encoder_hidden_size": 8},
    ),
    "lm_p_tuning": (
        peft.PromptEncoderConfig,
        {"num_virtual_tokens": 3, "encoder_hidden_size": 8},
    ),
    "lm_embeddings": (peft.LoraConfig, {"r": 2, "target_modules": ["embed_tokens"]}),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("base", "given", "output"):
        parser.add_argument(name)
    args = parser.parse_args()
    tokens = torch.from_numpy(np.load(args.given)["tokens"].astype(np.int64))
    outputs = {}
    for kind, keys in KINDS.items():
        base = transformers.AutoModel.from_pretrained(args.base, dtype=torch.float32)
        model = moved(base, config(keys))
        save(model, Path(args.output, kind))
        outputs[kind] = embeddings(model, tokens)
    outputs |= language_models(Path(args.output), tokens)
    np.savez(Path(args.output, "outputs.npz"), **outputs)


def language_models(output: Path, tokens: torch.Tensor) -> dict[str, np.ndarray]:
    """Write a Llama and its adapters; the logits of each."""
    torch.manual_seed(0)
    base = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))
    base.save_pretrained(output / "llama")
    outputs = {"llama": logits(base.eval(), tokens)}
    for kind, (cls, keys) in LANGUAGE.items():
        base = transformers.AutoModelForCausalLM.from_pretrained(
            output / "llama", dtype=torch.float32
        )
        model = moved(base, cls(task_type=peft.TaskType.CAUSAL_LM, **keys))
        model.save_pretrained(output / kind)
        outputs[kind] = logits(model, tokens)
    return outputs


def moved(base: torch.nn.Module, settings: peft.PeftConfig) -> peft.PeftModel:
    torch.manual_seed(0)
    model = peft.get_peft_model(base, settings).eval()
    with torch.no_grad():
        for name, leaf in model.named_parameters():
            if any(part in name for part in ("lora_", "ia3_", "prompt_encoder")):
                leaf.add_(0.1 * torch.randn_like(leaf))
    return model


def save(model: peft.PeftModel, folder: Path) -> None:
    """Save as a kind's name says."""
    if folder.name == "not_finite":
        leaf = next(p for name, p in model.named_parameters() if "lora_A" in name)
        leaf.data[0, 0] = float("nan")
    model.save_pretrained(folder)
    weights = folder / "adapter_model.safetensors"
    if folder.name == "pickled":  # as peft wrote before 0.5
        torch.save(peft.get_peft_model_state_dict(model), weights.with_suffix(".bin"))
        weights.unlink()
    if folder.name == "no_r":
        settings = json.loads((folder / "adapter_config.json").read_text())
        del settings["r"]
        (folder / "adapter_config.json").write_text(json.dumps(settings))


def config(keys: dict | None) -> peft.PeftConfig:
    task = peft.TaskType.FEATURE_EXTRACTION
    if keys is None:
        return peft.IA3Config(
            task_type=task,
            target_modules=["key", "value", "output.dense"],
            feedforward_modules=["output.dense"],
        )
    return peft.LoraConfig(
        **{"task_type": task, "r": 2, "lora_alpha": 5, "target_modules": TARGETS} | keys
    )


def logits(model: torch.nn.Module, tokens: torch.Tensor) -> np.ndarray:
    """Of the tokens alone, not of a prompt in front of them."""
    mask = (tokens != 0).long()
    with torch.no_grad():
        found = model(input_ids=tokens, attention_mask=mask).logits
    return found[:, -tokens.shape[1] :].numpy()


def embeddings(model: peft.PeftModel, tokens: torch.Tensor) -> np.ndarray:
    mask = (tokens != 0).long()
    with torch.no_grad():
        hidden = model(input_ids=tokens, attention_mask=mask).last_hidden_state
    weight = mask[..., None].float()
    pooled = (hidden * weight).sum(1) / weight.sum(1)
    return torch.nn.functional.normalize(pooled, dim=-1).numpy()


if __name__ == "__main__":
    main()
