"""The interface of a PEFT method, which trains few leaves of a frozen model."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeAlias

import mlx.nn as nn

from mlpeft.peft.linear import Linear, mergeable
from mlpeft.peft.targets import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    import mlx.core as mx
    import numpy as np

    from mlpeft.config import PeftSection

    Setting: TypeAlias = bool | int | float | str | list[str] | None
    """A value of an adapter_config.json, or of a `peft` section."""


class Method:
    """A way to adapt a frozen model by few leaves.

    `wrap` freezes the model, then `apply` adds the method's leaves, the only trainable
    ones from then on. The defaults are those of a method that adds no layers.
    """

    name: ClassVar[str]
    """Its value of `peft.method`."""
    merges: ClassVar[bool] = True
    """Whether an equivalent plain model exists, see `merge`."""
    hf_type: ClassVar[str | None] = None
    """Its `peft_type` in Hugging Face PEFT; None: not exchanged with PEFT."""
    hf_leaves: ClassVar[Mapping[str, str]] = {}
    """Our name of each leaf of a layer -> Hugging Face PEFT's."""

    def unfrozen(self, model: nn.Module, section: PeftSection) -> frozenset[str]:
        """Paths of modules that stay trainable, submodules not included."""
        return frozenset()

    def apply(self, model: nn.Module, section: PeftSection) -> None:
        """Add the method's leaves to a frozen model.

        Raises:
            ConfigError: If the method applies to nothing in the model.
        """

    def merge(self, model: nn.Module) -> None:
        """Merge the leaves into the base: the same function, without the method."""
        replace(
            model,
            {
                path: module.merged()
                for path, module in model.named_modules()
                if mergeable(module)
            },
        )

    def to_hf(self, layer: AdaptedLinear, name: str) -> mx.array:
        """A leaf of a layer in the layout of Hugging Face PEFT."""
        leaf: mx.array = layer[name]
        return leaf

    def from_hf(self, name: str, leaf: np.ndarray) -> np.ndarray:
        """A leaf in our layout, from that of Hugging Face PEFT."""
        return leaf

    def hf_settings(
        self, section: PeftSection, layers: Mapping[str, AdaptedLinear]
    ) -> dict[str, Setting]:
        """The method's part of an adapter_config.json.

        Args:
            section: The `peft` section.
            layers: The adapted layers by Hugging Face's paths.
        """
        return {}

    def hf_section(
        self, settings: Mapping[str, Setting], leaves: Mapping[str, np.ndarray]
    ) -> dict[str, Setting]:
        """The method's keys of a `peft` section.

        Args:
            settings: An adapter_config.json.
            leaves: Leaves by our paths, in the layout of Hugging Face PEFT.
        """
        return {}


class AdaptedLinear(nn.Module):
    """A frozen linear layer and the leaves that a method adds.

    A subclass with an equivalent plain layer has a method `merged()`.

    Args:
        linear: The layer to wrap; frozen here.
    """

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.linear = linear
        self.linear.freeze()

    @property
    def weight(self) -> mx.array:
        """The merged layer's weight: a model may read what it also calls.

        Raises:
            AttributeError: If there is no equivalent plain layer.
        """
        weight: mx.array = self._merged().weight
        return weight

    @property
    def bias(self) -> mx.array:
        """The merged layer's bias.

        Raises:
            AttributeError: If there is none, or no equivalent plain layer.
        """
        bias: mx.array = self._merged().bias
        return bias

    def _merged(self) -> nn.Linear:
        if not mergeable(self):
            raise AttributeError(
                f"{type(self).__name__} has no equivalent plain layer, so its weight "
                "and bias cannot be read; adapt another layer (peft.keys), or use "
                "peft.method: lora"
            )
        return self.merged()
