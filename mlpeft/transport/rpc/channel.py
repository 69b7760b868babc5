"""Settings of a gRPC connection, the same on both sides, and the methods' names.

A frozen process does not close its sockets: only unanswered pings tell. Without
`ping_timeout_ms` gRPC waits a minute for an answer whatever the other settings are, and
without the last two a server takes frequent pings for abuse ("too_many_pings").
"""

from __future__ import annotations

MAX_MESSAGE_BYTES = 4 << 20
"""Largest message that is taken in: a chunk, or a description of very many leaves."""

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
"""Largest message that is taken in from somebody who has no certificate yet."""
