"""Facts about the network from the system; its commands are faked."""

import platform
import socket

import pytest

from mlpeft.platform.network import SystemNetwork
from mlpeft.platform.shell import Answer

MAC_FAR = """   route to: 8.8.8.8
destination: default
       mask: default
    gateway: 192.168.1.1
  interface: en0
"""
MAC_NEAR = """   route to: 192.168.1.20
destination: 192.168.1.20
  interface: en0
      flags: <UP,HOST,DONE,LLINFO,WASCLONED,IFSCOPE,IFREF>
"""
LINUX_FAR = "8.8.8.8 via 172.17.0.1 dev eth0 src 172.17.0.2 uid 0\n"
LINUX_NEAR = "172.17.0.9 dev eth0 src 172.17.0.2 uid 0\n"


class Shell:
    """Answers by the beginning of the command."""

    def __init__(self, **answers):
        self.answers = answers
        self.commands = []

    def __call__(self, command):
        self.commands.append(command)
        text = " ".join(command)
        for key, answer in self.answers.items():
            if key in text:
                return answer
        return Answer(127, "not found")


@pytest.mark.parametrize(
    ("system", "text", "near"),
    [
        ("darwin", MAC_FAR, False),
        ("darwin", MAC_NEAR, True),
        ("linux", LINUX_FAR, False),
        ("linux", LINUX_NEAR, True),
    ],
)
def test_a_host_without_a_gateway_before_it_is_on_the_same_network(system, text, near):
    network = SystemNetwork(system, Shell(route=Answer(0, text)))
    assert network.on_same_network("192.168.1.20") is near


def test_unknown_facts_are_not_claimed():
    for system in ("darwin", "linux"):
        network = SystemNetwork(system, Shell())
        assert not network.on_same_network("192.168.1.20")
        assert not network.gateway_answers()


@pytest.mark.parametrize(
    ("system", "route"),
    [
        ("darwin", "    gateway: 192.168.1.1\n  interface: en0\n"),
        ("linux", "default via 192.168.1.1 dev eth0\n"),
    ],
)
@pytest.mark.parametrize("answers", [True, False])
def test_the_gateway_is_found_and_pinged(system, route, answers):
    shell = Shell(route=Answer(0, route), ping=Answer(0 if answers else 2, ""))
    assert SystemNetwork(system, shell).gateway_answers() is answers
    assert shell.commands[-1][-1] == "192.168.1.1"


@pytest.mark.parametrize(
    ("system", "version", "asks"),
    [
        ("darwin", "15.1", True),
        ("darwin", "14.7", False),
        ("darwin", "", False),
        ("linux", "", False),
    ],
)
def test_macos_asks_for_leave_since_15(monkeypatch, system, version, asks):
    monkeypatch.setattr(platform, "mac_ver", lambda: (version, ("", "", ""), ""))
    assert SystemNetwork(system, Shell()).asks_for_leave() is asks


def test_a_connection_is_opened_in_earnest():
    network = SystemNetwork()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        network.connect("127.0.0.1", port)
    with pytest.raises(ConnectionRefusedError):
        network.connect("127.0.0.1", port)
