"""Names of a base model's layers in Hugging Face's libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from safetensors import safe_open

from mlpeft.errors import ConfigError, DataError, nearest
from mlpeft.models.pretrained.encoder_weights import is_used, our_name
from mlpeft.models.pretrained.source import weight_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.config import RunConfig

ENCODER = "encoder."
"""Path of the encoder in our model."""


@dataclass(frozen=True, slots=True)
class LayerNames:
    """Paths of layers, ours and Hugging Face's.

    Attributes:
        task_type: Hugging Face PEFT's name for the use of the base.
        table: Our path -> theirs; None: they are equal.
    """

    task_type: str
    table: Mapping[str, str] | None = None

    def theirs(self, path: str) -> str:
        """Hugging Face's path of one of our layers.

        Raises:
            DataError: If the base has no such layer.
        """
        return path if self.table is None else _look_up(self.table, path)

    def ours(self, path: str) -> str:
        """Our path of one of Hugging Face's layers.

        Raises:
            DataError: If the base has no such layer.
        """
        if self.table is None:
            return path
        return _look_up({theirs: ours for ours, theirs in self.table.items()}, path)


def layer_names(config: RunConfig) -> LayerNames:
    """The names of the layers of a run's base.

    Raises:
        ConfigError: If the run's model has no pretrained base.
        DataError: If the base is missing.
    """
    backbone, weights = config.model.backbone, config.model.weights
    if weights is None or backbone not in {"encoder", "causal_lm"}:
        raise ConfigError(
            f"model.backbone: other libraries cannot read {backbone!r}; use a run of a "
            "pretrained encoder or causal_lm"
        )
    if backbone == "causal_lm":  # mlx-lm's modules have the names of the checkpoint
        return LayerNames("CAUSAL_LM")
    table = {}
    with safe_open(weight_files(weights)[0], framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            ours = our_name(name)
            if is_used(ours):
                path, _, _ = ours.rpartition(".")
                theirs, _, _ = name.removeprefix("bert.").rpartition(".")
                table[ENCODER + path] = theirs
    return LayerNames("FEATURE_EXTRACTION", table)


def _look_up(table: Mapping[str, str], path: str) -> str:
    if path not in table:
        raise DataError(f"the base has no layer {path!r}; {nearest(path, table)}")
    return table[path]
