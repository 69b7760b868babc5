"""Addresses, and which of them stay on this machine."""

import pytest

from mlpeft.errors import ConfigError
from mlpeft.transport.rpc.address import is_loopback, join_address, split_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:50051", "127.0.0.1", 50051),
        ("[::1]:0", "::1", 0),
        ("localhost:1", "localhost", 1),
    ],
)
def test_an_address_is_taken_apart_and_put_together(text, host, port):
    assert split_address(text, "--listen") == (host, port)
    assert join_address(host, port) == text


@pytest.mark.parametrize("text", ["127.0.0.1", ":5", "a:b", "a:-1", "a:65536", ""])
def test_what_is_no_address_is_named(text):
    with pytest.raises(ConfigError, match=r"--listen: expected host:port"):
        split_address(text, "--listen")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_stays_on_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "lab.example"])  # noqa: S104 - asked about
def test_anything_else_may_be_reached_by_others(host):
    assert not is_loopback(host)
