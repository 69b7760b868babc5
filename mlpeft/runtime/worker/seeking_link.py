"""A link that finds its coordinator: at the usual address, else on the network."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from mlpeft.platform.network import interface_of
from mlpeft.runtime.worker.grpc_link import GrpcLink, WrongPeerError
from mlpeft.runtime.worker.link import LinkLostError
from mlpeft.transport.discovery.search import NetworkClosedError, browse, select
from mlpeft.transport.rpc.address import split_address
from mlpeft.transport.security.certificates import fingerprint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from mlpeft.cluster.protocol import Hello
    from mlpeft.runtime.worker.grpc_link import GrpcStream
    from mlpeft.transport.discovery.announcement import Announcement
    from mlpeft.transport.rpc.join_codec import JoinRequest, JoinResponse
    from mlpeft.transport.security.identity import Identity

    Look = Callable[[], Awaitable[tuple[Announcement, ...]]]

log = logging.getLogger("mlpeft.worker")

REACH_S = 1.0
"""How long an address may take to answer before the next is tried."""
PASS_OVER_S = 60.0
"""How long one who was not the coordinator that they said is passed over."""


class SeekingLink:
    """A way to whichever coordinator there is for this worker.

    Dialled is the usual address if somebody answers there, else the one coordinator on
    the network that `discovery.choice` lets through. When the line breaks, it is found
    anew. Who is found is trusted no more than an address that somebody typed.

    Args:
        usual: host:port to try first.
        identity: See `GrpcLink`.
        run: Name of the run to look for; then the usual address is left out.
        insecure: Whether everybody on the network is trusted.
        look: Who announces themselves.
    """

    def __init__(
        self,
        usual: str,
        identity: Identity | None = None,
        *,
        run: str | None = None,
        insecure: bool = False,
        look: Look = browse,
    ) -> None:
        self._usual = usual
        self._identity = identity
        self._ca = None if identity is None else fingerprint(identity.ca)
        self._run = run
        self._insecure = insecure
        self._look = look
        self._link: GrpcLink | None = None
        self._found: Announcement | None = None  # what led to the link, if anything did
        self._passed_over: dict[str, float] = {}  # until when, by address

    async def join(self, request: JoinRequest) -> JoinResponse:
        """Find a coordinator, unless there is one, and ask to take part."""
        if self._link is None:
            self._link, self._found = await self._find()
        try:
            return await self._link.join(request)
        except WrongPeerError as error:
            found = self._found
            if found is None:
                raise
            # An announcement is no reason to end a worker: anybody can make one.
            for address in found.endpoints:
                self._passed_over[address] = time.monotonic() + PASS_OVER_S
            await self._drop()
            raise LinkLostError(f"passing over {found}: {error}") from error
        except LinkLostError:
            await self._drop()
            raise

    async def open(self, hello: Hello) -> GrpcStream:
        """Open the stream of work of a join."""
        return await self._joined().open(hello)

    def fetch(
        self, worker_id: str, sha256: str, offset: int
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from an offset on."""
        return self._joined().fetch(worker_id, sha256, offset)

    async def close(self) -> None:
        """Release sockets."""
        await self._drop()

    def _joined(self) -> GrpcLink:
        assert self._link is not None, "this comes after join"  # noqa: S101 - ours
        return self._link

    async def _drop(self) -> None:
        if self._link is not None:
            await self._link.close()
            self._link = None

    # --- finding ----------------------------------------------------------------------

    async def _find(self) -> tuple[GrpcLink, Announcement | None]:
        """A link to dial, and the announcement that led to it, if one did.

        Raises:
            LinkLostError: If there is none yet, with what the user can do.
        """
        if self._run is None and await _reach(self._usual) is not None:
            return GrpcLink(self._usual, self._identity), None
        nobody = f"nobody answers at {self._usual}, and " if self._run is None else ""
        try:
            found = await self._look()
        except NetworkClosedError as error:
            raise LinkLostError(
                f"{nobody}there is no looking for others ({error}); {_BY_HAND}"
            ) from error
        now = time.monotonic()
        able = [
            one
            for one in found
            if not any(now < self._passed_over.get(at, now) for at in one.endpoints)
        ]
        chosen, reason = select(
            able, run=self._run, ca=self._ca, insecure=self._insecure
        )
        if chosen is None:
            hint = "" if found else f"; {_BY_HAND}"
            raise LinkLostError(f"{nobody}{reason}{hint}")
        for address in chosen.endpoints:
            own = await _reach(address)
            if own is not None:
                log.info(
                    "%s; dialling %s from %s (%s)",
                    *(reason, address, own, interface_of(own) or "interface unknown"),
                )
                return GrpcLink(address, self._identity), chosen
        tried = ", ".join(chosen.endpoints)
        raise LinkLostError(
            f"{reason}, but it does not answer at {tried}: is a firewall between? "
            f"{_BY_HAND}"
        )


_BY_HAND = "--coordinator host:port dials without looking"


async def _reach(address: str) -> str | None:
    """The address of ours from which another is reached; None if nobody answers."""
    host, port = split_address(address, "the coordinator")
    try:
        async with asyncio.timeout(REACH_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # TimeoutError is one
        return None
    own = str(writer.get_extra_info("sockname")[0])
    writer.close()
    return own
