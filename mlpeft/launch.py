"""Starts a command so that Ctrl-C is quiet while its modules are imported.

That takes a second, in which Python would print a traceback.
"""

from __future__ import annotations

import importlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a shell."""


def launch(module: str) -> None:
    """Import a command's module and call its `main`.

    Args:
        module: Such as "mlpeft.cli".
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_quietly)
    command = importlib.import_module(module)
    signal.signal(signal.SIGINT, before)
    command.main()


def _end_quietly(_number: int, _frame: FrameType | None) -> None:
    # Not an exception: an import in progress may turn it into another.
    os._exit(INTERRUPTED)
