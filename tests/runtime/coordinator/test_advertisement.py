"""How workers find a coordinator: the command that it prints, and announcements."""

import socket
from types import SimpleNamespace

import pytest

from mlpeft.config import RunConfig
from mlpeft.runtime.coordinator.advertisement import (
    advice,
    is_advertised,
    join_command,
)

EVERYWHERE = "0.0.0.0"  # noqa: S104 - as a user would type it
AUTHORITY = SimpleNamespace(names=("head.local", "localhost"))


@pytest.mark.parametrize(
    ("address", "authority", "command"),
    [
        ("127.0.0.1:50051", None, "--coordinator 127.0.0.1:50051"),
        ("10.0.0.5:50051", AUTHORITY, "--coordinator 10.0.0.5:50051"),
        ("0.0.0.0:50051", AUTHORITY, "--coordinator head.local:50051"),
        ("[::]:7", AUTHORITY, "--coordinator head.local:7"),
        ("10.0.0.5:50051", None, "--coordinator 10.0.0.5:50051 --insecure"),
    ],
)
def test_it_names_an_address_that_others_can_dial(address, authority, command):
    assert join_command(address, authority) == f"mlpeft-worker {command}"


def test_without_certificates_the_machine_goes_by_its_own_name():
    assert f"--coordinator {socket.gethostname()}:1 " in join_command("0.0.0.0:1", None)


def test_who_needs_a_certificate_is_told_how_to_get_one():
    assert advice("mlpeft-worker", None) == "`mlpeft-worker`"
    told = advice("mlpeft-worker --coordinator head.local:1", AUTHORITY)
    assert told.startswith("`mlpeft-worker --coordinator head.local:1`; ")
    assert "`mlpeft-worker join TOKEN`" in told
    assert "`mlpeft-coordinator token`" in told


@pytest.mark.parametrize(
    ("host", "setting", "advertised"),
    [
        ("127.0.0.1", None, False),
        (EVERYWHERE, None, True),
        ("head.local", None, True),
        ("127.0.0.1", True, True),
        (EVERYWHERE, False, False),
    ],
)
def test_it_announces_itself_off_loopback_or_as_it_is_told(host, setting, advertised):
    config = RunConfig.from_dict({"cluster": {"discovery": setting}})
    assert is_advertised(config, host) is advertised
