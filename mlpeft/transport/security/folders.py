"""Where secrets are kept, and that nobody else can read them."""

from __future__ import annotations

import os
from pathlib import Path

from mlpeft.errors import MlpeftError
from mlpeft.files import write_atomically

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


class SecurityError(MlpeftError):
    """Security that is not set up, or not as it must be."""


def coordinator_folder() -> Path:
    """The coordinator's default folder."""
    return _config_folder() / "coordinator"


def worker_folder() -> Path:
    """The worker's default folder."""
    return _config_folder() / "worker"


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, and see that it is one."""
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    folder.chmod(PRIVATE_FOLDER)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    write_atomically(path, content, PRIVATE_FILE)


def read_private(path: Path) -> bytes:
    """Read a file that only its owner may read.

    Raises:
        SecurityError: If others may read it.
        FileNotFoundError: If it is not there.
    """
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise SecurityError(
            f"{path} may be used by others (mode {mode:04o}); run: chmod 600 {path}"
        )
    return path.read_bytes()


def _config_folder() -> Path:
    named = os.environ.get("MLPEFT_CONFIG_DIR")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "mlpeft"
