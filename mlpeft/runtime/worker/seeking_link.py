"""A link that finds its coordinator: at the usual address, else on the network."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from mlpeft.platform.network import interface_of
from mlpeft.runtime.worker.grpc_link import GrpcLink, WrongPeerError
from mlpeft.runtime.worker.link import LinkLostError
from mlpeft.transport.discovery.find import NobodyFoundError, find
from mlpeft.transport.security.certificates import fingerprint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mlpeft.cluster.protocol import Hello
    from mlpeft.runtime.worker.grpc_link import GrpcStream
    from mlpeft.transport.discovery.announcement import Announcement
    from mlpeft.transport.discovery.find import Look
    from mlpeft.transport.rpc.join_codec import JoinRequest, JoinResponse
    from mlpeft.transport.security.identity import Identity

log = logging.getLogger("mlpeft.worker")

PASS_OVER_S = 60.0
"""How long one who was not the coordinator that they said is passed over."""


class SeekingLink:
    """A way to whichever coordinator there is for this worker.

    It is found as `discovery.find` says, and anew when the line breaks.

    Args:
        usual: host:port to try first.
        identity: See `GrpcLink`.
        run: Name of the run to look for; then the usual address is left out.
        insecure: Whether everybody on the network is trusted.
        look: Who announces themselves; None: those on the local network.
    """

    def __init__(
        self,
        usual: str,
        identity: Identity | None = None,
        *,
        run: str | None = None,
        insecure: bool = False,
        look: Look | None = None,
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

    async def _find(self) -> tuple[GrpcLink, Announcement | None]:
        """A link to dial, and the announcement that led to it, if one did.

        Raises:
            LinkLostError: If there is none yet, with what the user can do.
        """
        now = time.monotonic()
        try:
            found = await find(
                self._usual,
                self._look,
                run=self._run,
                ca=self._ca,
                insecure=self._insecure,
                passed_over={at for at, end in self._passed_over.items() if now < end},
            )
        except NobodyFoundError as error:
            raise LinkLostError(str(error)) from error
        if found.announcement is not None:
            log.info(
                "%s; dialling %s from %s (%s)",
                *(found.reason, found.address, found.own),
                interface_of(found.own) or "interface unknown",
            )
        return GrpcLink(found.address, self._identity), found.announcement
