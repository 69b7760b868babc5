"""A reader of bytes as a target of fuzzing, and the table of all of them."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlpeft.cluster.protocol import LeaseKey
from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 1 << 20
KEY = LeaseKey("session", 1, 0, 1)
EXPECTED = (MlpeftError, FileNotFoundError)
"""What a reader may raise."""


@dataclass(frozen=True, slots=True)
class Target:
    """A reader, and what it reads when all is well.

    Attributes:
        read: Reads bytes; raises one of `EXPECTED` for those that it refuses.
        samples: Bytes that it takes.
        found: Bytes that once were a finding.
    """

    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    found: tuple[bytes, ...] = ()

    def try_to_read(self, data: bytes) -> None:
        """Read, and let nothing pass but what is documented."""
        try:
            self.read(data)
        except EXPECTED:
            return


TARGETS: dict[str, Target] = {}


def target(
    *samples: bytes, found: tuple[bytes, ...] = ()
) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """Enter a reader under its function's name."""

    def enter(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
        TARGETS[read.__name__.lstrip("_")] = Target(read, samples, found)
        return read

    return enter


@functools.cache
def folder() -> Path:
    """A private folder of this process, in memory where the system has such."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    made = Path(
        tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None)
    )
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def file_of(name: str, data: bytes) -> Path:
    """A file with these bytes, in that folder."""
    path = folder() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path
