"""`mlpeft doctor`, on this machine."""

import json

import pytest
import typer

from mlpeft.commands import doctor as command
from mlpeft.commands.doctor import doctor
from mlpeft.transport.discovery.search import NetworkClosedError


@pytest.fixture(autouse=True)
def nothing_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(command, "_announced", tuple)


def checks(capsys):
    return {
        check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]
    }


def test_without_a_coordinator_it_checks_the_machine(capsys):
    doctor(json_output=True)
    found = checks(capsys)
    assert {"installation", "device", "disk for the cache", "disk for runs"} < set(
        found
    )
    assert "--coordinator HOST:PORT" in found["coordinator"]["remedy"]
    assert found["discovery"]["status"] == "warning"


def test_a_way_that_leads_nowhere_fails_with_exit_code_1(capsys):
    with pytest.raises(typer.Exit) as ended:
        doctor(coordinator="127.0.0.1:9", json_output=True)
    assert ended.value.exit_code == 1
    assert "nobody listens on port 9" in checks(capsys)["reach"]["detail"]


def test_a_machine_that_has_not_joined_is_told_to(capsys):
    with pytest.raises(typer.Exit):
        doctor(coordinator="192.0.2.1:50051", json_output=True)
    assert "mlpeft-worker join TOKEN" in checks(capsys)["coordinator"]["detail"]


def test_a_network_that_cannot_be_looked_at_is_told(capsys, monkeypatch):
    def closed():
        raise NetworkClosedError("this machine's network: no interface")

    monkeypatch.setattr(command, "_announced", closed)
    with pytest.raises(typer.Exit):
        doctor(json_output=True)
    assert "no interface" in checks(capsys)["discovery"]["detail"]
