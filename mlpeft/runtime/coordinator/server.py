"""The gRPC server: bytes to the driver and back."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio

from mlpeft.cluster.coordinator.updates import Turn
from mlpeft.cluster.overview import Overview, RunProgress
from mlpeft.cluster.protocol import Acknowledgement, Draining, Heartbeat, Hello
from mlpeft.errors import DataError, MlpeftError, RemoteProtocolError
from mlpeft.runtime.coordinator.admission import Admission, NotAdmittedError
from mlpeft.runtime.coordinator.blob_service import send_blob
from mlpeft.runtime.coordinator.control import Control, NotOperatorError
from mlpeft.runtime.coordinator.driver import UnknownWorkerError
from mlpeft.runtime.coordinator.grpc_peer import GrpcPeer
from mlpeft.runtime.coordinator.health import StandardServices
from mlpeft.runtime.coordinator.identities import identity_of
from mlpeft.runtime.coordinator.joins import JoinRefusedError
from mlpeft.runtime.coordinator.listen import listen, listen_on_socket
from mlpeft.runtime.coordinator.message_rate import HeartbeatRate
from mlpeft.transport.rpc import (
    bundles,
    channel,
    codec,
    control_codec,
    credentials,
    join_codec,
    status_codec,
)
from mlpeft.transport.rpc.outbox import Traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mlpeft.cluster.protocol import Update, WorkerId
    from mlpeft.runtime.coordinator.admission import Caller
    from mlpeft.runtime.coordinator.driver import CoordinatorDriver
    from mlpeft.runtime.coordinator.listen import Context
    from mlpeft.transport.security.authority import Authority


log = logging.getLogger("mlpeft.coordinator")


class DismissedError(MlpeftError):
    """The driver wants no more of a worker's stream."""


class Server:
    """Serves a driver's workers over gRPC.

    Args:
        driver: Whose.
        authority: Who may enter, over TLS with certificates on both sides; None:
            anybody, in the clear.
        progress: Says how far the run is.
    """

    def __init__(
        self,
        driver: CoordinatorDriver,
        authority: Authority | None = None,
        progress: Callable[[], RunProgress] = RunProgress,
    ) -> None:
        self._progress = progress
        self._driver = driver
        self._authority = authority
        self._admission = None if authority is None else Admission(authority)
        self.control = Control(driver, authority)
        self._server = grpc.aio.server(
            options=[*channel.OPTIONS, ("grpc.so_reuseport", 0)]
        )
        self._server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(
                    channel.SERVICE,
                    {
                        "Join": grpc.unary_unary_rpc_method_handler(self._join),
                        "Work": grpc.stream_stream_rpc_method_handler(self._work),
                        "FetchBlob": grpc.unary_stream_rpc_method_handler(
                            self._fetch_blob
                        ),
                        "Status": grpc.unary_unary_rpc_method_handler(self._status),
                        "Control": grpc.unary_unary_rpc_method_handler(self._control),
                    },
                )
            ]
        )
        self._standard = StandardServices(self._server, self._let_in)

    async def start(self, host: str, port: int) -> str:
        """Listen; the address, with the port that was chosen if 0 was asked for.

        Raises:
            MlpeftError: If the address cannot be had.
        """
        secured = None
        if self._authority is not None:
            secured = credentials.for_workers(self._authority)
        address = await listen(
            self._server,
            host,
            port,
            secured,
            "Choose another with --listen host:port (port 0: any that is free)",
        )
        await self._standard.serving()
        return address

    async def start_on_socket(self, path: Path) -> str:
        """Listen on a socket in the file system; the address."""
        address = await listen_on_socket(self._server, path)
        await self._standard.serving()
        return address

    async def stop(self, grace_s: float) -> None:
        """End: streams get so long to be read to their end."""
        await self._standard.ending()
        await self._server.stop(grace_s)

    # --- methods ----------------------------------------------------------------------

    async def _join(self, data: bytes, context: Context) -> bytes:
        try:
            caller = self._admit(context)
            request = join_codec.decode_join_request(data)
            if caller is not None:
                name = caller.worker_name(request.name)
                request = dataclasses.replace(request, name=name)
            identity = identity_of(context.peer(), caller)
            response = self._driver.joins.join(request, identity)
        except MlpeftError as error:
            await _abort(context, error)
        return join_codec.encode_join_response(response)

    async def _fetch_blob(self, data: bytes, context: Context) -> None:
        try:
            caller = self._admit(context)
            await send_blob(self._driver, data, context, partial(self._check, caller))
        except MlpeftError as error:
            await _abort(context, error)

    def _check(self, caller: Caller | None) -> None:
        """See that a caller has not been shut out since they were let in.

        Raises:
            NotAdmittedError: If they have.
        """
        if self._admission is not None and caller is not None:
            self._admission.check(caller)

    def _admit(self, context: Context) -> Caller | None:
        """Whoever makes a call; None in the clear.

        Raises:
            NotAdmittedError: If they may not.
        """
        return None if self._admission is None else self._admission.admit(context)

    async def _let_in(self, context: Context) -> Caller | None:
        """Whoever makes a call, or the end of it if they may not."""
        try:
            return self._admit(context)
        except MlpeftError as error:
            await _abort(context, error)

    async def _status(self, data: bytes, context: Context) -> bytes:
        try:
            self._admit(context)
        except MlpeftError as error:
            await _abort(context, error)
        return status_codec.encode_overview(self.overview())

    def overview(self) -> Overview:
        """All that there is to tell of run, cluster and connections."""
        driver = self._driver
        return Overview(
            run=driver.config.run.name,
            session=driver.session,
            progress=self._progress(),
            stopping=driver.stopping,
            bytes_moved=driver.traffic.bytes_moved(),
            cluster=driver.status(),
            bytes_by_worker=driver.bytes_by_worker(),
            clock_s=time.time(),
            versions=driver.versions,
        )

    async def _control(self, data: bytes, context: Context) -> bytes:
        try:
            caller = self._admit(context)
            request = control_codec.decode_request(data)
            text = self.control.execute(request, caller)
        except MlpeftError as error:
            await _abort(context, error)
        return control_codec.encode_response(text)

    async def _work(self, requests: Any, context: Context) -> None:
        """One worker's stream, from Hello to its end."""
        decoder = codec.UpDecoder(self._driver.limit_bytes)
        peer = GrpcPeer(Traffic(self._driver.traffic))
        try:
            caller = self._admit(context)
            hello = await _hello(context, decoder)
            worker = self._driver.connect(hello, peer)
        except MlpeftError as error:
            await _abort(context, error)
        offence = await self._serve(context, decoder, peer, worker, caller)
        if offence is not None:
            await _abort(context, offence)

    async def _serve(
        self,
        context: Context,
        decoder: codec.UpDecoder,
        peer: GrpcPeer,
        worker: WorkerId,
        caller: Caller | None,
    ) -> MlpeftError | None:
        """Read and write until one of them ends; what to abort the stream with."""
        reason = "the connection broke"
        offence: MlpeftError | None = None
        reader = asyncio.create_task(self._read(context, decoder, peer, worker, caller))
        writer = asyncio.create_task(_write(context, peer))
        watcher = asyncio.create_task(self._watch(caller))
        parts: list[asyncio.Future[Any]] = [reader, writer, peer.dismissed, watcher]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            if peer.dismissed.done():
                reason = peer.dismissed.result()
                offence = DismissedError(reason)
            elif watcher.done():
                watcher.result()
            elif reader.done():
                reason = reader.result()
        except NotAdmittedError as shut_out:
            reason, offence = f"it is shut out: {shut_out}", shut_out
        except RemoteProtocolError as broken:
            reason, offence = f"it broke the protocol: {broken}", broken
        except Exception as error:
            log.exception("a stream failed")
            offence = RemoteProtocolError(f"{type(error).__name__}: {error}")
            reason = f"its messages cannot be handled: {offence}"
        except asyncio.CancelledError:
            writer.cancel()
            raise
        finally:
            self._driver.disconnect(worker, reason)
            reader.cancel()
            watcher.cancel()
            # gRPC takes no status while a write is under way. If the worker stands
            # still, keepalive breaks the connection, and that ends the write.
            peer.outbox.drop()
            await asyncio.gather(reader, writer, watcher, return_exceptions=True)
        return offence

    async def _watch(self, caller: Caller | None) -> None:
        """End only when a worker with a certificate is shut out."""
        if self._admission is None or caller is None:
            await asyncio.get_running_loop().create_future()
        else:
            await self._admission.watch(caller)

    async def _read(
        self,
        context: Context,
        decoder: codec.UpDecoder,
        peer: GrpcPeer,
        worker: WorkerId,
        caller: Caller | None,
    ) -> str:
        """Hand what comes to the driver, until the worker ends; how it ended.

        Raises:
            RemoteProtocolError: If what comes is not what the contract says.
            NotAdmittedError: If it comes from somebody who has been shut out.
        """
        farewell = False
        rate = HeartbeatRate(self._driver.config.cluster.heartbeat_s)
        async for frame in _frames(context, peer.traffic):
            begun = decoder.incoming
            message = decoder.feed(frame)
            peer.acknowledge(decoder.acknowledgement())
            if isinstance(message, Acknowledgement):
                self._theta_moved(peer, worker, message)
                continue
            if message is None and begun is None:
                message = await self._turn(decoder, worker)
            elif message is None:
                self._update_moved(decoder, peer, worker)
            if message is not None:
                self._check(caller)  # else nothing of theirs counts any more
                farewell |= isinstance(message, Draining)
                if isinstance(message, Heartbeat):
                    rate.count(time.monotonic())
                self._driver.receive(worker, message)
            del message  # it may be large, and the next may be long in coming
        # gRPC says the same of a stream that its caller ended and of one that broke.
        return "it ended" if farewell else "the connection broke"

    def _theta_moved(
        self, peer: GrpcPeer, worker: WorkerId, message: Acknowledgement
    ) -> None:
        """A worker has read some of theta; the driver hears of it now and then.

        Raises:
            RemoteProtocolError: If it cannot have.
        """
        peer.outbox.acknowledge(message.read_bytes)
        moved = peer.outbox.progress()
        if moved is not None and peer.sending.due(*moved):
            self._driver.theta_moved(worker, *moved)

    def _update_moved(
        self, decoder: codec.UpDecoder, peer: GrpcPeer, worker: WorkerId
    ) -> None:
        """A chunk of an update came; the driver hears of it now and then."""
        key = decoder.incoming
        if key is None:
            return
        done_bytes, total_bytes = decoder.progress
        if peer.receiving.due(key, done_bytes, total_bytes):
            self._driver.update_moved(worker, key, done_bytes, total_bytes)

    async def _turn(self, decoder: codec.UpDecoder, worker: WorkerId) -> Update | None:
        """Let a large update that begins wait for its turn, if it is one.

        Nothing is read from its stream meanwhile: gRPC's flow control holds its bytes
        where they are. Whether the worker lives is then for keepalive to find out.

        Returns:
            The update without its arrays, if they are to be passed over.
        """
        key = decoder.incoming
        if key is None:
            return None
        if (turn := self._driver.upload_turn(worker, key)) is Turn.LATER:
            while turn is Turn.LATER:
                await self._driver.hold(worker, key)
                turn = self._driver.upload_turn(worker, key)
            self._driver.read_on(worker)
        if turn is Turn.NOW:
            return None
        return decoder.skip("it is no longer wanted")


async def _frames(context: Context, traffic: Traffic) -> AsyncIterator[bytes]:
    """The frames that a worker sends, one by one, until it ends."""
    while (message := await context.read()) is not grpc.aio.EOF:
        traffic.count_received(message)
        for frame in bundles.decode(message):
            yield frame


async def _write(context: Context, peer: GrpcPeer) -> None:
    async for frame in peer.outbox.frames():
        await context.write(frame)
        peer.traffic.count_sent(frame)


async def _hello(context: Context, decoder: codec.UpDecoder) -> Hello:
    """The first message of a stream."""
    frame = await context.read()
    message = None if frame is grpc.aio.EOF else decoder.feed(frame)
    if not isinstance(message, Hello):
        raise RemoteProtocolError("the first message of a stream must be Hello")
    return message


async def _abort(context: Context, error: MlpeftError) -> NoReturn:
    """End a call with the status that fits the error. The one place that maps them."""
    match error:
        case JoinRefusedError():
            code = grpc.StatusCode.FAILED_PRECONDITION
        case UnknownWorkerError():
            code = grpc.StatusCode.NOT_FOUND
        case NotAdmittedError() | NotOperatorError():
            code = grpc.StatusCode.PERMISSION_DENIED
        case DismissedError() | DataError():
            code = grpc.StatusCode.ABORTED
        case _:
            code = grpc.StatusCode.INVALID_ARGUMENT
    await context.abort(code, str(error))
    raise AssertionError("abort returned")
