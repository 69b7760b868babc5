"""How a frozen pretrained base is best held on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

BaseDtype: TypeAlias = Literal["stored", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class BaseChoice:
    """A choice, and why.

    Attributes:
        dtype: "stored": as the files have it, quantised weights quantised; "float32":
            dequantised.
        reason: For people.
    """

    dtype: BaseDtype
    reason: str


def best_base_dtype() -> BaseChoice:
    """The choice that `model.base_dtype: auto` stands for. Imports mlx.

    Measured on Linux: a step through a 4-bit base takes some 20 times as long as
    through the same base in float32 (MLX 0.32, CPU), and bfloat16 is emulated there.
    """
    import mlx.core as mx

    if mx.default_device().type == mx.DeviceType.gpu:
        return BaseChoice("stored", "quantised weights stay quantised on this GPU")
    return BaseChoice(
        "float32", "quantised weights are dequantised: far slower as they are on a CPU"
    )
