"""`lora.py`'s step in Hugging Face PEFT on torch. Needs nothing of mlpeft."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.lora import peak_mb, timed


def main() -> None:
    """Time one step: forward, backward, SGD on adapter and head."""
    given = json.loads(sys.argv[1])
    torch.set_num_threads(given["threads"])
    torch.manual_seed(0)
    base = AutoModel.from_pretrained(given["model"])
    depth = base.config.num_hidden_layers
    adapted = list(range(depth - given["layers"], depth))
    lora = LoraConfig(
        r=8,
        lora_alpha=16,
        target_modules=["query", "value"],
        layers_to_transform=adapted,
        layers_pattern="layer",
    )
    model = get_peft_model(base, lora).eval()
    with np.load(given["file"]) as episode:
        tokens = torch.from_numpy(episode["tokens"]).long()
        labels = torch.from_numpy(episode["labels"]).long()
    mask = (tokens != 0).long()

    def embed() -> torch.Tensor:
        hidden = model(input_ids=tokens, attention_mask=mask).last_hidden_state
        weight = mask[..., None].float()
        mean = (hidden * weight).sum(1) / weight.sum(1)
        return torch.nn.functional.normalize(mean, dim=-1)

    with torch.no_grad():
        embeddings = embed()
        start = torch.stack([embeddings[labels == c].mean(0) for c in range(5)])
    head = torch.nn.functional.normalize(start, dim=-1).requires_grad_()
    leaves = [p for p in model.parameters() if p.requires_grad] + [head]
    optimizer = torch.optim.SGD(leaves, lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(10.0 * embed() @ head.T, labels)
        loss.backward()
        optimizer.step()

    print(json.dumps({"ms": timed(step, given["steps"]), "mb": peak_mb()}))


if __name__ == "__main__":
    main()
