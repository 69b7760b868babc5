"""The coordinator's event loop in a thread, and the executor that training asks.

The training loop runs in the main thread, where Ctrl-C arrives, and blocks while its
round is on the cluster; driver, server and in-process workers live on the loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, TypeVar

from mlpeft.errors import MlpeftError
from mlpeft.platform import share_freed_memory
from mlpeft.runtime.coordinator.advertisement import (
    Advertisement,
    advice,
    is_advertised,
    join_command,
)
from mlpeft.runtime.coordinator.driver import CoordinatorDriver
from mlpeft.runtime.coordinator.enrolment import EnrolmentServer
from mlpeft.runtime.coordinator.local_workers import ProcessWorkers, ThreadWorkers
from mlpeft.runtime.coordinator.metrics import Metrics
from mlpeft.runtime.coordinator.progress import ProgressReporter
from mlpeft.runtime.coordinator.server import Server
from mlpeft.transport.rpc.address import join_address, local_host, split_address
from mlpeft.transport.security import operator
from mlpeft.work import RoundInterruptedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from mlpeft.cluster.overview import Overview
    from mlpeft.cluster.status import ClusterStatus
    from mlpeft.cluster.validation import Versions
    from mlpeft.config import RunConfig
    from mlpeft.config.cluster import ModeName
    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult
    from mlpeft.runtime.compute import Prepared
    from mlpeft.runtime.coordinator.driver import Observer
    from mlpeft.runtime.coordinator.local_workers import LocalWorkers
    from mlpeft.transport.blobs.offer import Offer
    from mlpeft.transport.rpc.control_codec import ControlRequest
    from mlpeft.transport.security.authority import Authority
    from mlpeft.work import Shard

log = logging.getLogger("mlpeft.coordinator")

T = TypeVar("T")

GRACE_S = 5.0
"""How long workers get to hear that the run is over."""
CLOSE_S = 4 * GRACE_S
"""How long everything on the loop may take to end."""
LATECOMERS_S = 12.0
"""How long a run that is over is told to those who ask: over a worker's `delay_s`."""
OVERVIEW_S = 5.0
"""How long another thread waits for the loop to tell how things are."""
ASK_S = 0.25
"""Seconds between looks at whether someone asked to stop; a result wakes at once."""


class LoopEndedError(MlpeftError):
    """The event loop of the coordinator has ended by itself."""


class Runtime:
    """A running coordinator, seen from the training thread.

    Args:
        config: The run's resolved configuration.
        fingerprint: The coordinator's view of the run (`run_fingerprint`).
        versions: The coordinator's.
        prepare: Makes the runner of an in-process worker.
        authority: Who may enter; None: anybody, in the clear.
        offer: The files that workers may fetch.
        observer: Watches the coordinator's machine.
    """

    def __init__(
        self,
        config: RunConfig,
        fingerprint: str,
        versions: Versions,
        prepare: Callable[[RunConfig], Prepared],
        authority: Authority | None = None,
        offer: Offer | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._observer = observer
        self._config = config
        self._fingerprint = fingerprint
        self._versions = versions
        self._prepare = prepare
        self._authority = authority
        self._offer = offer
        self._enrolment: EnrolmentServer | None = None
        self.reporter = ProgressReporter()
        """To be told of the training, so that the status can tell how far it is."""
        self._metrics = Metrics(self.overview)
        self.metrics_address: str | None = None
        """Where figures for Prometheus are served, once started, if they are."""
        self.join_address: str | None = None
        """Where workers join with a token, once started with an authority."""
        self.join_command = ""
        """The command that starts a worker, once started."""
        self._local: LocalWorkers | None = None
        self._advertisement: Advertisement | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run_loop, name="mlpeft-coordinator", daemon=True
        )
        self._death: BaseException | None = None  # what ended the loop too early
        self._closed = False

    def start(
        self, host: str, port: int, local_workers: int = 0, *, processes: bool = False
    ) -> str:
        """Listen, and start workers on this machine; the address.

        Args:
            host: Where to listen.
            port: Where to listen; 0 takes any that is free.
            local_workers: How many.
            processes: Whether they are processes of their own.

        Raises:
            MlpeftError: If the address cannot be had.
        """
        share_freed_memory()
        self._thread.start()
        try:
            address = self._call(self._start(host, port, local_workers, processes))
        except BaseException:
            self._closed = True
            self._end_loop()
            raise
        cluster = self._config.cluster
        if cluster.metrics_port is not None:
            try:
                self.metrics_address = self._metrics.start(
                    cluster.metrics_host, cluster.metrics_port
                )
            except MlpeftError as error:
                self.close(str(error))
                raise
        return address

    def close(self, reason: str) -> None:
        """Tell all workers that the run is over, and stop. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._metrics.close()
        if not self._thread.is_alive():
            return  # `run` has said so
        try:
            self._call(self._stop(reason), CLOSE_S)
        except TimeoutError:
            log.warning(
                "the coordinator does not come to its end within %g s; ending without "
                "it",
                CLOSE_S,
            )
        finally:
            self._end_loop()

    @property
    def mode(self) -> ModeName:
        """When its rounds end."""
        return self._config.cluster.mode

    def overview(self) -> Overview:
        """All that there is to tell of run, cluster and connections."""
        return self._ask(self._server.overview)

    def control(self, request: ControlRequest, who: str) -> str:
        """Execute a request of somebody who may steer; what happens now.

        Args:
            request: The request.
            who: As whom it is logged.

        Raises:
            UnknownWorkerError: If no such worker is connected.
        """
        return self._ask(lambda: self._server.control.obey(request, who))

    def norms(self) -> dict[str, list[float]]:
        """Norms of updates that counted, for the next session."""
        return self._ask(self._driver.norms)

    def restore_norms(self, norms: Mapping[str, Any]) -> None:
        """Take in the norms of an earlier session, before the first round.

        Raises:
            ValueError: If they are something else.
        """
        self._ask(lambda: self._driver.restore_norms(norms))

    def status(self) -> ClusterStatus:
        """A picture of the cluster."""
        return self.overview().cluster

    def stopping(self) -> bool:
        """Whether an operator asked that the run end after the round under way."""
        return self._driver.stopping

    def stranded(self) -> bool:
        """Whether the run is to end after a round at which nobody is working.

        For example without workers: that round would never end.
        """
        if not self._driver.stopping:
            return False
        cluster = self.status()
        return not cluster.leases and cluster.shards_in < cluster.shards

    def tell_latecomers(self, reason: str, should_stop: Callable[[], bool]) -> None:
        """Tell workers that connect from now on that the run is over.

        Workers of a coordinator that was killed at its end do not know it yet.

        Args:
            reason: Told to them.
            should_stop: Ends the wait, which takes `LATECOMERS_S` otherwise.
        """
        self._loop.call_soon_threadsafe(self._driver.end, reason)
        deadline = time.monotonic() + LATECOMERS_S
        while time.monotonic() < deadline and not should_stop():
            self.check_alive()
            time.sleep(ASK_S)

    def submit(
        self, version: int, meta: ParamTree, shards: Sequence[Shard]
    ) -> Future[RoundResult]:
        """Open a round."""
        result: Future[RoundResult] = Future()
        self._metrics.time_round(result)
        self._loop.call_soon_threadsafe(
            self._driver.submit, version, meta, shards, result
        )
        return result

    def note_step(self, version: int, step: ParamTree) -> None:
        """How theta of the next round's version follows from that before."""
        self._loop.call_soon_threadsafe(self._driver.note_step, version, step)

    def abandon(self, reason: str) -> None:
        """Give up the open round."""
        self._loop.call_soon_threadsafe(self._driver.abandon, reason)

    # --- on the loop ------------------------------------------------------------------

    async def _start(
        self, host: str, port: int, local_workers: int, processes: bool
    ) -> str:
        self._driver = CoordinatorDriver(
            self._config, self._fingerprint, self._versions, self._offer
        )
        self._driver.observer = self._observer
        self._server = Server(self._driver, self._authority, self.reporter.progress)
        address = await self._server.start(host, port)
        self.join_command = join_command(address, self._authority)
        self._driver.invite(advice(self.join_command, self._authority))
        if is_advertised(self._config, host):
            self._advertisement = Advertisement(address, self._driver, self._authority)
        if self._authority is not None:
            self._enrolment = EnrolmentServer(self._authority)
            _, chosen = split_address(address, "the coordinator")
            operator.renew(self._authority, join_address(local_host(host), chosen))
            named = self._config.cluster.join_port
            self.join_address = await self._enrolment.start(
                host, self._authority.join_port if named is None else named, chosen
            )
        if local_workers:
            self._local = (
                ProcessWorkers(self._driver)
                if processes
                else ThreadWorkers(self._driver, self._versions, self._prepare)
            )
            await self._local.start(local_workers)
        return address

    async def _stop(self, reason: str) -> None:
        self._driver.end(reason)
        if self._enrolment is not None:
            await self._enrolment.stop()
        ends = [self._server.stop(GRACE_S)]
        if self._advertisement is not None:
            ends.append(self._advertisement.close())
        if self._local is not None:
            ends.append(self._local.stop(GRACE_S))
        await asyncio.gather(*ends, return_exceptions=True)

    # --- between threads --------------------------------------------------------------

    def _run_loop(self) -> None:
        try:
            self._loop.run_forever()
        except BaseException as error:
            self._death = error
            log.critical("the coordinator's event loop has ended", exc_info=True)

    def check_alive(self) -> None:
        """Raise if the event loop has ended by itself: nobody would answer.

        Raises:
            LoopEndedError: If it has.
        """
        if not self._thread.is_alive():
            raise LoopEndedError(
                "the coordinator's event loop has ended, which is a bug "
                f"({self._death!r}); what was done is saved, and the same command "
                "continues the run"
            )

    def _call(self, work: Coroutine[Any, Any, T], timeout_s: float = math.inf) -> T:
        """What some work on the loop returns.

        Raises:
            LoopEndedError: If the loop ended.
            TimeoutError: If it takes too long.
        """
        answer = asyncio.run_coroutine_threadsafe(work, self._loop)
        deadline = time.monotonic() + timeout_s
        while True:
            done, _ = wait([answer], ASK_S)
            if done:
                return answer.result()
            self.check_alive()
            if time.monotonic() > deadline:
                raise TimeoutError

    def _ask(self, question: Callable[[], T]) -> T:
        """What the loop answers, if it does soon."""

        async def ask() -> T:
            return question()

        asked = asyncio.run_coroutine_threadsafe(ask(), self._loop)
        return asked.result(OVERVIEW_S)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GRACE_S)
        if not self._thread.is_alive():  # else a daemon: the process ends without it
            self._loop.close()


class ClusterExecutor:
    """Computes rounds on a cluster; an `mlpeft.work.Executor`.

    Args:
        runtime: A started runtime; closed by `close`.
        should_stop: Asked while a round is under way.
    """

    def __init__(
        self, runtime: Runtime, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._runtime = runtime
        self._should_stop = should_stop
        self.closes_early = runtime.mode != "sync"
        """See `mlpeft.work.ClosesEarly`."""
        self.spare_shards = runtime.mode == "async"

    def run(
        self, version: int, meta: ParamTree, shards: Sequence[Shard]
    ) -> RoundResult:
        """Compute a round; see `mlpeft.work.Executor`.

        Raises:
            RoundFailedError: If a shard failed too often, with the list of failures.
        """
        result = self._runtime.submit(version, meta, shards)
        stranded = False
        while True:
            try:
                return result.result(timeout=ASK_S)
            except TimeoutError:
                self._runtime.check_alive()
                if self._should_stop():
                    self._runtime.abandon("the coordinator is stopping")
                    raise RoundInterruptedError(
                        f"stopped while {len(shards)} shards were on the cluster"
                    ) from None
                # Twice in a row: leases may be on their way from one to the other.
                stranded, before = self._runtime.stranded(), stranded
                if stranded and before:
                    self._runtime.abandon("the run ends, and nobody is working")
                    raise RoundInterruptedError(
                        f"stopped while {len(shards)} shards waited for workers"
                    ) from None

    def note_step(self, version: int, step: ParamTree) -> None:
        """See `mlpeft.work.TakesSteps`."""
        self._runtime.note_step(version, step)

    def close(self) -> None:
        """End the run for all workers. May be called twice."""
        self._runtime.close("the run is done")
