"""Drives `WorkerMachine` over a link: bytes in, events; commands, bytes out.

Everything here runs on one event loop, but for the compute thread, which posts its
events to the loop. There are no decisions in this file.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from mlpeft.cluster import messages as m
from mlpeft.cluster.messages import about
from mlpeft.cluster.protocol import (
    Drain,
    Hello,
    Lease,
    LeaseRevocation,
    Notice,
    RunOver,
    Theta,
    Update,
    Welcome,
)
from mlpeft.cluster.worker import messages as wm
from mlpeft.cluster.worker.machine import WorkerMachine, WorkerPolicy
from mlpeft.errors import MlpeftError, ParamMismatch, RemoteProtocolError
from mlpeft.platform import NoSleepGuard
from mlpeft.platform.wakefulness import Awake
from mlpeft.runtime.timer import WakeupTimer
from mlpeft.runtime.worker.link import LinkLostError, LinkRefusedError
from mlpeft.runtime.worker.preparation import Preparation
from mlpeft.transport.rpc.join_codec import JoinRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.protocol import CoordinatorMessage, Report
    from mlpeft.cluster.validation import Versions
    from mlpeft.meta.compression import Compression
    from mlpeft.params import ParamTree
    from mlpeft.platform import SleepGuard
    from mlpeft.runtime.compute import ComputeThread
    from mlpeft.runtime.worker.link import Link, Stream
    from mlpeft.runtime.worker.machine_watch import MachineWatch
    from mlpeft.runtime.worker.preparation import FetchAssets

log = logging.getLogger("mlpeft.worker")

_LEVELS = {
    m.Level.INFO: logging.INFO,
    m.Level.WARNING: logging.WARNING,
    m.Level.ERROR: logging.ERROR,
}


class WorkerDriver:
    """One worker.

    Args:
        link: The way to the coordinator; closed by `run`.
        make_compute: Makes the compute thread, given where to post its events.
        policy: How the worker behaves when nobody answers.
        name: What people call it.
        versions: Of this process.
        fetch_assets: Brings the files of a run to this machine; None: they are here.
        wakefulness: Keeps the machine awake while there is work; None: nothing does.
        watch: Says when the machine is needed otherwise; None: it never is.
    """

    def __init__(
        self,
        link: Link,
        make_compute: Callable[[Callable[[wm.WorkerEvent], None]], ComputeThread],
        *,
        policy: WorkerPolicy,
        name: str,
        versions: Versions,
        fetch_assets: FetchAssets | None = None,
        wakefulness: SleepGuard | None = None,
        watch: MachineWatch | None = None,
    ) -> None:
        self._watch = watch
        self._awake = Awake(wakefulness or NoSleepGuard())
        self._link = link
        self._make_compute = make_compute
        self._preparation = Preparation(link, fetch_assets)
        self._machine = WorkerMachine(policy)
        self._patience_s = policy.announce_s
        self._welcome_s = policy.welcome_s
        self._ask = JoinRequest(
            protocol_version=versions.protocol,
            mlpeft_version=versions.mlpeft,
            mlx_version=versions.mlx,
            name=name,
            process_id=uuid.uuid4().hex,
        )
        self._random = random.Random()  # noqa: S311 - spreads reconnects, no secret
        self._stream: Stream | None = None
        self._compression: Compression | None = None  # of the run
        self._thetas: dict[int, ParamTree] = {}  # the newest only
        self._connection: asyncio.Task[None] | None = None

    async def run(self) -> wm.Stop:
        """Work until there is nothing more to do; why, and whether it is a failure."""
        self._loop = asyncio.get_running_loop()
        self._timer = WakeupTimer(self._loop, self._wake)
        self._stopped: asyncio.Future[wm.Stop] = self._loop.create_future()
        self._compute = self._make_compute(self._post)
        try:
            if self._watch is not None:
                self._watch.start(self._post)
                await asyncio.sleep(0)  # what it found comes before the first dial
            self._handle(wm.Started())
            return await self._stopped
        finally:
            try:
                await self._release()
            finally:
                self._awake.release()

    def request_stop(self, reason: str) -> None:
        """Finish the shard in hand, then end. To be called on the event loop."""
        self._handle(wm.StopRequested(reason))

    async def _release(self) -> None:
        self._timer.cancel()
        if self._watch is not None:
            await asyncio.to_thread(self._watch.close)
        if self._stream is not None:
            await self._stream.finish()
        if self._connection is not None:
            self._connection.cancel()
            await asyncio.gather(self._connection, return_exceptions=True)
        await self._link.close()
        closing = asyncio.create_task(asyncio.to_thread(self._compute.close))
        while not closing.done():
            await asyncio.wait([closing], timeout=self._patience_s)
            if not closing.done():
                log.info("%s: letting the task in hand come to its end", self._ask.name)

    # --- events in --------------------------------------------------------------------

    def _post(self, event: wm.WorkerEvent) -> None:
        """Take an event from the compute thread."""
        self._loop.call_soon_threadsafe(self._handle, event)

    def _handle(self, event: wm.WorkerEvent) -> None:
        """The only way into the state machine. A bug in it ends the worker, loudly."""
        if self._stopped.done():
            return
        try:
            for command in self._machine.handle(event, self._loop.time()):
                self._obey(command)
        except Exception as error:  # noqa: BLE001 - raised again by run()
            self._fail(error)
            return
        self._awake.note(working=self._machine.working)
        self._timer.set(self._machine.next_wakeup())

    def _fail(self, error: Exception) -> None:
        if not self._stopped.done():
            self._stopped.set_exception(error)

    def _wake(self) -> None:
        self._handle(m.TimePassed())

    # --- commands out -----------------------------------------------------------------

    def _obey(self, command: wm.WorkerCommand) -> None:
        match command:
            case wm.DialCoordinator(delay_s):
                self._connection = self._loop.create_task(self._connect(delay_s))
            case wm.ComputeShard(lease):
                self._compute.submit(lease, self._thetas[lease.version])
            case wm.CancelShard(key):
                self._compute.cancel(key)
            case wm.Send(message):
                # If the stream breaks, the reader will say so.
                if self._stream is not None:
                    self._stream.send(_as_sent(message))
            case m.Announce(level, text, _, key):
                log.log(_LEVELS[level], text, extra=about(self._ask.name, key))
            case wm.Stop():
                self._stopped.set_result(command)
            case _:
                assert_never(command)

    # --- one connection ---------------------------------------------------------------

    async def _connect(self, delay_s: float) -> None:
        """Join, and read until the stream ends; then tell the state machine how."""
        event: wm.WorkerEvent
        try:
            await asyncio.sleep(delay_s)
            event = wm.StreamLost(await self._serve(), self._random.random())
        except LinkRefusedError as error:
            event = wm.JoinRefused(str(error))
        except LinkLostError as error:
            event = wm.StreamLost(str(error), self._random.random())
        except RemoteProtocolError as error:
            reason = f"the coordinator broke the protocol: {error}"
            event = wm.StreamLost(reason, self._random.random())
        except MlpeftError as error:
            event = wm.JoinRefused(f"this worker cannot take part in the run: {error}")
        except Exception as error:  # noqa: BLE001 - raised again by run()
            self._fail(error)
            return
        finally:
            if not self._stopped.done():
                self._close_stream()
        self._thetas.clear()
        self._handle(event)

    async def _serve(self) -> str:
        """One connection from joining to its end; how it ended."""
        response = await self._link.join(self._ask)
        prepared = await self._preparation.prepare(response, self._compute)
        self._compression = prepared.compression
        hello = Hello(response.worker_id, prepared.device, prepared.fingerprint)
        self._stream = await self._link.open(hello)
        welcome = await self._welcome(self._stream)
        name = self._ask.name
        run = self._preparation.run
        log.info("%s takes part in run %s", name, run, extra=about(name))
        self._handle(wm.CoordinatorJoined(response.session, welcome.heartbeat_s))
        while (message := await self._stream.receive()) is not None:
            if isinstance(message, RunOver):
                self._close_stream()
                self._handle(message)
                return "no run yet"
            self._receive(message)
        return "the coordinator ended the stream"

    def _receive(self, message: CoordinatorMessage) -> None:
        """A message came on the stream.

        Raises:
            RemoteProtocolError: If it may not come now.
        """
        match message:
            case Theta():
                self._take_theta(message)
            case Lease() | LeaseRevocation() | Drain() | Notice() | RunOver():
                self._handle(message)
            case Welcome():
                raise RemoteProtocolError("a second Welcome on one stream")
            case _:
                assert_never(message)

    async def _welcome(self, stream: Stream) -> Welcome:
        """The first message of a stream: later ones may be long in coming, not it.

        Raises:
            LinkLostError: If it does not come.
            RemoteProtocolError: If it is another.
        """
        try:
            async with asyncio.timeout(self._welcome_s):
                message = await stream.receive()
        except TimeoutError as error:
            raise LinkLostError(
                "the coordinator took the stream of work and has not said a word for "
                f"{self._welcome_s:g} s"
            ) from error
        if message is None:
            raise LinkLostError("the coordinator ended the stream")
        if not isinstance(message, Welcome):
            raise RemoteProtocolError("the first message of a stream must be Welcome")
        return message

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _take_theta(self, theta: Theta) -> None:
        """Keep theta where leases will look for it, then say that it is here.

        Raises:
            RemoteProtocolError: If it is a step from where this worker is not.
        """
        meta = theta.meta
        if theta.base is not None:
            before = self._thetas.get(theta.base)
            if before is None or self._compression is None:
                raise RemoteProtocolError(
                    f"a step of theta from version {theta.base} came, and this worker "
                    f"has {sorted(self._thetas) or 'none'}"
                )
            try:
                meta = self._compression.follow(before, theta.meta)
            except ParamMismatch as error:
                raise RemoteProtocolError(str(error)) from error
        self._thetas[theta.version] = meta
        self._handle(theta)
        newest = self._machine.version
        for old in [version for version in self._thetas if version != newest]:
            del self._thetas[old]


def _as_sent(message: Report) -> Report:
    """A message as it travels: an update that was packed has that for its sum."""
    if not isinstance(message, Update) or message.update is None:
        return message
    update = message.update
    if not update.packed:
        return message
    update = replace(update, total=update.packed, packed={})
    return replace(message, update=update)
