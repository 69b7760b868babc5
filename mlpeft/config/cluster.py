"""The coordinator and its workers."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from mlpeft.config.base import Section

CompressionName: TypeAlias = Literal["none", "bf16", "int8", "topk", "powersgd"]


ModeName: TypeAlias = Literal["sync", "quorum", "async"]


class ClusterSection(Section):
    """The coordinator and its workers.

    Of these keys `compression` decides the result's bits, and `mode`, if it is not
    sync, who is in time.
    """

    listen: str = Field(
        default="127.0.0.1:50051",
        pattern=r"^.+:\d+$",
        description="host:port of the coordinator",
    )
    join_port: int | None = Field(
        default=None,
        ge=0,
        lt=1 << 16,
        description="Port where workers join once with a token, if TLS is on; null: "
        "the port of `mlpeft-coordinator init --port`, by default 50052",
    )
    discovery: bool | None = Field(
        default=None,
        description="Announce the coordinator on the local network (DNS-SD), so that "
        "workers find it; null: unless it listens on loopback only",
    )
    slots: PositiveInt = Field(
        default=1, description="Shards that a worker holds at once"
    )
    min_workers: PositiveInt = Field(
        default=1, description="Workers to wait for before the first round"
    )
    heartbeat_s: PositiveFloat = Field(
        default=1.0, description="Seconds between a worker's heartbeats"
    )
    lost_after_s: PositiveFloat = Field(
        default=4.0, description="Seconds without a heartbeat until a worker is lost"
    )
    lease_s: PositiveFloat = Field(
        default=600.0,
        description="Longest lease of a shard, in seconds; used until task times are "
        "known",
    )
    least_lease_s: PositiveFloat = Field(
        default=60.0, description="Shortest lease of a shard, in seconds"
    )
    deadline_factor: NonNegativeFloat = Field(
        default=10.0,
        description="Spreads (median absolute deviations) above a worker's median task "
        "time after which its lease ends",
    )
    backup_factor: NonNegativeFloat = Field(
        default=4.0,
        description="Spreads above the median task of all workers, and three medians "
        "at least, after which an idle worker computes the shard as well; 0: never",
    )
    max_attempts: PositiveInt = Field(
        default=4,
        description="Failures of one shard after which the run stops, if as many "
        "workers, or all, have failed at it",
    )
    quarantine_after: PositiveInt = Field(
        default=3,
        description="Consecutive shards that fail only on one worker before it is "
        "quarantined",
    )
    quarantine_s: PositiveFloat = Field(
        default=600.0, description="Seconds of quarantine"
    )
    norm_factor: NonNegativeFloat = Field(
        default=30.0,
        description="An update that would move theta by more than the median of recent "
        "ones and so many times their spread must be found by a second worker; 0: none "
        "must",
    )
    most_share: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="Largest share of a round's shards that a machine may hold while "
        "others take shards; 1: the fastest gets as many as it can compute",
    )
    audit: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="Share of the shards that two machines compute, so that what they "
        "find can be compared; 0: none",
    )
    mode: ModeName = Field(
        default="sync",
        description="When a training round ends: with all its shards (sync, the only "
        "one whose result does not depend on who is fast), with a share of them "
        "(quorum), or with as many updates as it has shards, whichever rounds they are "
        "of (async). What counted is logged: `mlpeft replay` computes it again",
    )
    quorum: float = Field(
        default=0.75,
        gt=0.0,
        le=1.0,
        description="Share of the shards with which a round of mode quorum may end",
    )
    grace_s: NonNegativeFloat = Field(
        default=0.5,
        description="Seconds that a round of mode quorum waits for the others once "
        "it has its quorum",
    )
    max_staleness: NonNegativeInt = Field(
        default=4,
        description="Rounds by which an update may be late and still count, with "
        "weight 1 / sqrt(1 + rounds), in modes quorum and async; 0: late ones are "
        "dropped",
    )
    compression: CompressionName = Field(
        default="none",
        description="What updates and steps of theta are sent as: float32 (none), two "
        "bytes a number (bf16), one (int8), the largest numbers alone (topk), or two "
        "narrow factors of each matrix (powersgd). A rule of the run: one process "
        "rounds as a cluster does",
    )
    topk: float = Field(
        default=0.1,
        gt=0.0,
        le=1.0,
        description="Share of the numbers that compression topk sends",
    )
    powersgd_rank: PositiveInt = Field(
        default=4,
        description="Columns of the factors that compression powersgd sends of each "
        "matrix that is larger than both",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        lt=1 << 16,
        description="Port of the Prometheus metrics; 0: any free port; null: off",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        description="Address of the metrics, which have no access control",
    )
