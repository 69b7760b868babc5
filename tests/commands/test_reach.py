"""The way to a coordinator, on networks that are faked."""

import datetime as dt
import errno
import socket
from pathlib import Path

import pytest

from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.overview import Bytes, Overview, RunProgress
from mlpeft.cluster.validation import Versions
from mlpeft.commands import reach
from mlpeft.commands.checks import Status
from mlpeft.errors import MlpeftError
from mlpeft.runtime import fingerprint
from mlpeft.transport.discovery.announcement import Announcement
from mlpeft.transport.security import certificates
from mlpeft.transport.security.identity import Identity
from tests.cluster.builders import policy_with

HOST = "192.168.1.20:50051"
PRIVACY = "Local Network Privacy"


class Network:
    """A network on which a connection ends in an error, or comes about."""

    def __init__(self, error=None, *, near=True, gateway=True, asks=True):
        self.error = error
        self.near = near
        self.gateway = gateway
        self.asks = asks

    def connect(self, host, port):
        assert (host, port) == ("192.168.1.20", 50051)
        if self.error is not None:
            raise self.error

    def on_same_network(self, host):
        return self.near

    def gateway_answers(self):
        return self.gateway

    def asks_for_leave(self):
        return self.asks


NO_ROUTE = OSError(errno.EHOSTUNREACH, "No route to host")


def overview(**changes):
    parts = {
        "run": "tiny",
        "session": "s",
        "progress": RunProgress(),
        "stopping": False,
        "bytes_moved": Bytes(),
        "cluster": CoordinatorMachine("s", policy_with()).status(0.0),
        "clock_s": 1000.0,
        "versions": fingerprint.own_versions(),
    }
    return Overview(**parts | changes)


def look(seen=None, error=None):
    def answer():
        if error is not None:
            raise error
        return seen or overview()

    return answer


def checked(network, diagnose=lambda: None, asked=None, now=1000.0, **changes):
    return list(
        reach.check_coordinator(
            HOST, network, diagnose, asked or look(), clock=lambda: now, **changes
        )
    )


def test_all_is_well():
    checks = checked(Network())
    assert [check.name for check in checks] == [
        *("reach", "coordinator", "versions", "clock"),
    ]
    assert {check.status for check in checks} == {Status.OK}


def test_no_route_to_the_same_network_while_the_gateway_answers_is_macos_privacy():
    (check,) = checked(Network(NO_ROUTE))
    assert check.status is Status.FAILED
    assert PRIVACY in check.detail
    assert "System Settings > Privacy & Security > Local Network" in check.remedy
    assert "not from launchd, tmux or nohup" in check.remedy


def test_without_the_gateway_it_is_only_a_possibility():
    (check,) = checked(Network(NO_ROUTE, gateway=False))
    assert PRIVACY not in check.detail
    assert check.remedy.startswith("see that it is on")
    assert f"it may be macOS's {PRIVACY}" in check.remedy


@pytest.mark.parametrize("others", [{"near": False}, {"asks": False}])
def test_elsewhere_no_route_is_no_more_than_that(others):
    (check,) = checked(Network(NO_ROUTE, **others))
    assert PRIVACY not in check.detail + check.remedy
    assert "no route to host" in check.detail


@pytest.mark.parametrize(
    ("error", "detail", "remedy"),
    [
        (ConnectionRefusedError(), "nobody listens on port 50051", "start the coord"),
        (TimeoutError(), "does not answer", "firewall lets port 50051 through"),
        (socket.gaierror(8, "nodename"), "no machine called", "check the name"),
        (OSError(errno.ENETDOWN, "Network is down"), "network is down", "one network"),
    ],
)
def test_each_failure_to_connect_has_its_remedy(error, detail, remedy):
    (check,) = checked(Network(error))
    assert check.status is Status.FAILED
    assert detail in check.detail
    assert remedy in check.remedy


def test_what_is_wrong_with_tls_is_told_and_nothing_is_asked():
    checks = checked(Network(), lambda: "wants TLS", look(error=AssertionError()))
    assert [(check.name, check.status) for check in checks] == [
        ("reach", Status.OK),
        ("coordinator", Status.FAILED),
    ]
    assert checks[-1].detail == "wants TLS"


def test_a_coordinator_that_says_no_is_told():
    checks = checked(Network(), asked=look(error=MlpeftError("revoked")))
    assert (checks[-1].name, checks[-1].detail) == ("coordinator", "revoked")


def test_other_versions_fail_with_the_command_that_mends_it():
    other = Versions(1, "9.9.9", "0.1.0")
    check = reach.check_versions(overview(versions=other))
    assert check.status is Status.FAILED
    assert "pip install 'mlpeft==9.9.9'" in check.detail
    assert reach.check_versions(overview(versions=None)).status is Status.WARNING


def test_who_announces_a_coordinator_is_told():
    found = Announcement("tiny", "s", 1, "head", "", 50051, ("192.168.1.20",))
    check = reach.check_announced([found])
    assert (check.status, check.detail) == (Status.OK, f"run tiny on head ({HOST})")
    nobody = reach.check_announced([])
    assert nobody.status is Status.WARNING
    assert "--coordinator HOST:PORT" in nobody.remedy


@pytest.mark.parametrize(
    ("theirs", "status", "said"),
    [
        (1001.0, Status.OK, "within 5 s"),
        (1012.0, Status.WARNING, "10 s ahead of"),  # asking took 4 of the 12
        (988.0, Status.WARNING, "10 s behind"),
        (4602.0, Status.FAILED, "3600 s ahead of"),
    ],
)
def test_clocks_are_compared_less_what_asking_took(theirs, status, said):
    check = reach.check_clock(theirs, 998.0, 1002.0)
    assert check.status is status
    assert said in check.detail
    assert ("automatic" in check.remedy or "network" in check.remedy) == (
        status is not Status.OK
    )


@pytest.mark.parametrize(
    ("days", "status"), [(300, Status.OK), (5, Status.WARNING), (-2, Status.FAILED)]
)
def test_a_certificate_that_ends_is_told_in_time(monkeypatch, days, status):
    ca = certificates.new_ca()
    key = certificates.new_key()
    made = certificates.sign_request(ca, certificates.new_request(key, "ada"), "ada")
    end = certificates.read(made).not_after
    monkeypatch.setattr(certificates, "_now", lambda: end - dt.timedelta(days=days))
    held = Identity(Path("here"), "ada", HOST, key, made, ca.certificate)
    check = reach.check_certificate(held)
    assert check.status is status
    assert ("mlpeft-worker join TOKEN" in check.remedy) == (status is not Status.OK)


def test_a_proxy_on_the_way_is_named_unless_the_coordinator_is_near():
    environment = {"https_proxy": "http://proxy:3128"}
    (check,) = reach.check_proxy("lab.example.org:50051", environment)
    assert "https_proxy=http://proxy:3128" in check.detail
    assert "no_proxy=lab.example.org" in check.remedy
    assert list(reach.check_proxy("192.168.1.4:50051", environment)) == []
    assert list(reach.check_proxy("lab.example.org:50051", {})) == []


def test_large_packets_that_vanish_are_named_and_nothing_else_is_asked():
    *_, check = checked(Network(), asked=None, loses_large=lambda: True)
    assert check.name == "packet size"
    assert check.status is Status.FAILED
    assert (
        "small packets reach 192.168.1.20:50051 and large ones vanish" in check.detail
    )
    assert "mtu 1280" in check.remedy
