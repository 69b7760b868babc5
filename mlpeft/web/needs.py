"""What serving over HTTP takes: packages, and protection off loopback."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from mlpeft.errors import ConfigError
from mlpeft.transport.rpc.address import is_loopback
from mlpeft.transport.security.folders import SecurityError, coordinator_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mlpeft.transport.security.authority import Authority


def check_packages(what: str, extra: str, packages: Iterable[str]) -> None:
    """See that an extra is installed.

    Raises:
        ConfigError: If it is not.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"{what} needs {package}, which is not installed; run "
                f"`pip install 'mlpeft[{extra}]'`"
            )


def find_authority(
    host: str, folder: Path | None, *, insecure: bool
) -> Authority | None:
    """The certificates to serve with off loopback, if there are any.

    Args:
        host: Where a server will listen.
        folder: Of `mlpeft-coordinator init`; None: the user's, if it exists.
        insecure: Whether the user wants none.

    Raises:
        SecurityError: If the folder that was given holds none.
    """
    from mlpeft.transport.security.authority import Authority

    if is_loopback(host) or insecure:
        return None
    try:
        return Authority(folder or coordinator_folder())
    except SecurityError:
        if folder is not None:
            raise
        return None


def check_tls(
    host: str,
    authority: Authority | None,
    *,
    insecure: bool,
    source: str,
    what: str,
    without: str,
) -> None:
    """See that a server is protected as its address needs.

    Args:
        host: Where it will listen.
        authority: Whose certificate it shows; None: there is none.
        insecure: Whether the user wants no TLS.
        source: Of the address, for the message.
        what: What is served, for the message.
        without: What --insecure does.

    Raises:
        SecurityError: If others can reach it and there is no TLS.
    """
    if is_loopback(host) or authority is not None or insecure:
        return
    raise SecurityError(
        f"{source}: {host} can be reached from other machines, so {what} needs TLS: "
        "make certificates with `mlpeft-coordinator init`, or serve it on 127.0.0.1 "
        f"and forward the port (ssh -L). (--insecure {without}.)"
    )
