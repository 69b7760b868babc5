"""The home folder, where there is one and where there is none."""

from __future__ import annotations

import pwd
import re
from pathlib import Path

import pytest

from mlpeft.platform import cache_folder
from mlpeft.platform.home import expanded, home

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def nobody(monkeypatch):
    """A user without HOME who is in no passwd file."""

    def unknown(_):
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME", "MLPEFT_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~") == home() == tmp_path
    assert expanded("~/runs/a") == tmp_path / "runs" / "a"
    assert expanded("runs/~") == Path("runs/~")


def test_without_a_home_it_is_the_root(nobody):
    assert home() == Path("/")
    assert expanded("~/runs") == Path("/runs")
    assert cache_folder().is_absolute()


def test_an_unknown_user_stays_as_in_a_shell():
    assert expanded("~no-such-user/a") == Path("~no-such-user/a")


def test_nobody_else_asks_python_for_the_home_folder():
    """It raises where there is none."""
    asking = [
        path.relative_to(ROOT).as_posix()
        for package in ("mlpeft", "coordinator", "worker")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"expanduser\(\)|Path\.home\(\)", path.read_text("utf-8"))
    ]
    assert asking == ["mlpeft/platform/home.py"]
