"""Announcing and looking over real multicast, on this machine alone."""

import asyncio
import logging

import ifaddr
import pytest
import zeroconf

from mlpeft.platform.network import interface_of, own_addresses
from mlpeft.transport.discovery import announcer, search
from mlpeft.transport.discovery.announcer import Announcer
from mlpeft.transport.discovery.search import NetworkClosedError, browse
from tests.runtime.toy import bounded

LOOPBACK = ("127.0.0.1",)
ABOUT = {"run": "dune", "protocol": 1, "ca": ""}


async def seen(session, patience_s):
    """The announcement of a session, among others that may be there."""
    found = await browse(patience_s, LOOPBACK)
    return next((one for one in found if one.session == session), None)


def test_what_is_announced_is_found_and_gone_afterwards():
    async def scenario():
        made = await Announcer.start("127.0.0.1:50051", session="a1", **ABOUT)
        there = await seen("a1", 20)
        await made.close()
        return there, await seen("a1", 0.3)

    there, afterwards = bounded(scenario())
    assert (there.run, there.endpoints, there.ca) == ("dune", ("127.0.0.1:50051",), "")
    assert there.is_local
    assert afterwards is None


def test_several_are_found_in_one_look():
    async def scenario():
        first, second = await asyncio.gather(
            Announcer.start("127.0.0.1:1", session="b1", **ABOUT),
            Announcer.start("127.0.0.1:2", session="b2", **ABOUT | {"run": "alps"}),
        )
        found = await browse(20, LOOPBACK)
        await asyncio.gather(first.close(), second.close())
        return [one.run for one in found if one.session in {"b1", "b2"}]

    assert bounded(scenario()) == ["alps", "dune"]


def test_a_loopback_coordinator_is_announced_on_no_other_interface(monkeypatch):
    asked = []

    class Spy(zeroconf.asyncio.AsyncZeroconf):
        def __init__(self, interfaces):
            asked.append(interfaces)
            super().__init__(interfaces=interfaces)

    monkeypatch.setattr(announcer, "AsyncZeroconf", Spy)

    async def scenario():
        made = await Announcer.start("127.0.0.1:1", session="c1", **ABOUT)
        await made.close()

    bounded(scenario())
    assert asked == [["127.0.0.1"]]


def test_a_network_that_lets_nobody_announce_is_a_warning(monkeypatch, caplog):
    def closed(**_):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(announcer, "AsyncZeroconf", closed)
    with caplog.at_level(logging.WARNING, "mlpeft.coordinator"):
        made = bounded(Announcer.start("127.0.0.1:1", session="d1", **ABOUT))
    assert made is None
    assert "start workers with its address: --coordinator HOST:PORT" in caplog.text


def test_a_network_that_lets_nobody_look_is_said(monkeypatch):
    def closed(**_):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(search, "AsyncZeroconf", closed)
    with pytest.raises(NetworkClosedError, match="Network is unreachable"):
        bounded(browse(1))


def test_a_server_on_all_interfaces_has_the_addresses_that_lead_there(monkeypatch):
    def ip(text):
        return ifaddr.IP((text, 0, 0) if ":" in text else text, 24, "x")

    adapters = [
        ifaddr.Adapter("lo", "lo", [ip("127.0.0.1"), ip("::1")]),
        ifaddr.Adapter("en0", "en0", [ip("fe80::1"), ip("fd00::5"), ip("10.0.0.5")]),
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    everywhere = "0.0.0.0"  # noqa: S104 - as a user would type it
    assert own_addresses(everywhere) == ("10.0.0.5",)
    assert own_addresses("::") == ("10.0.0.5", "fd00::5")
    assert own_addresses("10.0.0.5") == ("10.0.0.5",)
    assert "127.0.0.1" in own_addresses("localhost")
    assert interface_of("fd00::5%en0") == "en0"
    assert interface_of("10.0.0.6") == ""
