"""The port for joins: a worker brings a token and leaves with a certificate."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from mlpeft.errors import RemoteProtocolError
from mlpeft.runtime.coordinator.listen import listen
from mlpeft.transport.rpc import channel, credentials
from mlpeft.transport.rpc import enrolment_codec as codec
from mlpeft.transport.security.authority import EnrolmentError
from mlpeft.transport.security.folders import SecurityError

if TYPE_CHECKING:
    from mlpeft.runtime.coordinator.listen import Context
    from mlpeft.transport.security.authority import Authority

MOST_PEERS = 4096
"""Peers that are remembered; when there are more, those that may try again go first."""


@dataclass(slots=True)
class _Bucket:
    left: float
    seen: float


class RateLimit:
    """Bursts of tries, refilled with time. The clock is the caller's.

    Args:
        burst: Tries that a peer has at once.
        every_s: Seconds until it has one more.
        total_burst: Tries that all peers together have at once; refilled as fast in
            proportion.
    """

    def __init__(self, burst: int, every_s: float, total_burst: int) -> None:
        self._burst = burst
        self._every_s = every_s
        self._total_burst = total_burst
        self._total_every_s = every_s * burst / total_burst
        self._peers: dict[str, _Bucket] = {}
        self._total = _Bucket(total_burst, float("-inf"))

    def wait_s(self, peer: str, now: float) -> float:
        """Count a try of a peer; 0 if it may go on, else seconds until it may."""
        if peer not in self._peers and len(self._peers) >= MOST_PEERS:
            self._forget(now)
        bucket = self._peers.setdefault(peer, _Bucket(self._burst, now))
        _refill(bucket, self._burst, self._every_s, now)
        _refill(self._total, self._total_burst, self._total_every_s, now)
        wait = max(
            (1 - bucket.left) * self._every_s,
            (1 - self._total.left) * self._total_every_s,
        )
        if wait > 0:
            return wait
        bucket.left -= 1
        self._total.left -= 1
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop whoever has its tries back; if that is nobody, the oldest."""
        full_s = self._burst * self._every_s
        full = [name for name, b in self._peers.items() if now - b.seen >= full_s]
        for name in full or [next(iter(self._peers))]:
            del self._peers[name]


def _refill(bucket: _Bucket, burst: int, every_s: float, now: float) -> None:
    bucket.left = min(burst, bucket.left + max(0.0, now - bucket.seen) / every_s)
    bucket.seen = now


log = logging.getLogger("mlpeft.coordinator")

BURST = 5
EVERY_S = 10.0
TOTAL_BURST = 50
"""A machine may try 5 times at once, then every 10 s; all together ten times that."""
MOST_CALLS = 16
"""Calls at one time."""


class EnrolmentServer:
    """Serves joins.

    Args:
        authority: Who decides.
        limit: How often one may try.
    """

    def __init__(self, authority: Authority, limit: RateLimit | None = None) -> None:
        self._authority = authority
        self._limit = limit or RateLimit(BURST, EVERY_S, TOTAL_BURST)
        self._cluster_port = 0
        self._server = grpc.aio.server(
            # The first of two equal options counts, so these come before the others.
            options=[
                ("grpc.max_receive_message_length", channel.MAX_ENROLMENT_BYTES),
                ("grpc.max_metadata_size", channel.MAX_ENROLMENT_BYTES),
                ("grpc.so_reuseport", 0),
                *channel.OPTIONS,
            ],
            maximum_concurrent_rpcs=MOST_CALLS,
        )
        methods = {"Authority": self._ca, "Enrol": self._enrol}
        self._server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(
                    channel.ENROLMENT,
                    {
                        name: grpc.unary_unary_rpc_method_handler(method)
                        for name, method in methods.items()
                    },
                )
            ]
        )

    async def start(self, host: str, port: int, cluster_port: int) -> str:
        """Listen; the address.

        Args:
            host: Where to listen.
            port: Where to listen; 0 takes any that is free.
            cluster_port: What workers are told to dial afterwards.

        Raises:
            MlpeftError: If the address cannot be had.
        """
        self._cluster_port = cluster_port
        return await listen(
            self._server,
            host,
            port,
            credentials.for_joins(self._authority),
            "choose another with --set cluster.join_port=PORT (0: any that is free), "
            "and make tokens with `mlpeft-coordinator token --port PORT`",
        )

    async def stop(self) -> None:
        """End at once."""
        await self._server.stop(0)

    async def _ca(self, data: bytes, context: Context) -> bytes:
        return codec.encode_authority(self._authority.ca_certificate)

    async def _enrol(self, data: bytes, context: Context) -> bytes:
        peer = _host(context.peer())
        wait_s = self._limit.wait_s(peer, time.monotonic())
        if wait_s > 0:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"too many joins; try again in {wait_s:.0f} s",
            )
        try:
            request = codec.decode_request(data)
            # In a thread: it waits for a lock that other processes take too.
            certificate = await asyncio.to_thread(
                self._authority.enrol,
                request.secret,
                request.name,
                request.certificate_request,
            )
        except EnrolmentError as error:
            log.warning("a join from %s was refused: %s", peer, error)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        except RemoteProtocolError as error:
            log.warning("a join from %s was refused: %s", peer, error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except SecurityError as error:
            log.error("a join from %s failed: %s", peer, error)  # noqa: TRY400 - its text says all
            await context.abort(
                grpc.StatusCode.INTERNAL,
                "the coordinator cannot take joins; its log says why",
            )
        log.info("%s joined from %s and has a certificate", request.name, peer)
        return codec.encode_response(
            codec.EnrolResponse(certificate, self._cluster_port)
        )


def _host(peer: str) -> str:
    """The host of gRPC's `ipv4:1.2.3.4:567`: tries count by machine, not connection."""
    return peer.rpartition(":")[0]
