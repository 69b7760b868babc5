"""Processes that are started, watched and ended here, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

LAST_LINES: Final = 20
"""Lines of a process's standard error that are kept, for messages."""
READY: Final = "listening on "
"""What a coordinator writes when it takes workers."""
END_S: Final = 30.0
"""How long a process that was asked to end may take."""


class ChildProcess:
    """A Python module in a process group of its own.

    So Ctrl-C on the terminal does not reach it, and what it starts can be found.

    Args:
        name: What people call it.
        module: The module that is run.
        arguments: Of its command line.
        environment: Variables beside those of this process.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: list[str],
        environment: dict[str, str],
    ) -> None:
        self.name = name
        self.lines: deque[str] = deque(maxlen=LAST_LINES)
        self._ready = threading.Event()
        self._popen = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=os.environ | environment,
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The system's number of the process, and of its group."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negative signal if that ended it."""
        return self._popen.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        self._popen.kill()
        self._popen.wait()

    def end(self, within_s: float = END_S) -> bool:
        """Ask it to end and wait; whether it did so, rather than be killed."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        try:
            self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def wait_until_ready(self, within_s: float) -> bool:
        """Wait for the line that starts with READY; whether it came."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and self._reader.is_alive():
            if self._ready.wait(0.05):
                break
        return self.is_ready

    @property
    def is_ready(self) -> bool:
        """Whether it has written the line that starts with READY."""
        return self._ready.is_set()

    def story(self) -> str:
        """Its name, how it ended and its last words."""
        self._reader.join(1.0)
        words = " | ".join(list(self.lines)[-3:])
        return f"{self.name} ended with exit code {self.exit_code}: {words}"

    def left_behind(self) -> int:
        """1 if any process of its group is there, itself included; else 0."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return 0
        except PermissionError:  # macOS says so of a group of zombies
            return 0
        return 1

    def sweep(self) -> None:
        """End whatever is left of its group."""
        if self.left_behind():
            os.killpg(self.pid, signal.SIGKILL)

    def _read(self) -> None:
        stream = self._popen.stderr
        if stream is None:
            raise AssertionError
        with stream:
            for line in stream:
                self.lines.append(line.rstrip())
                if line.startswith(READY):
                    self._ready.set()


def private_environment(folder: Path) -> dict[str, str]:
    """Variables that keep a process out of the user's own folders, and single-threaded.

    One BLAS thread: with others the same task could have other bits, and workers on one
    machine would be in each other's way.
    """
    return {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MLPEFT_CONFIG_DIR": str(folder / "config"),
        "MLPEFT_CACHE_DIR": str(folder / "cache"),
    }
