"""The one door to every method: wrap a model, merge it again.

After `wrap`, the module's trainable leaves are what is meta-learned, adapted and sent
over the wire; everything else is frozen and stays byte for byte what it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlx.utils import tree_flatten

from mlpeft.errors import ConfigError
from mlpeft.peft.bitfit import BitFit
from mlpeft.peft.bottleneck import Bottleneck
from mlpeft.peft.dora import DoRA
from mlpeft.peft.ia3 import IA3
from mlpeft.peft.lora import LoRA
from mlpeft.peft.prefix import Prefix
from mlpeft.peft.prompt import Prompt
from mlpeft.peft.targets import inside
from mlpeft.peft.whole import Full, Head

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.config import PeftSection
    from mlpeft.peft.method import Method

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Full(),
        Head(),
        BitFit(),
        LoRA(),
        DoRA(),
        IA3(),
        Bottleneck(),
        Prompt(),
        Prefix(),
    )
}
"""By `peft.method`; `none`, which changes nothing, is not among them."""


def wrap(model: nn.Module, section: PeftSection) -> None:
    """Freeze a model but for `train_also`, and give it the method's leaves.

    New leaves are drawn from MLX's generator. A leaf that was frozen stays frozen.

    Args:
        model: Any module; changed in place.
        section: The `peft` section; with method `none` nothing is done.

    Raises:
        ConfigError: If no layer fits `keys`, or nothing would be left to learn.
    """
    if section.method == "none":
        return
    method = METHODS[section.method]
    kept = method.keeps(model, section)
    for path, module in model.named_modules():
        if path not in kept and not inside(path, section.train_also):
            module.freeze(recurse=False)
    method.apply(model, section)
    if not tree_flatten(model.trainable_parameters()):
        raise ConfigError(
            f"peft.method: with {section.method} nothing is left to meta-learn: "
            f"peft.train_also {section.train_also} names no trainable module; take "
            "another method, or model.head: learned"
        )


def merge(model: nn.Module, section: PeftSection) -> None:
    """Fold a method's leaves into the base, in place.

    Args:
        model: What `wrap` was given, with any values in its leaves.
        section: What `wrap` was given.

    Raises:
        ConfigError: If no plain model computes the same.
    """
    if section.method == "none":
        return
    method = METHODS[section.method]
    if not method.merges:
        names = ", ".join(name for name, other in METHODS.items() if other.merges)
        raise ConfigError(
            f"peft.method: what {section.method} adds is no part of any plain layer, "
            f"so it cannot be merged; keep the adapter, or take one of {names}"
        )
    method.merge(model)
