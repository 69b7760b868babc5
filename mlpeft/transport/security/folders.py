"""Private folders and files for secrets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlpeft.errors import MlpeftError
from mlpeft.files import make_private_folders, write_atomically
from mlpeft.platform.home import expanded

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


class SecurityError(MlpeftError):
    """Security is not set up, or not correctly."""


def coordinator_folder() -> Path:
    """The coordinator's default folder."""
    return _config_folder() / "coordinator"


def worker_folder() -> Path:
    """The worker's default folder."""
    return _config_folder() / "worker"


def make_private_folder(folder: Path) -> None:
    """Create a folder, or restrict one, to its owner."""
    make_private_folders(folder)
    folder.chmod(PRIVATE_FOLDER)


def write_private(path: Path, content: bytes) -> None:
    """Write a file atomically, readable by its owner only."""
    write_atomically(path, content, PRIVATE_FILE)


def read_private(path: Path) -> bytes:
    """Read a file, checking that only its owner may.

    Raises:
        SecurityError: If others have access.
        FileNotFoundError: If it does not exist.
    """
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise SecurityError(
            f"{path} is accessible to others (mode {mode:04o}); run: chmod 600 {path}"
        )
    return path.read_bytes()


def _config_folder() -> Path:
    folder = os.environ.get("MLPEFT_CONFIG_DIR")
    if folder:
        return expanded(folder)
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return expanded(base) / "mlpeft"
