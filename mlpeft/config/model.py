"""The model that is meta-learned."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from mlpeft.config.base import Section, Width


class ModelSection(Section):
    """The model that is meta-learned."""

    backbone: str = Field(
        default="linear",
        description="linear (num_layers hidden layers of hidden_dim, ReLU), tanh (the "
        "same with tanh), logistic (no hidden layer), conv4 (four convolutions with "
        "strides), conv4_pool (the same with pooling), encoder (a pretrained "
        "sentence encoder, see weights), causal_lm (a pretrained language model, see "
        "weights), or module:callable of your own",
    )
    hidden_dim: Width = Field(
        default=128, description="Units of a hidden layer, filters of a convolution"
    )
    num_layers: PositiveInt = Field(default=2, description="Hidden layers")
    weights: str | None = Field(
        default=None,
        description="Pretrained model of backbone encoder or causal_lm: a Hugging Face "
        "folder, OWNER/NAME on the hub, package:NAME/FOLDER in an installed package, "
        "or for causal_lm a GGUF file",
    )
    base_dtype: Literal["auto", "stored", "float32", "bfloat16"] = Field(
        default="auto",
        description="Dtype of the frozen weights of backbone causal_lm: that of the "
        "files, with their quantisation (stored), or dequantised to this dtype; auto: "
        "stored on a GPU, float32 on a CPU (mlpeft info)",
    )
    head: Literal["prototype", "cosine", "zero", "learned"] = Field(
        default="prototype",
        description="Head of backbone encoder: built in each episode from its class "
        "means (prototype; cosine: logits stay cosines during adaptation) or from "
        "zeros (zero), or part of theta (learned)",
    )
    projected: bool = Field(
        default=False,
        description="Insert a linear layer, initially the identity, between backbone "
        "encoder and its head; to train it together with a PEFT method, set "
        "peft.train_also: [projection]",
    )
    logit_scale: PositiveFloat = Field(
        default=10.0, description="Factor of the head's logits in backbone encoder"
    )
    transductive: bool = Field(
        default=True,
        description="Queries of an episode share one batch for batch norm at "
        "evaluation; false: each is classified alone with the support set. Without "
        "effect where meta_learning.batch_norm is running or per-step",
    )
