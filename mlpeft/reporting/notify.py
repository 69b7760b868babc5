"""Tells people that a run has ended, wherever they are.

A notice is sent from a thread of its own: it neither ends nor delays a run. The process
waits for it at its exit, at most `PATIENCE_S`. What goes wrong is one line of the log,
without the target: a URL or a command may hold a secret.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from mlpeft.config.notify import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.config.notify import NotifySection

log = logging.getLogger("mlpeft.notify")

PATIENCE_S: Final = 10.0
"""Longest time for one target, and for all of them at the exit of the process."""
MOST_TEXT: Final = 1000
"""Characters of a text; an error may list many failures."""
SCRIPT: Final = (
    "on run argv\n"
    "display notification (item 2 of argv) with title (item 1 of argv)\n"
    "end run"
)
"""AppleScript; the texts are arguments, so that they are no script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What people are told.

    Attributes:
        run: The run's name, or the queue's.
        reason: "done", "patience" or "failed".
        text: A sentence or two.
        run_dir: The run's folder.
        host: This machine.
    """

    run: str
    reason: str
    text: str
    run_dir: str
    host: str

    @classmethod
    def of(cls, run: str, reason: str, text: str, run_dir: object) -> Notice:
        """A notice from this machine."""
        shortened = text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} ..."
        return cls(
            run=run,
            reason=reason,
            text=shortened,
            run_dir=str(run_dir),
            host=socket.gethostname(),
        )


def send(section: NotifySection, notice: Notice) -> threading.Thread | None:
    """Send a notice to all targets, in a thread; None: nobody is to be told.

    Args:
        section: The targets.
        notice: What to tell.
    """
    if not section.anybody:
        return None
    thread = threading.Thread(
        target=_send_all, args=(section, notice), name="notify", daemon=True
    )
    thread.start()
    atexit.register(thread.join, PATIENCE_S)
    return thread


def _send_all(section: NotifySection, notice: Notice) -> None:
    targets: dict[str, Callable[[], None]] = {}
    if section.command is not None:
        command = section.command
        targets["notify.command"] = lambda: _command(command, notice)
    if section.webhook is not None:
        webhook = section.webhook
        targets["notify.webhook"] = lambda: _webhook(webhook, notice)
    if section.macos:
        targets["notify.macos"] = lambda: _macos(notice)
    threads = [
        threading.Thread(target=_attempt, args=target, name=target[0], daemon=True)
        for target in targets.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        if thread.is_alive():
            log.warning("%s gave no answer in %g s", thread.name, PATIENCE_S)


def _attempt(name: str, tell: Callable[[], None]) -> None:
    """Tell, and log in one line what goes wrong, without the target."""
    try:
        tell()
    except urllib.error.HTTPError as error:
        log.warning("%s: the server answered %d", name, error.code)
    except subprocess.TimeoutExpired:
        log.warning("%s took more than %g s and was killed", name, PATIENCE_S)
    except _NotToldError as error:
        log.warning("%s: %s", name, error)
    except Exception as error:  # noqa: BLE001 - a notice must not end a run
        log.warning("%s: not sent (%s)", name, type(error).__name__)


class _NotToldError(Exception):
    """Nobody was told; the text holds no secret."""


def _command(command: str, notice: Notice) -> None:
    names = {
        "MLPEFT_RUN": notice.run,
        "MLPEFT_REASON": notice.reason,
        "MLPEFT_RUN_DIR": notice.run_dir,
    }
    _run(["/bin/sh", "-c", command], f"{notice.text}\n", os.environ | names)


def _macos(notice: Notice) -> None:
    if sys.platform != "darwin":
        raise _NotToldError(f"only a Mac shows notifications, not {sys.platform}")
    title = f"mlpeft: {notice.run}"
    _run(["/usr/bin/osascript", "-e", SCRIPT, title, notice.text], "", os.environ)


def _run(command: list[str], text: str, environment: Any) -> None:
    """Run a command; with its children it is killed when it takes too long.

    Raises:
        TimeoutExpired: If it did.
        _NotToldError: If it failed.
    """
    process = subprocess.Popen(  # noqa: S603 - the user's own command, or the system's
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        process.communicate(text.encode(), PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0:
        raise _NotToldError(f"it ended with exit code {process.returncode}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What was meant for one server is not sent to another."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing: the answer's code is told."""


def _webhook(target: str, notice: Notice) -> None:
    url = target
    if target.startswith(VARIABLE):
        name = target.removeprefix(VARIABLE)
        url = os.environ.get(name, "")
        if not url.startswith(("http://", "https://")):
            raise _NotToldError(f"the variable {name} holds no URL")
    body = json.dumps(asdict(notice)).encode()
    request = urllib.request.Request(  # noqa: S310 - http and https alone
        url, body, {"Content-Type": "application/json", "User-Agent": "mlpeft"}
    )
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(request, timeout=PATIENCE_S):
        pass  # the answer's code is all that counts
