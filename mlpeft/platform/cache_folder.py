"""Where a user's programs keep what they can make or fetch again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The folder: `~/.cache/mlpeft`, on macOS `~/Library/Caches/mlpeft`.

    MLPEFT_CACHE_DIR is another, and XDG_CACHE_HOME moves it, on either.
    """
    named = os.environ.get("MLPEFT_CACHE_DIR")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        base = "~/Library/Caches" if sys.platform == "darwin" else "~/.cache"
    return Path(base).expanduser() / "mlpeft"
