"""Dask (`dask.distributed`) as an engine.

Its scheduler places shards by load, and runs those of a worker that died again, on
another one. What matters here:

- Theta goes to every worker before the shards do: where one worker alone has it, Dask
  prefers that one. Dask cannot compute it again, so if all that have it die, tasks that
  need it are cancelled, which is `Lost`.
- A task that computes cannot be interrupted, but its worker knows when it is cancelled.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import dask
from distributed import Client, LocalCluster, get_worker
from distributed.scheduler import KilledWorker

from mlpeft.platform.machine import usable_cores
from mlpeft.runtime.engines.engine import (
    CONNECT_S,
    Broken,
    Done,
    EngineError,
    Lost,
    NoWorkerError,
    check_reachable,
    worker_environment,
)
from mlpeft.runtime.engines.shard import Reply, compute_shard

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mlpeft.params import ParamTree
    from mlpeft.runtime.engines.shard import RunSpec
    from mlpeft.work import Shard

Future: TypeAlias = Any
"""Of Dask, which has no types for it."""

SCATTER_S: Final = 2.0
"""How long theta waits for a worker to take it."""
AGAIN_S: Final = 0.1
"""Seconds between looks at whether the scheduler is there again."""
GATHER_S: Final = 600.0
"""How long an update may take from its worker to here."""
TLS: Final = "tls://"
TLS_VARIABLES: Final = (
    "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ..._TLS__CLIENT__CERT and "
    "..._TLS__CLIENT__KEY"
)
COMPUTING: Final = frozenset({"executing", "long-running"})
"""States of a task on its worker in which its result is wanted."""


class DaskEngine:
    """A Dask cluster; see `mlpeft.runtime.engines.engine.Engine`.

    Args:
        run: The run.
        client: Connected to the scheduler; closed by `close`.
        cluster: What was started here and ends with it; None: nothing was.
        attempts: How often a shard is tried.
        gpus: GPUs that a shard takes, as the resource GPU of workers.
    """

    name = "Dask"

    def __init__(
        self,
        run: RunSpec,
        client: Client,
        cluster: LocalCluster | None = None,
        *,
        attempts: int = 4,
        gpus: float = 0.0,
    ) -> None:
        self.address = str(client.scheduler_info(n_workers=0)["address"])
        self._run = run
        self._client = client
        self._cluster = cluster
        self._attempts = attempts
        self._resources = {"GPU": gpus} if gpus else None
        self._serial = itertools.count()
        self._pending: dict[Future, int] = {}
        self._ended: queue.SimpleQueue[Future] = queue.SimpleQueue()

    @classmethod
    def connect(cls, run: RunSpec, address: str, attempts: int, gpus: float) -> Self:
        """An engine of a scheduler that runs somewhere.

        Certificates for an address with tls:// are those of Dask's own configuration.

        Raises:
            EngineError: If it does not answer, or there are no certificates for it.
        """
        client = Client.__new__(Client)  # there to be closed if it cannot begin
        try:
            check_reachable(address)
            logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
            Client.__init__(client, address, timeout=CONNECT_S, set_as_default=False)
        except TypeError as error:  # of Dask, which does not say what is missing
            # Dask closes others that fail. This one a collection would close, and wait
            # for ever if a later client then holds the lock that closing takes.
            with contextlib.suppress(AttributeError, OSError, TimeoutError):
                client.close()
            if not address.startswith(TLS):
                raise
            raise EngineError(
                f"{address} takes encrypted connections alone, and Dask's "
                "configuration has no certificates for them; set "
                "distributed.comm.tls.ca-file, client.cert and client.key there, or "
                f"the variables {TLS_VARIABLES} (docs/scaling.md)"
            ) from error
        except (OSError, TimeoutError, ValueError) as error:
            raise EngineError(
                f"no Dask scheduler answers at {address} ({error}); give its address "
                "as `dask scheduler` prints it, such as tcp://HOST:8786 or with TLS "
                "tls://HOST:8786, or leave out --address for a cluster on this machine"
            ) from error
        return cls(run, client, attempts=attempts, gpus=gpus)

    @classmethod
    def start(cls, run: RunSpec, workers: int | None, attempts: int) -> Self:
        """An engine with workers on this machine, a process and a BLAS thread each.

        Args:
            run: The run.
            workers: How many; None: one a core.
            attempts: How often a shard is tried.
        """
        settings = {
            "distributed.worker.multiprocessing-method": "spawn",  # MLX forbids a fork
            "distributed.worker.preload": [__name__],
            "distributed.nanny.pre-spawn-environ": worker_environment(),
            "distributed.scheduler.allowed-failures": attempts - 1,
        }
        with dask.config.set(settings):
            cluster = LocalCluster(
                n_workers=workers or usable_cores(),
                threads_per_worker=1,
                memory_limit=0,  # theta and updates are all that they hold
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
            client = Client(cluster, direct_to_workers=True, set_as_default=False)
        return cls(run, client, cluster, attempts=attempts)

    def workers(self) -> Sequence[str]:
        """See `Engine`."""
        self._check_alive()
        try:
            return sorted(self._client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, TimeoutError):
            self._check_alive()
            return []

    def put(self, name: str, meta: ParamTree) -> Future:
        """See `Engine`."""
        key = f"mlpeft-theta-{name[:16]}-{next(self._serial)}"
        try:
            given = self._client.scatter(
                {key: dict(meta)}, broadcast=True, timeout=SCATTER_S
            )
        except (OSError, TimeoutError) as error:
            self._check_alive()
            raise NoWorkerError(f"theta went to no worker of Dask: {error}") from error
        return given[key]

    def release(self, theta: Future) -> None:
        """See `Engine`."""
        theta.release()

    def submit(
        self, theta: Future, shards: Sequence[Shard], avoid: Collection[str] = ()
    ) -> None:
        """See `Engine`."""
        allowed = None
        if avoid:
            allowed = [name for name in self.workers() if name not in avoid]
        keys = [
            f"mlpeft-{shard.kind}-{shard.round}-{shard.index}-{next(self._serial)}"
            for shard in shards
        ]
        futures = self._client.map(
            _compute,
            shards,
            run=self._run,
            meta=theta,
            key=keys,
            workers=allowed or None,
            retries=self._attempts - 1,
            resources=self._resources,
            pure=False,
        )
        for shard, future in zip(shards, futures, strict=True):
            self._pending[future] = shard.index
            future.add_done_callback(self._ended.put)

    def next_done(self, timeout_s: float) -> Done | None:
        """See `Engine`."""
        try:
            future = self._ended.get(timeout=timeout_s)
        except queue.Empty:
            return None
        shard = self._pending.pop(future, None)
        if shard is None:
            return None  # cancelled: nobody waits for it
        try:
            return Done(shard, self._result(future))
        finally:
            future.release()

    def _result(self, future: Future) -> Reply | Lost | Broken:
        try:
            reply: Reply = future.result(timeout=GATHER_S)
        except KilledWorker:
            return Broken(
                "the workers that had it were killed, or crashed, each time (out "
                "of memory?); their logs say more"
            )
        except CancelledError as error:
            self._check_alive()
            return Lost(f"Dask has cancelled it ({error})")
        except Exception as error:  # noqa: BLE001 - whatever was raised on a worker
            self._check_alive()
            return Broken(_text(error))
        return reply

    def cancel(self) -> None:
        """See `Engine`."""
        pending = list(self._pending)
        self._pending.clear()
        if pending and self._client.status == "running":
            with contextlib.suppress(OSError, TimeoutError):
                self._client.cancel(pending, force=True)

    def close(self) -> None:
        """See `Engine`."""
        self.cancel()
        with contextlib.suppress(OSError, TimeoutError):
            self._client.close(timeout=CONNECT_S)
        if self._cluster is not None:
            self._cluster.close(timeout=CONNECT_S)

    def _check_alive(self) -> None:
        """Raise if there is no scheduler, and it does not come back soon.

        Raises:
            EngineError: Saying so.
        """
        deadline = time.monotonic() + CONNECT_S + AGAIN_S
        while self._client.status == "connecting" and time.monotonic() < deadline:
            time.sleep(AGAIN_S)
        if self._client.status != "running":
            raise EngineError(
                f"the Dask scheduler at {self.address} has ended, or cannot be reached "
                "any more; what was done is saved. Start one, and go on with --resume"
            )


def dask_setup(worker: object) -> None:  # noqa: ARG001 - as Dask calls it
    """Dask calls it in each worker that was started here, as this module is preloaded.

    Ctrl-C goes to the process that trains, which then ends its workers.
    """
    os.setpgid(0, 0)


def _compute(shard: Shard, run: RunSpec, meta: ParamTree) -> Reply:
    """A task: what a worker of Dask runs."""
    worker = get_worker()
    key = worker.get_current_task()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state in COMPUTING

    return compute_shard(run, meta, shard, worker.address, is_wanted)


def _text(error: Exception) -> str:
    """What went wrong, and what mends it where the cause is known."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) or "deserializ" in str(error):
        return (
            f"{text}. Scheduler and workers of Dask need the same packages as this "
            "process: install mlpeft in their environment, and start them again"
        )
    return text
