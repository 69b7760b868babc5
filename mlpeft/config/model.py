"""Which model, and which few of its parameters adapt."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from mlpeft.config.base import Section, Width


class ModelSection(Section):
    """The model that is meta-learned."""

    backbone: str = Field(
        default="linear",
        description="linear (num_layers hidden layers of hidden_dim, ReLU), tanh (the "
        "same with tanh), logistic (no hidden layer), conv4, encoder (a pretrained "
        "sentence encoder, see weights), or module:callable of your own",
    )
    hidden_dim: Width = Field(
        default=128, description="Units of a hidden layer, filters of conv4"
    )
    num_layers: PositiveInt = Field(default=2, description="Hidden layers")
    weights: str | None = Field(
        default=None,
        description="Pretrained model of backbone encoder: its Hugging Face folder, "
        "or package:NAME/FOLDER inside an installed package",
    )
    head: Literal["prototype", "zero", "learned"] = Field(
        default="prototype",
        description="Head of backbone encoder: made anew in each episode from its "
        "class means (prototype) or from zeros (zero), or a part of theta (learned)",
    )
    logit_scale: PositiveFloat = Field(
        default=10.0, description="Factor of the head's logits in backbone encoder"
    )
    transductive: bool = Field(
        default=True,
        description="Queries of an episode share one batch-norm batch at evaluation; "
        "false: each is classified alone beside the support set",
    )


class PeftSection(Section):
    """Which few parameters of the model adapt; the rest is frozen."""

    method: Literal["none", "lora", "bitfit", "head"] = Field(
        default="none",
        description="none (all parameters adapt), lora, bitfit (biases), or head "
        "(train_also alone)",
    )
    rank: Width = Field(default=8, description="Rank of lora")
    scale: PositiveFloat = Field(
        default=2.0,
        description="Factor of lora's change, as in mlx-lm (Hugging Face PEFT: "
        "lora_alpha / r)",
    )
    keys: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Linear layers to change, by name or pattern (query, "
        "layers.0.*); null: the method's own (lora: query and value projections; "
        "bitfit: all)",
    )
    num_layers: PositiveInt | None = Field(
        default=None, description="Only so many of the last layers; null: all"
    )
    train_also: list[str] = Field(
        default=["head"],
        description="Modules that are not frozen, by name or pattern",
    )
