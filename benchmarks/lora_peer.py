"""`lora.py`'s step in Hugging Face PEFT on torch. Needs nothing of mlpeft."""

from __future__ import annotations

import json
import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel

from benchmarks.step_server import serve

if TYPE_CHECKING:
    from benchmarks.step_server import Step


def main() -> None:
    """Serve the step: forward, backward, SGD on adapter and head."""
    given = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")  # the libraries', about each other
    torch.set_num_threads(given["threads"])
    torch.manual_seed(0)
    base = AutoModel.from_pretrained(given["model"])
    depth = base.config.num_hidden_layers
    lora = LoraConfig(
        r=8,
        lora_alpha=16,
        target_modules=["query", "value"],
        layers_to_transform=list(range(depth - given["layers"], depth)),
        layers_pattern="layer",
    )
    model = get_peft_model(base, lora).eval()
    theta = {
        n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad
    }

    def embed(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = model(input_ids=tokens, attention_mask=mask).last_hidden_state
        weight = mask[..., None].float()
        mean = (hidden * weight).sum(1) / weight.sum(1)
        return torch.nn.functional.normalize(mean, dim=-1)

    def make_step(file: str) -> Step:
        with np.load(file) as episode:
            tokens = torch.from_numpy(episode["tokens"]).long()
            labels = torch.from_numpy(episode["labels"]).long()
        mask = (tokens != 0).long()
        model.load_state_dict(theta, strict=False)
        with torch.no_grad():
            vectors = embed(tokens, mask)
            classes = range(given["classes"])
            start = torch.stack([vectors[labels == c].mean(0) for c in classes])
        head = torch.nn.functional.normalize(start, dim=-1).requires_grad_()
        leaves = [p for p in model.parameters() if p.requires_grad] + [head]
        optimizer = torch.optim.SGD(leaves, lr=1e-3)

        def step() -> float:
            optimizer.zero_grad()
            logits = 10.0 * embed(tokens, mask) @ head.T
            loss = torch.nn.functional.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            return float(loss.item())

        return step

    serve(make_step)


if __name__ == "__main__":
    main()
