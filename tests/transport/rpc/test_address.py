"""Addresses, and which of them stay on this machine."""

import pytest

from mlpeft.errors import ConfigError
from mlpeft.transport.rpc.address import (
    check_target,
    is_loopback,
    is_near,
    join_address,
    split_address,
)
from mlpeft.transport.rpc.channel import options_to


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


def test_a_url_is_told_from_an_address():
    with pytest.raises(ConfigError, match=r"is a URL.*did you mean lab:50051\?"):
        split_address("http://lab:50051/", "--coordinator")


def test_nobody_dials_every_address():
    with pytest.raises(ConfigError, match=r"none to dial.*127\.0\.0\.1:5"):
        check_target("0.0.0.0:5", "--coordinator")


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("unix:/run/x", True),
        ("127.0.0.1:1", True),
        ("192.168.1.4:1", True),
        ("[fe80::1]:1", True),
        ("mini.local:1", True),
        ("mini:1", True),
        ("8.8.8.8:1", False),
        ("lab.example.org:1", False),
    ],
)
def test_no_proxy_leads_to_what_is_near(address, near):
    assert is_near(address) is near
    assert (("grpc.enable_http_proxy", 0) in options_to(address)) is near
