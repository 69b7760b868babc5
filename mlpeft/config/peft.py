"""The parameters of the model that adapt."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator

from mlpeft.config.base import BoundedCount, Fraction, Section, Width


class PeftSection(Section):
    """The parameters of the model that adapt; the rest is frozen."""

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
        description="none (all parameters adapt), full (all parameters of the layers "
        "chosen by keys and num_layers), head (only train_also), bitfit (biases), "
        "lora, dora, ia3, adapter (bottleneck adapters), prompt or prefix (virtual "
        "tokens); docs/peft.md compares them",
    )
    rank: Width = Field(
        default=8, description="Rank of lora and dora, units of a bottleneck adapter"
    )
    scale: PositiveFloat = Field(
        default=2.0,
        description="Factor of the low-rank change of lora and dora, as in mlx-lm; "
        "alpha overrides it",
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
        description="Probability of dropping an input of the low-rank change of lora "
        "and dora in an inner step; masks do not depend on the worker",
    )
    keys: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Layers to adapt, by name or pattern (query, layers.0.*); null: "
        "the method's default (lora, dora: query and value projections, of a block "
        "without these names all linear layers; ia3: keys, "
        "values and feed-forward outputs; adapter: attention and feed-forward outputs; "
        "bitfit: all linear layers; full: all)",
    )
    feedforward_keys: list[str] | None = Field(
        default=None,
        description="Layers whose input ia3 scales instead of their output; null: the "
        "last layer of each feed-forward network",
    )
    num_virtual_tokens: BoundedCount = Field(
        default=8, description="Number of vectors of a prompt or prefix"
    )
    num_layers: PositiveInt | None = Field(
        default=None, description="Adapt only this many of the last layers; null: all"
    )
    train_also: list[str] = Field(
        default=["head"],
        description="Modules to train as well, by name or pattern",
    )

    @property
    def factor(self) -> float:
        """The factor of the low-rank change."""
        if self.alpha is None:
            return self.scale
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @field_validator("rslora")
    @classmethod
    def _check_alpha(cls, rslora: bool, info: ValidationInfo) -> bool:
        if rslora and info.data.get("alpha") is None:
            raise ValueError("it divides alpha by sqrt(rank); set peft.alpha too")
        return rslora
