"""The port for joins, where workers trade a token for a certificate."""

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

log = logging.getLogger("mlpeft.coordinator")

BURST = 5
EVERY_S = 10.0
TOTAL_BURST = 50
"""A machine has 5 tries at once, then one every 10 s; all together ten times that."""
MAX_CALLS = 16
"""Concurrent calls."""
MAX_PEERS = 4096
"""Peers to remember; those with a full burst are forgotten first."""


@dataclass(slots=True)
class _Bucket:
    tries: float
    updated_at: float


class RateLimit:
    """A token bucket per peer, and one for all. The caller provides the clock.

    Args:
        burst: Tries of a peer at once.
        every_s: Seconds until a peer gets one more try.
        total_burst: Tries of all peers together at once, refilled in proportion.
    """

    def __init__(self, burst: int, every_s: float, total_burst: int) -> None:
        self._burst = burst
        self._every_s = every_s
        self._total_burst = total_burst
        self._total_every_s = every_s * burst / total_burst
        self._peers: dict[str, _Bucket] = {}
        self._total = _Bucket(total_burst, float("-inf"))

    def wait_s(self, peer: str, now: float) -> float:
        """Count a try of a peer; 0 if it is allowed, else seconds until it is."""
        if peer not in self._peers and len(self._peers) >= MAX_PEERS:
            self._forget(now)
        bucket = self._peers.setdefault(peer, _Bucket(self._burst, now))
        _refill(bucket, self._burst, self._every_s, now)
        _refill(self._total, self._total_burst, self._total_every_s, now)
        wait = max(
            (1 - bucket.tries) * self._every_s,
            (1 - self._total.tries) * self._total_every_s,
        )
        if wait > 0:
            return wait
        bucket.tries -= 1
        self._total.tries -= 1
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop peers with a full bucket; if there are none, the oldest."""
        full_s = self._burst * self._every_s
        full = [
            name
            for name, bucket in self._peers.items()
            if now - bucket.updated_at >= full_s
        ]
        for name in full or [next(iter(self._peers))]:
            del self._peers[name]


def _refill(bucket: _Bucket, burst: int, every_s: float, now: float) -> None:
    refill = max(0.0, now - bucket.updated_at) / every_s
    bucket.tries = min(burst, bucket.tries + refill)
    bucket.updated_at = now


class EnrolmentServer:
    """Serves joins.

    Args:
        authority: Issues the certificates.
        limit: Limits the tries of a peer.
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
            maximum_concurrent_rpcs=MAX_CALLS,
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
        """Start to listen; returns the address.

        Args:
            host: Host to listen on.
            port: Port to listen on; 0: any free port.
            cluster_port: The port that workers dial after the join.

        Raises:
            MlpeftError: If the address is not available.
        """
        self._cluster_port = cluster_port
        return await listen(
            self._server,
            host,
            port,
            credentials.for_joins(self._authority),
            "give another with --set cluster.join_port=PORT (0: any free port), and "
            "create tokens with `mlpeft-coordinator token --port PORT`",
        )

    async def stop(self) -> None:
        """Stop at once."""
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
            # In a thread: it waits for a lock that other processes use.
            certificate = await asyncio.to_thread(
                self._authority.enrol,
                request.secret,
                request.name,
                request.certificate_request,
            )
        except EnrolmentError as error:
            log.warning("refused a join from %s: %s", peer, error)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        except RemoteProtocolError as error:
            log.warning("refused a join from %s: %s", peer, error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except SecurityError as error:
            log.error("a join from %s failed: %s", peer, error)  # noqa: TRY400 - no traceback
            await context.abort(
                grpc.StatusCode.INTERNAL,
                "the coordinator cannot take joins; its log says why",
            )
        log.info("%s joined from %s and got a certificate", request.name, peer)
        return codec.encode_response(
            codec.EnrolResponse(certificate, self._cluster_port)
        )


def _host(peer: str) -> str:
    """The host of gRPC's `ipv4:1.2.3.4:567`: tries count per machine."""
    return peer.rpartition(":")[0]
