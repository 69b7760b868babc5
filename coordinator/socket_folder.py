"""The private folder of the socket over which local worker processes join.

A coordinator that is killed leaves its folder behind. The next one of the same user
removes it: a living owner holds a lock on a file in it, which ends with the process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

PREFIX = "mlpeft-socket-"
LOCK = "owner.lock"
SOCKET = "coordinator.sock"


class SocketFolder:
    """A folder that only this user may enter, until it is closed.

    It is in the system's folder for such: the path of a socket may have 104 bytes at
    most.

    Attributes:
        socket: Where the socket goes.
    """

    def __init__(self) -> None:
        base = Path(tempfile.gettempdir())
        remove_stale(base)
        # It gets its name when it is locked: no moment at which it seems to be stale.
        made = Path(tempfile.mkdtemp(prefix="mlpeft-new-", dir=base))  # mode 0700
        self._lock = (made / LOCK).open("w", encoding="ascii")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        name = PREFIX + made.name.rpartition("-")[2]
        self._folder = made.rename(base / name)
        self.socket = self._folder / SOCKET

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()


def remove_stale(base: Path) -> None:
    """Remove folders of this user's coordinators that live no more.

    Args:
        base: Where such folders are.
    """
    for folder in base.glob(f"{PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / LOCK).open(encoding="ascii") as lock:
                if _is_free(lock):
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # gone by now, or not ours to look at
            continue


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
