"""A run of a tiny sentence encoder, and examples for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from mlpeft.adapters.adapter import bare_model
from mlpeft.config import RunConfig
from mlpeft.meta import state
from mlpeft.meta.inner import InnerLoop
from mlpeft.training import checkpoint
from tests.models.pretrained import tiny

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ["[PAD]", "[UNK]", "where", "is", "my", "parcel", "money", "back", "please"]
EXAMPLES = [
    ("where is my parcel", "delivery"),
    ("money back please", "refund"),
    ("my parcel please", "delivery"),
    ("my money", "refund"),
]


def write_base(folder: Path) -> Path:
    """The tiny encoder, made to tell sentences apart, with a tokenizer."""
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    tiny.write(folder)
    weights = tiny.weights()
    for name in weights:
        if name.endswith("LayerNorm.weight"):
            weights[name] = np.ones_like(weights[name])
    save_file(weights, folder / "model.safetensors")
    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(words, unk_token="[UNK]")  # noqa: S106 - a token
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_run(folder: Path, base: Path | None = None, **sections: Any) -> Path:
    """A run's folder: configuration and one step, as training writes them.

    The base is the tiny encoder unless another is given.
    """
    base = base or write_base(folder / "base")
    tree: dict[str, Any] = {
        "meta_learning": {"inner_lr": 0.02, "num_inner_steps": 4},
        "task_distribution": {"task_families": ["intents"], "num_classes": 2},
        "model": {"backbone": "encoder", "weights": str(base)},
        "peft": {"method": "lora", "rank": 2},
        "evaluation": {"steps": [0, 4], "num_inner_steps": 4},
    }
    for section, keys in sections.items():
        tree[section] = tree.get(section, {}) | keys
    config = RunConfig.from_dict(tree)
    inner = InnerLoop.from_config(config.meta_learning)
    meta = state.new(bare_model(config), inner, config.run.seed)
    run_dir = folder / "run"
    step = checkpoint.save(run_dir, meta, {}, checkpoint.Progress(iteration=7))
    checkpoint.mark_best(run_dir, step)
    (run_dir / "config.yaml").write_text(config.to_yaml())
    return run_dir
