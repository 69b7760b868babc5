"""The cache folder."""

from pathlib import Path

import pytest

from mlpeft.platform import cache_folder


@pytest.mark.parametrize(
    ("system", "base"), [("linux", ".cache"), ("darwin", "Library/Caches")]
)
def test_it_is_the_systems_cache_folder(monkeypatch, system, base):
    monkeypatch.delenv("MLPEFT_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("sys.platform", system)
    assert cache_folder() == Path.home() / base / "mlpeft"


def test_variables_move_it(monkeypatch, tmp_path):
    monkeypatch.delenv("MLPEFT_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "mlpeft"
    monkeypatch.setenv("MLPEFT_CACHE_DIR", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
