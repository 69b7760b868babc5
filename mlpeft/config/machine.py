"""Compute, logs and paths."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from mlpeft.config.base import Section


class ComputeSection(Section):
    """How results are computed. Part of a run's identity: it affects the bits."""

    strategy: Literal["auto", "loop", "compiled", "vmap", "fused"] = Field(
        default="auto",
        description="Inner loops as a Python loop (loop), compiled (compiled), "
        "compiled and vectorised over tasks (vmap), or all tasks as one native call on "
        "the CPU (fused, needs a C compiler); auto: fused for plain MLPs and Conv4; "
        "without a compiler vmap for MLPs, as with dropout; else compiled",
    )
    threads: PositiveInt = Field(
        default=1,
        description="Threads per process: of a matrix product (Linux), or with fused "
        "of a shard's tasks, which changes no bits",
    )
    shard_size: PositiveInt | None = Field(
        default=None,
        description="Tasks computed as one unit, by one worker of a cluster; null: the "
        "meta-batch with vmap, and with fused for MLPs, else 1. A meta-iteration keeps "
        "meta_batch_size / shard_size workers busy",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Keep only the outputs of layers (layers.N) and recompute the rest "
        "for gradients: less memory, more time; not with vmap",
    )


class LoggingSection(Section):
    """Logs of a run, and where they go."""

    log_dir: Path = Field(
        default=Path("logs"), description="Folder of log files, one per run"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is logged"
    )
    wandb_enabled: bool = Field(
        default=False, description="Report to Weights & Biases (extra: wandb)"
    )
    trackio_enabled: bool = Field(
        default=False,
        description="Report to trackio, on this machine (extra: trackio)",
    )
    tensorboard_enabled: bool = Field(
        default=False, description="Write TensorBoard events (extra: tensorboard)"
    )


class PathsSection(Section):
    """Folders of checkpoints and data, and when checkpoints are written."""

    checkpoint_dir: Path = Field(
        default=Path("checkpoints"), description="Folder of run folders"
    )
    data_dir: Path = Field(
        default=Path("data"),
        description="Folder of data sets; the environment variable MLPEFT_DATA_DIR "
        "overrides it",
    )
    keep_last: PositiveInt = Field(
        default=3,
        description="Checkpoints to keep besides the best one: the newest, and the "
        "newest of those that meta_learning.save_interval made",
    )
    save_seconds: PositiveFloat = Field(
        default=10.0,
        description="Longest time between checkpoints in seconds, besides "
        "meta_learning.save_interval: a killed run repeats at most that and the "
        "current round",
    )
