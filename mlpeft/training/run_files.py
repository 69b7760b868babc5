"""Writing into a run's folder: whole or not at all, and what to do where it fails."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
