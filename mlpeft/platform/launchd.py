"""A service of macOS: a program that launchd starts at log-in and keeps alive.

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
"""Least time between two starts of a program that ends at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchAgent:
    """What launchd is to run.

    Attributes:
        label: Its name, unique among the user's services.
        arguments: The program and its arguments; the program with its full path.
        environment: Variables; launchd passes none of the shell's.
        log: File that gets what it prints.
        home: The user's home folder.
    """

    label: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    home: Path

    @property
    def path(self) -> Path:
        """Where its description is kept."""
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
                # Any other type is given slow cores, or less of the disk.
                "ProcessType": "Interactive",
                "WorkingDirectory": str(self.home),
                "StandardOutPath": str(self.log),
                "StandardErrorPath": str(self.log),
            }
        )


def load_command(path: Path, user: int) -> list[str]:
    """What starts a service now, and at each log-in."""
    return ["launchctl", "bootstrap", f"gui/{user}", str(path)]


def unload_command(label: str, user: int) -> list[str]:
    """What ends a service, until it is loaded again."""
    return ["launchctl", "bootout", f"gui/{user}/{label}"]


def is_loaded(label: str, user: int, shell: Shell) -> bool:
    """Whether launchd knows a service."""
    return shell(["launchctl", "print", f"gui/{user}/{label}"]).code == 0


def install(agent: LaunchAgent, user: int, shell: Shell) -> Answer:
    """Write a service's description and load it, in place of what was loaded.

    Args:
        agent: The service.
        user: Number of the user who is logged in.
        shell: Runs commands.

    Returns:
        What launchd said to the last command; code 0 if the service is loaded.

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
        agent_path: Of the description.
        label: The service's name.
        user: Number of the user who is logged in.
        shell: Runs commands.

    Returns:
        What launchd said, if it knew the service; else None.
    """
    answer = None
    if is_loaded(label, user, shell):
        answer = shell(unload_command(label, user))
    agent_path.unlink(missing_ok=True)
    return answer
