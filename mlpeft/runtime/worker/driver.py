"""Drives `WorkerMachine` over a link: bytes in, events; commands, bytes out.

Everything here runs on one event loop, but for the compute thread, which posts its
events to the loop. There are no decisions in this file.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from functools import partial
from typing import TYPE_CHECKING

from mlpeft.cluster import messages as m
from mlpeft.cluster.messages import about
from mlpeft.cluster.worker import messages as wm
from mlpeft.cluster.worker.machine import WorkerMachine, WorkerPolicy
from mlpeft.config import RunConfig, parse_yaml
from mlpeft.errors import MlpeftError, RemoteProtocolError
from mlpeft.platform import NoSleepGuard
from mlpeft.runtime.worker.awake import Awake
from mlpeft.runtime.worker.link import LinkLostError, LinkRefusedError
from mlpeft.transport.rpc import wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from mlpeft.cluster.validation import Versions
    from mlpeft.params import ParamTree
    from mlpeft.platform import SleepGuard
    from mlpeft.runtime.compute import ComputeThread, Prepared
    from mlpeft.runtime.worker.link import Link, Stream
    from mlpeft.transport.blobs.manifest import OfferedAsset
    from mlpeft.transport.blobs.transfer import Fetch

    Obtain = Callable[
        [RunConfig, Sequence[OfferedAsset], Fetch], Awaitable[dict[str, Path]]
    ]

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
        obtain: Brings the files of a run to this machine; None: they are here.
        wakefulness: Keeps the machine awake while there is work; None: nothing does.
    """

    def __init__(
        self,
        link: Link,
        make_compute: Callable[[Callable[[wm.WorkerEvent], None]], ComputeThread],
        *,
        policy: WorkerPolicy,
        name: str,
        versions: Versions,
        obtain: Obtain | None = None,
        wakefulness: SleepGuard | None = None,
    ) -> None:
        self._awake = Awake(wakefulness or NoSleepGuard())
        self._link = link
        self._make_compute = make_compute
        self._obtain = obtain
        self._machine = WorkerMachine(policy)
        self._patience_s = policy.announce_s
        self._welcome_s = policy.welcome_s
        self._ask = wire.JoinRequest(
            protocol_version=versions.protocol,
            mlpeft_version=versions.mlpeft,
            mlx_version=versions.mlx,
            name=name,
            process_id=uuid.uuid4().hex,
        )
        self._random = random.Random()  # noqa: S311 - spreads reconnects, no secret
        self._stream: Stream | None = None
        self._thetas: dict[int, ParamTree] = {}  # the newest only
        self._ready_for: object = None  # configuration and assets of _prepared
        self._prepared: Prepared | None = None
        self._run = ""
        self._timer: asyncio.TimerHandle | None = None
        self._connection: asyncio.Task[None] | None = None

    async def run(self) -> wm.Stop:
        """Work until there is nothing more to do; why, and whether it is a failure."""
        self._loop = asyncio.get_running_loop()
        self._stopped: asyncio.Future[wm.Stop] = self._loop.create_future()
        self._compute = self._make_compute(self._post)
        try:
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
        if self._timer is not None:
            self._timer.cancel()
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
        self._set_timer()

    def _fail(self, error: Exception) -> None:
        if not self._stopped.done():
            self._stopped.set_exception(error)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wakeup = self._machine.next_wakeup()
        self._timer = (
            None
            if wakeup is None
            else self._loop.call_at(wakeup, self._handle, m.TimePassed())
        )

    # --- commands out -----------------------------------------------------------------

    def _obey(self, command: wm.WorkerCommand) -> None:
        match command:
            case wm.DialCoordinator(delay_s):
                self._connection = self._loop.create_task(self._connect(delay_s))
            case wm.ComputeShard(lease):
                self._compute.submit(lease, self._thetas[lease.version])
            case wm.CancelShard(key):
                self._compute.cancel(key)
            case wm.SendHeartbeat(progress):
                self._send(wire.Heartbeat(progress))
            case wm.SendUpdate(key, version, update):
                self._send(wire.Update(key, version, update))
            case wm.ReturnLease(key, failed, reason):
                self._send(wire.LeaseReturn(key, failed, reason))
            case wm.SendDraining():
                self._send(wire.Draining())
            case m.Announce(level, text, _, key):
                log.log(_LEVELS[level], text, extra=about(self._ask.name, key))
            case wm.Stop():
                self._stopped.set_result(command)

    def _send(self, message: wire.UpMessage) -> None:
        """Send, if there is a stream; if it breaks, the reader will say so."""
        if self._stream is not None:
            self._stream.send(message)

    # --- one connection ---------------------------------------------------------------

    async def _connect(self, delay_s: float) -> None:
        """Join, and read until the stream ends; then tell the state machine how."""
        event: wm.WorkerEvent
        try:
            await asyncio.sleep(delay_s)
            event = await self._serve()
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
            if self._stream is not None and not self._stopped.done():
                self._stream.close()
                self._stream = None
        self._thetas.clear()
        self._handle(event)

    async def _serve(self) -> wm.WorkerEvent:
        """One connection from joining to its end."""
        response = await self._link.join(self._ask)
        prepared = await self._prepare(response)
        hello = wire.Hello(response.worker_id, prepared.device, prepared.fingerprint)
        self._stream = await self._link.open(hello)
        message = await self._first(self._stream)
        while True:
            match message:
                case wire.Welcome(heartbeat_s):
                    name, run = self._ask.name, self._run
                    log.info("%s takes part in run %s", name, run, extra=about(name))
                    self._handle(wm.CoordinatorJoined(response.session, heartbeat_s))
                case wire.Theta(version, meta):
                    self._hold(version, meta)
                case wire.LeaseGrant(lease):
                    self._handle(wm.LeaseGranted(lease))
                case wire.LeaseRevocation(key, reason):
                    self._handle(wm.LeaseRevoked(key, reason))
                case wire.Drain(reason):
                    self._handle(wm.StopRequested(f"drained: {reason}"))
                case wire.Notice(text):
                    self._handle(wm.NoticeReceived(text))
                case wire.RunOver(reason):
                    return wm.RunOver(reason, self._random.random())
                case None:
                    raise LinkLostError("the coordinator ended the stream")
            message = await self._stream.receive()

    async def _first(self, stream: Stream) -> wire.DownMessage | None:
        """The first message of a stream: later ones may be long in coming, not it."""
        try:
            async with asyncio.timeout(self._welcome_s):
                return await stream.receive()
        except TimeoutError as error:
            raise LinkLostError(
                "the coordinator took the stream of work and has not said a word for "
                f"{self._welcome_s:g} s"
            ) from error

    def _hold(self, version: int, meta: ParamTree) -> None:
        """Keep theta where leases will look for it, then say that it is here."""
        self._thetas[version] = meta
        self._handle(wm.ThetaReceived(version))
        newest = self._machine.version
        for old in [held for held in self._thetas if held != newest]:
            del self._thetas[old]

    async def _prepare(self, response: wire.JoinResponse) -> Prepared:
        """Have the run's files and be ready for it; it may be the one before.

        Raises:
            MlpeftError: If this worker cannot, whatever the reason: a configuration
                comes from another machine, and may ask for anything.
        """
        run = (response.config_yaml, response.assets)
        if self._prepared is None or run != self._ready_for:
            tree = parse_yaml(response.config_yaml)
            config = RunConfig.from_dict(tree, source="the run")
            try:
                self._prepared = await self._make_ready(config, response)
            except MlpeftError:
                raise
            except Exception as error:
                log.debug("the run cannot be prepared", exc_info=True)
                raise MlpeftError(f"{type(error).__name__}: {error}") from error
            self._ready_for = run
            self._run = config.run.name
        return self._prepared

    async def _make_ready(
        self, config: RunConfig, response: wire.JoinResponse
    ) -> Prepared:
        files: dict[str, Path] = {}
        if self._obtain is not None:
            fetch = partial(self._link.fetch, response.worker_id)
            files = await self._obtain(config, response.assets, fetch)
        return await asyncio.wrap_future(self._compute.prepare(config, files))
