"""The user's home folder, also where the system knows of none.

A container may run as a user that is in no passwd file, without HOME; Python then
raises an error. As Docker does, we take / for its home: nothing of ours is there, and
whoever cannot write there says so.
"""

from __future__ import annotations

from pathlib import Path


def home() -> Path:
    """The home folder of this user; / if it has none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def expanded(path: str | Path) -> Path:
    """Replace a leading `~` or `~user`; an unknown user stays, as in a shell."""
    path = Path(path)
    if path.parts[:1] == ("~",):
        return home().joinpath(*path.parts[1:])
    try:
        return path.expanduser()
    except RuntimeError:
        return path
