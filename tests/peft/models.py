"""Models and episodes for tests of PEFT methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from mlpeft.config import ModelSection, PeftSection
from mlpeft.meta.functional import get_params
from mlpeft.models.build import build_model
from tests.models.pretrained import tiny

if TYPE_CHECKING:
    from pathlib import Path

TOKENS = np.array([[3, 7, 9, 0], [4, 5, 0, 0], [8, 2, 6, 1], [9, 9, 0, 0]], np.int32)
LABELS = np.array([0, 1, 0, 1], np.int32)
EPISODE = tuple(map(mx.array, (TOKENS, LABELS, TOKENS, LABELS)))


def peft(**keys: Any) -> PeftSection:
    return PeftSection.model_validate(keys)


def encoder(folder: Path, section: PeftSection, **keys: Any) -> nn.Module:
    """A tiny sentence classifier of two classes, wrapped."""
    tiny.write(folder)
    model = ModelSection(backbone="encoder", weights=str(folder), **keys)
    return build_model(model, (8,), 2, seed=1, peft=section)


def everything(model: nn.Module) -> dict[str, bytes]:
    """The bytes of all leaves, frozen or not."""
    return {
        name: np.array(leaf).tobytes()
        for name, leaf in tree_flatten(model.parameters())
    }


def move(model: nn.Module, seed: int = 0) -> None:
    """Give every trainable leaf another value."""
    rng = np.random.default_rng(seed)
    leaves = get_params(model)
    for name, leaf in leaves.items():
        leaves[name] = leaf + mx.array(rng.normal(size=leaf.shape).astype(np.float32))
    model.load_weights(list(leaves.items()), strict=False)
