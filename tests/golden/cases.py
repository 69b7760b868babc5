"""Small runs whose theta is recorded, one for each way through the numerics."""

from __future__ import annotations

import json
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

from tests.adapters.runs import EXAMPLES, write_base
from tests.models.pretrained import tiny_lm

if TYPE_CHECKING:
    from pathlib import Path

Tree = dict[str, dict[str, Any]]

RUN: Tree = {
    "run": {"seed": 3},
    "meta_learning": {
        "meta_batch_size": 4,
        "num_meta_iterations": 6,
        "eval_interval": 3,
        "inner_lr": 0.05,
        "outer_lr": 0.5,
        "num_inner_steps": 3,
    },
    "task_distribution": {"num_train_tasks": 8, "num_val_tasks": 4, "query_size": 10},
    "model": {"backbone": "linear", "hidden_dim": 16, "num_layers": 1},
    "evaluation": {"num_val_episodes": 4, "num_inner_steps": 5, "steps": [0, 1, 5]},
    "compute": {"threads": 1, "strategy": "loop"},
}
DIGITS: Tree = {
    "task_distribution": {
        "task_families": ["digits"],
        "num_classes": 3,
        "k_shot": 2,
        "query_size": 6,
        "num_train_tasks": None,
        "num_val_tasks": None,
        "num_test_tasks": None,
    },
    "meta_learning": {"inner_optimizer": "adam", "inner_lr": 0.001},
}
BATCHES: Tree = {"meta_learning": {"inner_batch_size": 3, "inner_grad_clip": 0.5}}
CARRY: Tree = {"meta_learning": {"inner_optimizer": "adam", "inner_state": "carry"}}
FOMAML: Tree = {"meta_learning": {"algorithm": "fomaml"}}


def _lora(folder: Path) -> Tree:
    """LoRA with dropout in a tiny sentence encoder, with inner batches."""
    write_base(folder / "encoder")
    words = ["where is", "money back", "my", "please", "parcel", "is money"]
    rows = [
        {"text": f"{verb} {noun}", "label": f"intent {number}"}
        for number, verb in enumerate(words)
        for noun in ("parcel", "money", "please", "my parcel", "back", "my money")
    ]
    (folder / "intents.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {
        "meta_learning": {"inner_batch_size": 3, "meta_batch_size": 2},
        "task_distribution": {
            "task_families": ["intents"],
            "num_classes": 2,
            "k_shot": 2,
            "query_size": 4,
            "num_train_tasks": None,
            "num_val_tasks": None,
            "num_test_tasks": None,
            "task_params": {
                "dataset": str(folder / "intents.jsonl"),
                "min_examples": 4,
                "split_shares": [0.34, 0.33, 0.33],
            },
        },
        "model": {"backbone": "encoder", "weights": str(folder / "encoder")},
        "peft": {"method": "lora", "rank": 2, "dropout": 0.2},
    }


def _language_model(folder: Path) -> Tree:
    """LoRA in a tiny Llama, by completions."""
    tiny_lm.write(folder / "llama")
    rows = [
        {"task": letter, "prompt": "".join(word), "completion": "".join(word) + letter}
        for letter, word in product("mnopqrstuv", list(permutations("cdef", 2))[:8])
    ]
    (folder / "completions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {
        "meta_learning": {"meta_batch_size": 2, "inner_optimizer": "adam"},
        "task_distribution": {
            "task_families": ["completions"],
            "k_shot": 4,
            "query_size": 4,
            "num_train_tasks": None,
            "num_val_tasks": None,
            "num_test_tasks": None,
            "task_params": {
                "path": str(folder / "completions.jsonl"),
                "template": "{prompt}?",
            },
        },
        "model": {"backbone": "causal_lm", "weights": str(folder / "llama")},
        "peft": {"method": "lora", "rank": 4, "dropout": 0.1},
    }


def _merged(*trees: Tree) -> Tree:
    merged: Tree = {}
    for tree in trees:
        for section, keys in tree.items():
            merged[section] = merged.get(section, {}) | keys
    return merged


CONV: Tree = _merged(DIGITS, {"model": {"backbone": "conv4", "hidden_dim": 8}})
MICRO: Tree = {"meta_learning": {"inner_micro_batch": 2, "inner_batch_size": 3}}
MEDIAN: Tree = {"meta_learning": {"aggregation": "coordinate_median"}}
OUTER_ADAM: Tree = {"meta_learning": {"outer_optimizer": "adam", "outer_lr": 0.01}}
INDUCTIVE: Tree = {"model": {"transductive": False}}
PROTOTYPES: Tree = {
    "meta_learning": {"num_inner_steps": 0, "inner_batch_size": None},
    "peft": {"dropout": 0.0},
}
COMPILED: Tree = {"compute": {"strategy": "compiled"}}
VMAP: Tree = {"compute": {"strategy": "vmap"}}
FUSED: Tree = {"compute": {"strategy": "fused"}}

CHANGES: dict[str, tuple[Tree, ...]] = {
    "reptile_loop": (),
    "reptile_compiled": (COMPILED,),
    "reptile_vmap": (VMAP,),
    "reptile_fused": (FUSED,),
    "reptile_batches_loop": (BATCHES,),
    "reptile_batches_vmap": (BATCHES, VMAP),
    "reptile_carried_adam_compiled": (CARRY, COMPILED),
    "reptile_carried_adam_vmap": (CARRY, BATCHES, VMAP),
    "reptile_micro_batches": (MICRO, COMPILED),
    "reptile_median": (MEDIAN,),
    "reptile_outer_adam": (OUTER_ADAM,),
    "fomaml_compiled": (FOMAML, COMPILED),
    "fomaml_vmap": (FOMAML, BATCHES, VMAP),
    "fomaml_fused": (FOMAML, CARRY, FUSED),
    "conv4_compiled": (CONV, BATCHES, COMPILED),
    "conv4_inductive": (CONV, INDUCTIVE, COMPILED),
    "conv4_fused": (CONV, BATCHES, FUSED),
    "encoder_lora_loop": (),
    "encoder_lora_fomaml_compiled": (FOMAML, COMPILED),
    "encoder_prototypes": (FOMAML, PROTOTYPES),
    "language_model_lora": (),
    "language_model_micro_batches": (MICRO,),
}
"""What each recorded run has beside `RUN` and its pretrained model."""

NAMES = sorted(CHANGES)

OURS = frozenset({"reptile_fused", "fomaml_fused"})
"""Runs without a product that is large enough for the BLAS library: their bits do not
depend on the processor, the compiler or the BLAS."""


def configurations(folder: Path) -> dict[str, Tree]:
    """Every recorded run by name; the data that they need is written into `folder`."""
    pretrained = {"encoder": _lora(folder), "language": _language_model(folder)}
    return {
        name: _merged(
            RUN,
            {"run": {"name": name, "seed": 3}},
            pretrained.get(name.partition("_")[0], {}),
            *changes,
        )
        for name, changes in CHANGES.items()
    }


SUPPORT = EXAMPLES
"""Texts that the encoder's start is adapted to."""
