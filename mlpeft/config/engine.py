"""Engines of others that compute instead of our own cluster."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mlpeft.config.base import Section


class EngineSection(Section):
    """Dask or Ray under `mlpeft train --engine`. Does not affect the result's bits.

    `cluster.min_workers`, `cluster.max_attempts` and `cluster.norm_factor` apply too.
    """

    workers: PositiveInt | None = Field(
        default=None,
        description="Worker processes of a local cluster; null: one a core",
    )
    wait_s: PositiveFloat = Field(
        default=300.0,
        description="Seconds that an engine may have too few workers until the run "
        "ends, saved",
    )
    gpus: NonNegativeFloat = Field(
        default=0.0,
        description="GPUs that a shard takes: Ray's own, or the resource GPU of Dask's "
        "workers",
    )
