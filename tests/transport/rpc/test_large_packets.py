"""A dead MTU: small packets pass, large ones vanish, and nobody says so."""

import socket
import subprocess
import sys
import threading

import pytest

from benchmarks.slow_link.tun import SlowLink, obstacle
from mlpeft.transport.rpc.diagnose import loses_large

SERVER = """
import socket
listener = socket.create_server(("0.0.0.0", 5000))
print("up", flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(1 << 20)
    connection.close()
"""
PROBE = """
import sys
from mlpeft.transport.rpc.diagnose import loses_large
print(loses_large(sys.argv[1]))
"""


def found(link):
    """What the left end finds out about a server at the right end."""
    server = subprocess.Popen(
        link.right.command([sys.executable, "-c", SERVER]), stdout=subprocess.PIPE
    )
    with server:
        assert server.stdout.readline()
        try:
            probe = [sys.executable, "-c", PROBE, f"{link.right.address}:5000"]
            return subprocess.run(
                link.left.command(probe),
                capture_output=True,
                check=True,
                text=True,
                timeout=60,
            ).stdout.strip()
        finally:
            server.kill()


@pytest.mark.parametrize(("most_bytes", "loses"), [(1000, "True"), (1500, "False")])
def test_a_link_that_loses_large_packets_is_found_out(most_bytes, loses):
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    with SlowLink(rate_bit_s=50e6, delay_s=0.005, most_bytes=most_bytes) as link:
        assert found(link) == loses


def test_what_reads_or_refuses_large_packets_loses_none():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def refuse():
            listener.accept()[0].close()

        thread = threading.Thread(target=refuse)
        thread.start()
        assert not loses_large(f"127.0.0.1:{port}")
        thread.join()
    assert not loses_large(f"127.0.0.1:{port}"), "nobody is there: another check's"
