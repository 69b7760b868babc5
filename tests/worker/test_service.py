"""`mlpeft-worker install` and `uninstall`, on a Mac that is faked."""

import plistlib
import sys
from pathlib import Path

import pytest

from mlpeft.errors import MlpeftError
from mlpeft.platform import shell
from tests.platform.test_launchd import Launchd
from worker import service


@pytest.fixture
def mac(tmp_path, monkeypatch):
    """A Mac with an empty home folder; its launchd."""
    system = Launchd()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(shell, "run", system)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return system


def plist(home):
    path = home / "Library" / "LaunchAgents" / "org.mlpeft.worker.plist"
    return plistlib.loads(path.read_bytes())


def test_installing_passes_on_options_and_our_variables(
    mac, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("MLPEFT_DATA_DIR", "/data")
    monkeypatch.setenv("HISTFILE", "/secret")
    service.install(
        coordinator="head.local:50051",
        name="ada",
        allow_module=["my_tasks"],
        allow_sleep=True,
    )
    said = plist(tmp_path)
    assert said["ProgramArguments"] == [
        *(sys.executable, "-m", "worker.cli"),
        *("--coordinator", "head.local:50051", "--name", "ada"),
        *("--allow-module", "my_tasks", "--allow-sleep"),
    ]
    assert said["EnvironmentVariables"]["MLPEFT_DATA_DIR"] == "/data"
    assert "HISTFILE" not in said["EnvironmentVariables"]
    assert mac.loaded
    out = capsys.readouterr().out
    assert "ran launchctl bootstrap gui/" in out
    assert "worker.log" in out
    assert "mlpeft doctor" in out


def test_a_dry_run_shows_all_and_does_nothing(mac, tmp_path, capsys):
    service.install(dry_run=True)
    service.uninstall(dry_run=True)
    out = capsys.readouterr().out
    assert "<string>org.mlpeft.worker</string>" in out
    assert "would run: launchctl bootstrap" in out
    assert "would run: launchctl bootout" in out
    assert list(tmp_path.iterdir()) == []
    assert mac.commands == []


def test_what_launchd_refuses_is_an_error_with_the_command_to_try(mac):
    mac.refuses = True
    with pytest.raises(MlpeftError, match=r"Input/output error.*launchctl bootstrap"):
        service.install()


def test_uninstalling_takes_back_all_of_it(mac, tmp_path, capsys):
    service.install()
    service.uninstall()
    assert not mac.loaded
    assert list((tmp_path / "Library" / "LaunchAgents").iterdir()) == []
    service.uninstall()
    assert "no worker was installed" in capsys.readouterr().out


@pytest.mark.parametrize("command", [service.install, service.uninstall])
def test_elsewhere_it_says_what_to_do_instead(command, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(MlpeftError, match=r"launchd is macOS's.*service manager"):
        command()
