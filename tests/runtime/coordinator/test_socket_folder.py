"""The folder of the socket for local workers goes, also after a kill -9."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from mlpeft.runtime.coordinator.local_workers import (
    LOCK,
    PREFIX,
    SocketFolder,
    remove_stale,
)

HOLD = """
from mlpeft.runtime.coordinator.local_workers import SocketFolder
folder = SocketFolder()
print(folder.socket.parent, flush=True)
input()
"""


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def folders(base):
    return sorted(path.name for path in base.iterdir())


def test_it_is_private_and_goes_with_its_owner(base):
    folder = SocketFolder()
    place = folder.socket.parent
    assert place.stat().st_mode & 0o777 == 0o700
    folder.close()
    assert folders(base) == []


def test_what_a_killed_coordinator_left_is_removed_by_the_next(base):
    """While it lives it stays."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(base)},
    ) as owner:
        left = owner.stdout.readline().strip()
        assert left
        second = SocketFolder()
        assert len(folders(base)) == 2
        second.close()
        owner.send_signal(signal.SIGKILL)
    assert len(folders(base)) == 1
    third = SocketFolder()
    assert folders(base) == [third.socket.parent.name]
    third.close()


def test_nothing_else_is_removed(base):
    """A folder that is being made, another's files, a link."""
    (base / f"{PREFIX}new").mkdir()
    (base / "mlpeft-other").mkdir()
    precious = base / "precious"
    precious.mkdir()
    (precious / LOCK).write_text("")
    (base / f"{PREFIX}link").symlink_to(precious)
    (base / f"{PREFIX}file").write_text("")
    before = folders(base)
    remove_stale(base)
    assert folders(base) == before
    assert (precious / LOCK).exists()
