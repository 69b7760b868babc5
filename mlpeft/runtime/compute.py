"""The one thread of a worker that computes, and what it needs for a run."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mlpeft.cluster.worker.messages import (
    ProgressMade,
    ShardCancelled,
    ShardComputed,
    ShardFailed,
)
from mlpeft.errors import ConfigError
from mlpeft.files import override_assets
from mlpeft.platform import describe_machine, wait_for_thread_end
from mlpeft.runtime import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping
    from pathlib import Path

    from mlpeft.cluster.protocol import Lease, LeaseKey
    from mlpeft.cluster.worker.messages import WorkerEvent
    from mlpeft.config import RunConfig
    from mlpeft.meta.compression import Compression
    from mlpeft.params import ParamTree
    from mlpeft.work import Shard, ShardUpdate


class Runner(Protocol):
    """What computes shards; `mlpeft.training.runner.ShardRunner` in earnest."""

    def run(
        self,
        meta: ParamTree,
        shard: Shard,
        progress: Callable[[int], None] = lambda _: None,
    ) -> ShardUpdate:
        """The update of one shard."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A runner, and what it says about itself.

    Attributes:
        runner: Computes shards.
        device: What it computes on, for people.
        fingerprint: Digest of everything that decides bits (`run_fingerprint`).
        compression: Of the run; None: it does not compress.
    """

    runner: Runner
    device: str
    fingerprint: str
    compression: Compression | None = None


class _Cancelled(Exception):  # noqa: N818 - not an error
    """Leaves a shard in the middle."""


class ComputeThread:
    """Computes shards in order, in a thread of its own.

    Args:
        prepare: Makes a runner for a configuration; called in the thread.
        post: Takes events from the thread; must be thread-safe and not block.
    """

    def __init__(
        self,
        prepare: Callable[[RunConfig], Prepared],
        post: Callable[[WorkerEvent], None],
    ) -> None:
        self._prepare = prepare
        self._post = post
        self._native_id: int | None = None  # of the thread, once it has begun
        self._pool = ThreadPoolExecutor(1, "mlpeft-compute", self._note_native_id)
        self._lock = threading.Lock()
        self._cancelled: set[LeaseKey] = set()  # guarded by _lock
        self._prepared: Prepared | None = None  # of the thread
        self._closing = False

    def prepare(
        self, config: RunConfig, files: Mapping[str, Path] | None = None
    ) -> Future[Prepared]:
        """Make ready for a configuration; shards that follow are computed for it.

        Args:
            config: The run's.
            files: Where its assets are, by name, as far as they were fetched.
        """

        def make() -> Prepared:
            override_assets(files or {})
            self._prepared = self._prepare(config)
            return self._prepared

        return self._pool.submit(make)

    def submit(self, lease: Lease, meta: ParamTree) -> None:
        """Compute a shard after those before it; the outcome is posted."""
        self._pool.submit(self._run, lease, meta)

    def cancel(self, key: LeaseKey) -> None:
        """Drop a shard: before it begins, or after the task that it is at."""
        with self._lock:
            self._cancelled.add(key)

    def close(self) -> None:
        """Drop what waits, end after the task in hand, and wait for that."""
        self._closing = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._native_id is not None:
            wait_for_thread_end(self._native_id)

    def _note_native_id(self) -> None:
        self._native_id = threading.get_native_id()

    def _run(self, lease: Lease, meta: ParamTree) -> None:
        """Compute one shard; whatever happens, exactly one outcome is posted."""

        def progress(tasks_done: int) -> None:
            self._check_wanted(lease.key)
            self._post(ProgressMade(lease.key, tasks_done))

        event: WorkerEvent
        try:
            self._check_wanted(lease.key)
            if self._prepared is None:
                event = ShardFailed(lease.key, "a lease came before a configuration")
            else:
                update = self._prepared.runner.run(meta, lease.shard, progress)
                event = ShardComputed(lease.key, update)
        except _Cancelled:
            event = ShardCancelled(lease.key)
        except Exception as error:  # noqa: BLE001 - told to the coordinator, which acts
            event = ShardFailed(lease.key, f"{type(error).__name__}: {error}")
        with self._lock:
            self._cancelled.discard(lease.key)
        self._post(event)

    def _check_wanted(self, key: LeaseKey) -> None:
        with self._lock:
            if self._closing or key in self._cancelled:
                raise _Cancelled


def prepare(config: RunConfig, allow_modules: Container[str] | None = None) -> Prepared:
    """Build tasks and model. Imports MLX: call it in the thread that computes.

    Args:
        config: The run's resolved configuration.
        allow_modules: Modules of the user's own that may be imported because the
            configuration names them; None: any.

    Raises:
        ConfigError: Listing every problem of tasks and model, or if the run's strategy
            cannot be had here: another one has other bits.
        DataError: If a data set is missing, saying how to get it.
    """
    from mlpeft.meta.strategies import fused_problem
    from mlpeft.training.runner import ShardRunner

    if config.compute.strategy == "fused" and (problem := fused_problem()):
        raise ConfigError(
            "compute.strategy of this run is fused, which every machine compiles for "
            f"itself, and here {problem}. Or start a run with compute.strategy vmap "
            "(MLPs) or compiled"
        )
    runner = ShardRunner.from_config(config, allow_modules)
    return Prepared(
        runner,
        describe_machine().device,
        fingerprint.run_fingerprint(runner),
        runner.compression,
    )
