"""A run's files: written atomically, by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from safetensors import SafetensorError

from mlpeft.errors import CheckpointError
from mlpeft.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space: your quota is used up",
    errno.EACCES: "choose a paths.checkpoint_dir that you may write",
    errno.EROFS: "choose a paths.checkpoint_dir that may be written",
}

_REPLACED = ("evaluation.json", "comparison.json", ".png")
"""Ends of the names of results that `evaluate`, `compare` and `plot` write anew."""


def write_whole(path: Path, text: str) -> None:
    """Write a small file, whole or not at all.

    Raises:
        CheckpointError: If it cannot be written, with what to do.
    """
    with explained(path):
        write_atomically(path, text.encode())


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What the system refuses while a path is written becomes a `CheckpointError`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError | SafetensorError) -> CheckpointError:
    """What the system said when a path was written, and what to do about it."""
    number, reason = _number_of(error), str(error)
    if number is not None:
        reason = os.strerror(number)
    remedy = _REMEDIES.get(number or 0, "put that right and try again")
    return CheckpointError(
        f"cannot write {path.absolute()} ({reason}); {remedy}. What was written before "
        "is whole"
    )


def _number_of(error: OSError | SafetensorError) -> int | None:
    """The system's number of an error; safetensors has it in its text alone."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"os error (\d+)", str(error))
    return int(found[1]) if found else None


def refuse_links(run_dir: Path) -> None:
    """Refuse a run's folder that has symbolic links among the files of a run.

    It may be somebody else's: what is read would come from a file of the user's, and
    what is added, such as a line of the log, would go there. Results that are written
    anew (`_REPLACED`) replace a link.

    Raises:
        CheckpointError: Naming the first link.
    """
    steps = run_dir / "steps"
    for path in (*run_dir.glob("*"), *steps.glob("*"), *steps.glob("*/*")):
        if path.is_symlink() and not path.name.endswith(_REPLACED):
            raise CheckpointError(
                f"{path} is a symbolic link to {path.readlink()}: mlpeft neither reads "
                "nor writes through links inside a run's folder, which may be somebody "
                "else's. Put the file itself there, or remove the link"
            )


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Lock a run's folder; the system releases the lock if the process dies.

    Raises:
        CheckpointError: If another process holds the lock, or the folder is not
            writable, or has symbolic links.
    """
    with explained(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        refuse_links(run_dir)
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
