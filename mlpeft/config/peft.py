"""Which few parameters of the model adapt."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator

from mlpeft.config.base import BoundedCount, Fraction, Section, Width


class PeftSection(Section):
    """Which few parameters of the model adapt; the rest is frozen."""

    method: Literal[
        "none",
        "full",
        "head",
        "bitfit",
        "lora",
        "dora",
        "ia3",
        "adapter",
        "prompt",
        "prefix",
    ] = Field(
        default="none",
        description="none (all parameters adapt), full (all of the layers that keys "
        "and num_layers choose), head (train_also alone), bitfit (biases), lora, dora, "
        "ia3, adapter (bottleneck adapters), prompt or prefix (virtual tokens); "
        "docs/peft.md compares them",
    )
    rank: Width = Field(
        default=8, description="Rank of lora and dora, units of a bottleneck adapter"
    )
    scale: PositiveFloat = Field(
        default=2.0,
        description="Factor of lora's and dora's change, as in mlx-lm; alpha comes "
        "before it",
    )
    alpha: PositiveFloat | None = Field(
        default=None,
        description="lora_alpha of Hugging Face PEFT: the factor is alpha / rank; "
        "null: scale",
    )
    rslora: bool = Field(
        default=False,
        description="Rank-stabilised: the factor is alpha / sqrt(rank); needs alpha",
    )
    dropout: Fraction = Field(
        default=0.0,
        description="Probability of each input of lora's and dora's change to be left "
        "out in an inner step; the same one whoever computes the task",
    )
    keys: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Layers to change, by name or pattern (query, layers.0.*); null: "
        "the method's own (lora, dora: query and value projections; ia3: keys, values "
        "and feed-forward outputs; adapter: attention and feed-forward outputs; "
        "bitfit: all linear layers; full: all)",
    )
    feedforward_keys: list[str] | None = Field(
        default=None,
        description="Layers whose input ia3 scales instead of their output; null: the "
        "last of each feed-forward network",
    )
    num_virtual_tokens: BoundedCount = Field(
        default=8, description="Vectors of prompt, keys and values of prefix"
    )
    num_layers: PositiveInt | None = Field(
        default=None, description="Only so many of the last layers; null: all"
    )
    train_also: list[str] = Field(
        default=["head"],
        description="Modules that are not frozen, by name or pattern",
    )

    @property
    def factor(self) -> float:
        """What lora's change is multiplied by."""
        if self.alpha is None:
            return self.scale
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @field_validator("rslora")
    @classmethod
    def _has_alpha(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("alpha") is None:
            raise ValueError("it divides alpha by sqrt(rank); set peft.alpha too")
        return value
