"""Which assets a run needs: the one place that says so, for both sides of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.datasets.assets import Asset, AssetKind
from mlpeft.tasks.families import FAMILIES

if TYPE_CHECKING:
    from mlpeft.config import RunConfig


def assets_of(config: RunConfig) -> tuple[Asset, ...]:
    """The assets that a configuration names, each once."""
    section = config.task_distribution
    found = [
        asset
        for name in section.task_families
        if name in FAMILIES
        for asset in FAMILIES[name].assets(section.task_params)
    ]
    if config.model.weights is not None:
        found.append(Asset(config.model.weights, AssetKind.MODEL))
    return tuple(dict.fromkeys(found))
