"""Adapters of many kinds as Hugging Face PEFT writes them. Needs torch and peft.

    python peft_adapters.py BASE IN.npz OUT

BASE is an encoder. OUT gets a folder for each kind, with the moved adapter, and in
`outputs.npz` the embeddings that peft computes with it for IN.npz's `tokens`.
"""

import argparse
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
    "ia3": None,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("base", "given", "output"):
        parser.add_argument(name)
    args = parser.parse_args()
    tokens = torch.from_numpy(np.load(args.given)["tokens"].astype(np.int64))
    outputs = {}
    for kind, keys in KINDS.items():
        torch.manual_seed(0)
        base = transformers.AutoModel.from_pretrained(args.base, dtype=torch.float32)
        model = peft.get_peft_model(base, config(keys)).eval()
        with torch.no_grad():
            for name, leaf in model.named_parameters():
                if "lora_" in name or "ia3_" in name:
                    leaf.add_(0.1 * torch.randn_like(leaf))
        model.save_pretrained(Path(args.output, kind))
        outputs[kind] = embeddings(model, tokens)
    np.savez(Path(args.output, "outputs.npz"), **outputs)


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


def embeddings(model: peft.PeftModel, tokens: torch.Tensor) -> np.ndarray:
    mask = (tokens != 0).long()
    with torch.no_grad():
        hidden = model(input_ids=tokens, attention_mask=mask).last_hidden_state
    weight = mask[..., None].float()
    pooled = (hidden * weight).sum(1) / weight.sum(1)
    return torch.nn.functional.normalize(pooled, dim=-1).numpy()


if __name__ == "__main__":
    main()
