"""Run system commands; all go through here, so that tests can fake a system."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TIMEOUT_S: Final = 10.0
NOT_THERE: Final = 127
"""A shell's exit code for a missing command."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a command.

    Attributes:
        code: Its exit code; 127 if there is no such command or it took too long.
        text: Its output, including standard error.
    """

    code: int
    text: str


Shell: TypeAlias = "Callable[[Sequence[str]], Answer]"


def run(command: Sequence[str]) -> Answer:
    """Run a system command and wait for it, at most ten seconds."""
    try:
        done = subprocess.run(  # noqa: S603 - commands of the system, named in our code
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        return Answer(NOT_THERE, f"{command[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Answer(NOT_THERE, f"{command[0]} gave no answer in {TIMEOUT_S:g} s")
    return Answer(done.returncode, done.stdout)
