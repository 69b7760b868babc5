"""Options of gRPC connections, equal on both sides, and the names of the methods.

A frozen process does not close its sockets: only unanswered pings reveal it. Without
`ping_timeout_ms` gRPC waits a minute for the answer, whatever the other options say;
without the last two a server treats frequent pings as abuse ("too_many_pings").
"""

from __future__ import annotations

from mlpeft.transport.rpc.address import is_near

MAX_MESSAGE_BYTES = 4 << 20
"""Largest accepted message: a chunk, or the description of very many leaves."""

OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 2000),
    ("grpc.http2.ping_timeout_ms", 2000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
]

PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""Where gRPC looks for a proxy, in this order."""


def options_to(address: str) -> list[tuple[str, int]]:
    """Options of a connection: through no proxy to what is in this network.

    A proxy for the Internet does not know loopback or a lab's machines, and the call
    would hang.
    """
    return [*OPTIONS, ("grpc.enable_http_proxy", 0)] if is_near(address) else OPTIONS


SERVICE = "mlpeft.rpc.Cluster"
JOIN = f"/{SERVICE}/Join"
WORK = f"/{SERVICE}/Work"
STATUS = f"/{SERVICE}/Status"
CONTROL = f"/{SERVICE}/Control"
FETCH_BLOB = f"/{SERVICE}/FetchBlob"

ENROLMENT = "mlpeft.rpc.Enrolment"
AUTHORITY = f"/{ENROLMENT}/Authority"
ENROL = f"/{ENROLMENT}/Enrol"
MAX_ENROLMENT_BYTES = 16 << 10
"""Largest accepted message from a caller without a certificate."""
