"""What a worker of an engine does: one shard, as a pure function.

    (run, theta, shard) -> update

The model is built once a process and kept for the run that asked last. A process has
one thread that computes, whatever the engine's own threads are, as MLX keeps state for
each of them.
"""

from __future__ import annotations

import atexit
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillComputingError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from mlpeft.cluster.validation import Versions, version_refusal, view_refusal
from mlpeft.config import RunConfig, parse_yaml
from mlpeft.errors import MlpeftError
from mlpeft.files import override_assets
from mlpeft.platform import load_blas, wait_for_thread_end
from mlpeft.runtime import compute, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.params import ParamTree
    from mlpeft.runtime.compute import Prepared
    from mlpeft.training.runner import ShardRunner
    from mlpeft.work import Shard, ShardUpdate

LOOK_S: Final = 0.1
"""Seconds between looks at whether a shard that is computed is still wanted."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A run, for the processes that compute for it, and what they must be like.

    Attributes:
        config_yaml: The resolved configuration.
        versions: Of the process that trains, with its BLAS: others find other bits.
        fingerprint: Its view of the run (`run_fingerprint`).
        files: Names of the run's files and where they are; where a worker has nothing
            at such a path it looks in its own folders.
        prepare: Makes a runner for the configuration.
    """

    config_yaml: str
    versions: Versions
    fingerprint: str
    files: tuple[tuple[str, str], ...] = ()
    prepare: Callable[[RunConfig], Prepared] = compute.prepare

    @classmethod
    def of(cls, runner: ShardRunner) -> Self:
        """The run of this process's runner."""
        return cls(
            runner.config.for_others().to_yaml(),
            versions_with_blas(),
            fingerprint.run_fingerprint(runner),
            _files(runner.config),
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What comes back for a shard, unless an error does.

    Attributes:
        worker: Who computed, as its engine names it.
        update: The update, with what was packed for its sum, if the run compresses;
            None: this worker may not compute for the run.
        refusal: Why not, and what mends it.
    """

    worker: str
    update: ShardUpdate | None
    refusal: str = ""


class _Unwanted(Exception):  # noqa: N818 - not an error
    """Leaves a shard in the middle."""


class _Refused(Exception):  # noqa: N818 - an answer
    """This worker may not compute for the run; the text says why."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A run, and the runner for it."""

    run: RunSpec
    prepared: Prepared


_ready: _Ready | None = None  # of the thread
_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def versions_with_blas() -> Versions:
    """What must be equal on all machines that compute for a run."""
    return replace(fingerprint.own_versions(), blas=load_blas().name)


def compute_shard(
    run: RunSpec,
    meta: ParamTree,
    shard: Shard,
    worker: str,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Reply:
    """Compute a shard in this process.

    Args:
        run: The run.
        meta: The meta-state of the shard's round.
        shard: What to compute.
        worker: The engine's name for this worker.
        is_wanted: Whether anybody waits for it; asked from time to time, in the
            caller's thread. If not, it is left after the task in hand.
    """
    unwanted = threading.Event()

    def progress(_: int) -> None:
        if unwanted.is_set():
            raise _Unwanted

    def work() -> ShardUpdate:
        progress(0)
        update = _prepared_for(run).runner.run(meta, shard, progress)
        return replace(update, total=update.packed or update.total, packed={})

    future = _thread().submit(work)
    try:
        while True:
            try:
                return Reply(worker, future.result(LOOK_S))
            except StillComputingError:
                if not is_wanted():
                    unwanted.set()
    except _Refused as refused:
        return Reply(worker, None, str(refused))
    finally:  # also if the engine interrupts the caller
        unwanted.set()


def _prepared_for(run: RunSpec) -> Prepared:
    """The runner of a run; made if this process has another.

    Raises:
        _Refused: If this process may not compute for the run, or cannot.
    """
    global _ready  # noqa: PLW0603 - the cache of a process
    if _ready is None or _ready.run != run:
        refusal = version_refusal(run.versions, versions_with_blas())
        if refusal is not None:
            raise _Refused(refusal)
        there = {name: Path(path) for name, path in run.files}
        override_assets({name: path for name, path in there.items() if path.exists()})
        config = RunConfig.from_dict(parse_yaml(run.config_yaml), source="the run")
        try:
            prepared = run.prepare(config)
        except MlpeftError as error:
            raise _Refused(str(error)) from error
        refusal = view_refusal(run.fingerprint, prepared.fingerprint)
        if refusal is not None:
            raise _Refused(refusal)
        _ready = _Ready(run, prepared)
    return _ready.prepared


def _thread() -> ThreadPoolExecutor:
    """The thread of this process that computes."""
    global _pool  # noqa: PLW0603 - of a process
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(1, "mlpeft-compute")
            native_id = _pool.submit(threading.get_native_id).result()
            atexit.register(wait_for_thread_end, native_id)
        return _pool


def _files(config: RunConfig) -> tuple[tuple[str, str], ...]:
    """Where the files of a run are on this machine, as far as they are."""
    from mlpeft.errors import DataError
    from mlpeft.transport.blobs.manifest import assets_of

    found = []
    for asset in assets_of(config):
        try:
            path = asset.locate(config.paths.data_dir, download=False)
        except DataError:
            continue
        found.append((asset.name, str(path.absolute())))
    return tuple(found)
