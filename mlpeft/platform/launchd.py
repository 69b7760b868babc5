"""A macOS service: a program that launchd starts at login and keeps alive.

It is a LaunchAgent, so it runs as the user, with the user's certificates and caches.
"""

from __future__ import annotations

import plistlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlpeft.platform.shell import Answer, Shell

THROTTLE_S: Final = 10
"""Shortest time between two starts of a program that exits at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchAgent:
    """A program for launchd to run.

    Attributes:
        label: Its name, unique among the user's services.
        arguments: The program's full path and its arguments.
        environment: Its environment variables; launchd passes none of the shell's.
        log: File for its output.
        home: The user's home folder.
    """

    label: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    home: Path

    @property
    def path(self) -> Path:
        """The file of its description."""
        return self.home / "Library" / "LaunchAgents" / f"{self.label}.plist"

    def plist(self) -> bytes:
        """Its description, an XML property list (see launchd.plist(5))."""
        return plistlib.dumps(
            {
                "Label": self.label,
                "ProgramArguments": list(self.arguments),
                "EnvironmentVariables": dict(self.environment),
                "RunAtLoad": True,
                "KeepAlive": True,
                "ThrottleInterval": THROTTLE_S,
                # Any other type gets slow cores or throttled disk access.
                "ProcessType": "Interactive",
                "WorkingDirectory": str(self.home),
                "StandardOutPath": str(self.log),
                "StandardErrorPath": str(self.log),
            }
        )


def load_command(path: Path, user: int) -> list[str]:
    """The command that starts a service now, and at each login."""
    return ["launchctl", "bootstrap", f"gui/{user}", str(path)]


def unload_command(label: str, user: int) -> list[str]:
    """The command that ends a service until it is loaded again."""
    return ["launchctl", "bootout", f"gui/{user}/{label}"]


def is_loaded(label: str, user: int, shell: Shell) -> bool:
    """Whether a service is loaded."""
    return shell(["launchctl", "print", f"gui/{user}/{label}"]).code == 0


def install(agent: LaunchAgent, user: int, shell: Shell) -> Answer:
    """Write a service's description and load it, replacing an earlier one.

    Args:
        agent: The service.
        user: Id of the user who is logged in.
        shell: Runs commands.

    Returns:
        launchd's answer to the last command; code 0 if the service is loaded.

    Raises:
        OSError: If the description cannot be written.
    """
    for folder in (agent.path.parent, agent.log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if is_loaded(agent.label, user, shell):
        shell(unload_command(agent.label, user))
    agent.path.write_bytes(agent.plist())
    return shell(load_command(agent.path, user))


def uninstall(agent_path: Path, label: str, user: int, shell: Shell) -> Answer | None:
    """End a service and remove its description.

    Args:
        agent_path: The file of the description.
        label: The service's name.
        user: Id of the user who is logged in.
        shell: Runs commands.

    Returns:
        launchd's answer if the service was loaded; else None.
    """
    answer = None
    if is_loaded(label, user, shell):
        answer = shell(unload_command(label, user))
    agent_path.unlink(missing_ok=True)
    return answer
