"""Make minilm_embeddings.npz: the reference for the sentence encoder.

    python tests/models/pretrained/data/make_embeddings.py MODEL_FOLDER

MODEL_FOLDER is all-MiniLM-L6-v2 (config.json, model.safetensors, tokenizer.json). Needs
torch and transformers, in an environment of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

SENTENCES = (
    "I am still waiting on my card?",
    "what expression would i use to say i love you if i were an italian",
    "Hi",
    "Café prices went UP 12.5 % in Zürich, didn't they?!",
    "is there a fee when my salary is paid in another currency, and who sets the rate",
)


def main(folder: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    batch = tokenizer(list(SENTENCES), padding="longest", return_tensors="pt")
    mask = batch["attention_mask"][..., None]
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mean = (hidden * mask).sum(1) / mask.sum(1)
    np.savez_compressed(
        Path(__file__).parent / "minilm_embeddings.npz",
        sentences=np.array(SENTENCES),
        tokens=batch["input_ids"].numpy().astype(np.int32),
        embeddings=torch.nn.functional.normalize(mean, dim=1).numpy(),
    )


if __name__ == "__main__":
    main(sys.argv[1])
