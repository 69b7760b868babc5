"""The network between workers and coordinator, whole and cut."""

import socket
import threading
from contextlib import contextmanager

import pytest

from mlpeft.runtime.chaos.proxy import CuttableProxy

PATIENCE_S = 20.0


@contextmanager
def echo():
    """A port that gives back what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=give_back, args=[connection]).start()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_S)


def give_back(connection):
    with connection:
        try:
            while data := connection.recv(1 << 16):
                connection.sendall(data)
        except OSError:
            return


@pytest.fixture
def proxy():
    with echo() as port:
        made = CuttableProxy(port)
        yield made
        made.close()


def dial(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S)


def say(connection, data):
    connection.sendall(data)
    got = b""
    while len(got) < len(data):
        part = connection.recv(1 << 16)
        if not part:
            raise ConnectionResetError
        got += part
    return got


def test_bytes_come_through_unchanged(proxy):
    data = bytes(range(256)) * 4096  # 1 MiB: more than a socket's buffers hold
    with dial(proxy) as first, dial(proxy) as second:
        assert say(first, b"hello") == b"hello"
        threading.Thread(target=first.sendall, args=[data]).start()
        got = b""
        while len(got) < len(data):
            got += first.recv(1 << 16)
        assert got == data
        assert say(second, b"there") == b"there"


def test_a_cut_ends_all_connections_and_lets_no_new_one_through(proxy):
    with dial(proxy) as before:
        say(before, b"hello")
        proxy.cut()
        with pytest.raises(OSError, match="reset"):
            say(before, b"again")
    with pytest.raises(OSError, match=r"reset|refused"), dial(proxy) as during:
        say(during, b"hello")


def test_a_mended_network_takes_new_connections(proxy):
    proxy.cut()
    proxy.mend()
    with dial(proxy) as after:
        assert say(after, b"hello") == b"hello"


def test_where_nobody_listens_a_connection_is_reset():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        proxy = CuttableProxy(held.getsockname()[1])
        try:
            with pytest.raises(OSError, match="reset"), dial(proxy) as connection:
                say(connection, b"hello")
        finally:
            proxy.close()
