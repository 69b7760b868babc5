"""Whether a stranger speaks TLS, found out without a trace on its side."""

import contextlib
import socket
import threading

import pytest

from mlpeft.transport.rpc.diagnose import takes_tls

HELLO = b"\x16\x03"
"""How a handshake of TLS begins."""


@pytest.fixture
def stranger():
    """Something that answers the first bytes; what it was sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    came = []

    def serve(answer):
        def once():
            connection, _ = listener.accept()
            with connection:
                came.append(connection.recv(1 << 16))
                connection.sendall(answer)
                with contextlib.suppress(ConnectionResetError):
                    while more := connection.recv(1 << 16):
                        came.append(more)

        thread = threading.Thread(target=once, daemon=True)
        thread.start()
        _, port = listener.getsockname()
        return f"127.0.0.1:{port}", came, thread

    yield serve
    listener.close()


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"\x16\x03\x03\x00\x7a", True),
        (b"\x15\x03\x03\x00\x02", True),  # a refusal is an answer too
        (b"\x00\x00\x12\x04", False),  # HTTP/2 in the clear
        (b"", False),
    ],
)
def test_one_greeting_tells_and_nothing_follows_it(stranger, answer, verdict):
    """A handshake that goes on and then fails is printed by gRPC on the other side."""
    address, came, thread = stranger(answer)
    assert takes_tls(address) is verdict
    thread.join(30)
    assert len(came) == 1
    assert came[0].startswith(HELLO)


def test_where_nobody_listens_there_is_no_verdict():
    with socket.create_server(("127.0.0.1", 0)) as free:
        _, port = free.getsockname()
    assert takes_tls(f"127.0.0.1:{port}") is None
