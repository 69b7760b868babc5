"""Which model is meta-learned."""

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
        "sentence encoder, see weights), causal_lm (a pretrained language model, see "
        "weights), or module:callable of your own",
    )
    hidden_dim: Width = Field(
        default=128, description="Units of a hidden layer, filters of conv4"
    )
    num_layers: PositiveInt = Field(default=2, description="Hidden layers")
    weights: str | None = Field(
        default=None,
        description="Pretrained model of backbone encoder or causal_lm: its Hugging "
        "Face folder, OWNER/NAME of the hub, package:NAME/FOLDER inside an installed "
        "package, or for causal_lm a GGUF file",
    )
    base_dtype: Literal["auto", "stored", "float32", "bfloat16"] = Field(
        default="auto",
        description="How backbone causal_lm holds its frozen weights: as the files "
        "have them, quantised ones quantised (stored), or dequantised to this type; "
        "auto: stored on a GPU, float32 on a CPU (mlpeft info)",
    )
    head: Literal["prototype", "cosine", "zero", "learned"] = Field(
        default="prototype",
        description="Head of backbone encoder: made anew in each episode from its "
        "class means (prototype; cosine: its logits stay cosines while it adapts) or "
        "from zeros (zero), or a part of theta (learned)",
    )
    projected: bool = Field(
        default=False,
        description="Put a linear layer, the identity at the start, between backbone "
        "encoder and its head; to meta-learn it beside a PEFT method: peft.train_also: "
        "[projection]",
    )
    logit_scale: PositiveFloat = Field(
        default=10.0, description="Factor of the head's logits in backbone encoder"
    )
    transductive: bool = Field(
        default=True,
        description="Queries of an episode share one batch-norm batch at evaluation; "
        "false: each is classified alone beside the support set",
    )
