"""Ray as an engine.

Shards are Ray's tasks: it places them on free processors, keeps the processes with
their model for the next ones, and runs those of a worker that died again. Theta is an
object of its store, which this process owns, so no worker's death loses it.

Workers are named by their node: a task can keep away from a node, not from a process.

If the node that this process is on leaves the cluster, Ray ends the process after half
a minute, whatever it is at; what was saved before stands.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
from typing import TYPE_CHECKING, Any, Final, Self

import ray
from ray import exceptions

from mlpeft.platform.machine import usable_cores
from mlpeft.platform.process import stop_signals
from mlpeft.runtime.engines.engine import (
    Broken,
    Done,
    EngineError,
    Lost,
    check_reachable,
    worker_environment,
)
from mlpeft.runtime.engines.shard import compute_shard

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mlpeft.params import ParamTree
    from mlpeft.runtime.engines.shard import Reply, RunSpec
    from mlpeft.work import Shard

QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Environment for Ray: it sends nothing home."""
SHORT: Final = "/tmp"  # noqa: S108 - Ray makes a folder of its own in it
MOST_LETTERS: Final = 30
"""Longest name of a folder in which Ray's sockets have room (107 bytes on Linux)."""
AUTO: Final = "auto"
"""The address of the cluster that this machine is a node of."""
NODE_LABEL: Final = "ray.io/node-id"


class RayEngine:
    """A Ray cluster; see `mlpeft.runtime.engines.engine.Engine`.

    Ray knows one cluster a process.

    Args:
        run: The run.
        address: Where it is, for people.
        attempts: How often a shard is tried.
        gpus: GPUs that a shard takes.
        ours: Whether this process connected to it, and `close` lets go of it.
    """

    name = "Ray"

    def __init__(
        self,
        run: RunSpec,
        address: str,
        *,
        attempts: int = 4,
        gpus: float = 0.0,
        ours: bool = True,
    ) -> None:
        self.address = address
        self._ours = ours
        self._gpus = gpus
        self._run = ray.put(run)
        self._task = ray.remote(_compute).options(
            num_cpus=1,
            num_gpus=gpus,
            max_retries=attempts - 1,
            retry_exceptions=True,
            name="mlpeft shard",
        )
        self._pending: dict[ray.ObjectRef[Reply], int] = {}

    @classmethod
    def connect(cls, run: RunSpec, address: str, attempts: int, gpus: float) -> Self:
        """An engine of a cluster that runs somewhere.

        Raises:
            EngineError: If it does not answer.
        """
        try:
            if address != AUTO:
                check_reachable(address)
            _init(address=address)
        except (ConnectionError, OSError, ValueError, RuntimeError) as error:
            raise EngineError(
                f"no Ray cluster answers at {address} ({_text(error)}); give the "
                "address of its head, such as HOST:6379 on one of its nodes or "
                "ray://HOST:10001 from elsewhere, or leave out --address for one on "
                "this machine"
            ) from error
        return cls(run, address, attempts=attempts, gpus=gpus)

    @classmethod
    def start(
        cls, run: RunSpec, workers: int | None, attempts: int, gpus: float
    ) -> Self:
        """An engine on this machine; a worker is a process with one BLAS thread.

        Args:
            run: The run.
            workers: How many; None: one a core.
            attempts: How often a shard is tried.
            gpus: GPUs that a shard takes.

        Raises:
            EngineError: If Ray does not start.
        """
        try:
            with _environment(worker_environment()):
                _init(
                    address="local",
                    num_cpus=workers or usable_cores(),
                    include_dashboard=False,
                )
        except (OSError, ValueError, RuntimeError, TimeoutError) as error:
            raise EngineError(f"Ray does not start here: {_text(error)}") from error
        return cls(run, "this machine", attempts=attempts, gpus=gpus)

    def workers(self) -> Sequence[str]:
        """See `Engine`: nodes on which a shard has room."""
        self._check_alive()
        try:
            nodes = ray.nodes()
        except (exceptions.RayError, ConnectionError, RuntimeError) as error:
            raise EngineError(_ended_text(self.address)) from error
        return sorted(
            node["NodeID"]
            for node in nodes
            if node["Alive"]
            and node["Resources"].get("CPU", 0) >= 1
            and node["Resources"].get("GPU", 0) >= min(self._gpus, 1)
        )

    def put(self, name: str, meta: ParamTree) -> ray.ObjectRef[ParamTree]:
        """See `Engine`."""
        self._check_alive()
        return ray.put(dict(meta))

    def release(self, theta: ray.ObjectRef[ParamTree]) -> None:
        """See `Engine`: the last reference goes with the caller's."""

    def submit(
        self,
        theta: ray.ObjectRef[ParamTree],
        shards: Sequence[Shard],
        avoid: Collection[str] = (),
    ) -> None:
        """See `Engine`."""
        self._check_alive()
        task = self._task
        if avoid:
            elsewhere = {NODE_LABEL: f"!in({','.join(sorted(avoid))})"}
            task = task.options(label_selector=elsewhere)
        for shard in shards:
            self._pending[task.remote(shard, self._run, theta)] = shard.index

    def next_done(self, timeout_s: float) -> Done | None:
        """See `Engine`."""
        self._check_alive()
        ready, _ = ray.wait(list(self._pending), timeout=timeout_s)
        if not ready:
            return None
        return Done(self._pending.pop(ready[0]), self._result(ready[0]))

    def _result(self, reference: ray.ObjectRef[Reply]) -> Reply | Lost | Broken:
        try:
            reply: Reply = ray.get(reference)
        except exceptions.TaskCancelledError as error:
            return Lost(f"Ray has cancelled it ({_text(error)})")
        except exceptions.ObjectLostError as error:
            return Lost(_text(error))
        except (
            exceptions.WorkerCrashedError,
            exceptions.OutOfMemoryError,
            exceptions.NodeDiedError,
        ):
            return Broken(
                "the workers that had it were killed, or crashed, each time (out "
                "of memory?); Ray's logs say more"
            )
        except exceptions.RayTaskError as error:
            return Broken(_text(error.cause or error))
        except exceptions.RayError as error:
            self._check_alive()
            return Broken(_text(error))
        return reply

    def cancel(self) -> None:
        """See `Engine`."""
        pending = list(self._pending)
        self._pending.clear()
        if ray.is_initialized():
            for reference in pending:
                with contextlib.suppress(exceptions.RayError, ValueError):
                    ray.cancel(reference, force=False)

    def close(self) -> None:
        """See `Engine`."""
        self.cancel()
        if self._ours and ray.is_initialized():
            ray.shutdown()

    def _check_alive(self) -> None:
        """Raise if there is no cluster.

        Raises:
            EngineError: Saying so.
        """
        if not ray.is_initialized():
            raise EngineError(_ended_text(self.address))


def _compute(shard: Shard, run: RunSpec, meta: ParamTree) -> Reply:
    """A task: what a worker of Ray runs, which interrupts it if it is cancelled."""
    node = ray.get_runtime_context().get_node_id()
    return compute_shard(run, meta, shard, node)


def _init(**options: Any) -> None:
    """Connect, or start a cluster; it says nothing on the console.

    Ray takes SIGTERM for itself, which is how this process is asked to stop.
    """
    before = {number: signal.getsignal(number) for number in stop_signals()}
    base = tempfile.gettempdir()
    place = {"RAY_TMPDIR": base if len(base) <= MOST_LETTERS else SHORT}
    with _environment(QUIET | place):
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Any:
    """Variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _ended_text(address: str) -> str:
    return (
        f"the Ray cluster at {address} has ended, or cannot be reached any more; what "
        "was done is saved. Start one, and go on with --resume"
    )


def _text(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
