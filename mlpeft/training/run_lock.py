"""Locks a run's folder, so that only one process writes to it."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from mlpeft.errors import CheckpointError
from mlpeft.training.run_files import explained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Lock a run's folder; the system releases the lock if the process dies.

    Raises:
        CheckpointError: If another process holds the lock, or the folder is not
            writable.
    """
    with explained(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        # Not truncated: until we hold the lock it names another process. Unbuffered: a
        # write that failed for want of space would be retried on closing, and raise.
        file = (run_dir / "lock").open("a+b", buffering=0)
    with file:
        _acquire(file, run_dir)
        # An old lock file opens even where the folder is now read-only.
        with explained(run_dir), tempfile.TemporaryFile(dir=run_dir):
            pass
        yield


def _acquire(file: IO[bytes], run_dir: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read().decode().strip() or "another process"
        raise CheckpointError(
            f"{run_dir} is in use by {holder}; wait for it, stop it, or use another "
            "folder with --set run.name=NAME"
        ) from error
    with explained(run_dir):
        file.truncate(0)
        file.write(f"process {os.getpid()}".encode())
