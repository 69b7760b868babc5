"""One process a run folder, which it may write."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from mlpeft.errors import CheckpointError
from mlpeft.training.checkpoint import write_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold a run folder alone; the system lets go of it if the process dies.

    Raises:
        CheckpointError: If another process holds it, or it cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        # Not truncated: until the lock is ours the name in it is another's. Unbuffered:
        # what found no room would be tried again on closing, and raise there.
        file = (run_dir / "lock").open("a+b", buffering=0)
    except OSError as error:
        raise write_error(run_dir, error) from error
    with file:
        _take(file, run_dir)
        try:
            # A lock from a better time can be opened on what is read-only by now.
            with tempfile.TemporaryFile(dir=run_dir):
                pass
        except OSError as error:
            raise write_error(run_dir, error) from error
        yield


def _take(file: IO[bytes], run_dir: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read().decode().strip() or "another process"
        raise CheckpointError(
            f"{run_dir} is in use by {holder}; wait for it, stop it, or choose another "
            "folder with --set run.name=NAME"
        ) from error
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()}".encode())
    except OSError as error:
        raise write_error(run_dir, error) from error
