"""How and where it runs: compute, logs, paths."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from mlpeft.config.base import Section


class ComputeSection(Section):
    """How the numbers are computed. Part of a run's identity: it decides bits."""

    strategy: Literal["auto", "loop", "compiled", "vmap"] = Field(
        default="auto",
        description="Inner loops as Python, compiled, or compiled and vectorised over "
        "tasks; auto: vmap for plain MLPs, compiled for the rest",
    )
    threads: PositiveInt = Field(
        default=1, description="BLAS threads of a process (Linux)"
    )
    shard_size: PositiveInt | None = Field(
        default=None,
        description="Tasks computed as one unit; null: the meta-batch under vmap, "
        "else 1",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Keep only what goes from layer to layer (layers.N) and compute "
        "the rest again for gradients: less memory, more time; not under vmap",
    )


class LoggingSection(Section):
    """What is written about a run, and where."""

    log_dir: Path = Field(
        default=Path("logs"), description="Folder of log files, one a run"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severe level that is logged"
    )
    wandb_enabled: bool = Field(
        default=False, description="Report to Weights & Biases (extra: wandb)"
    )
    tensorboard_enabled: bool = Field(
        default=False, description="Write TensorBoard events (extra: tensorboard)"
    )


class PathsSection(Section):
    """Where things are kept."""

    checkpoint_dir: Path = Field(
        default=Path("checkpoints"), description="Run folders are made in here"
    )
    data_dir: Path = Field(
        default=Path("data"),
        description="Data sets; the variable MLPEFT_DATA_DIR comes before it",
    )
    keep_last: PositiveInt = Field(
        default=3, description="Checkpoints to keep, beside the best one"
    )
    save_seconds: PositiveFloat = Field(
        default=10.0,
        description="Seconds after which a checkpoint is written between those of "
        "meta_learning.save_interval: a killed run repeats no more than that, and the "
        "round in flight",
    )
