"""Which of the coordinators that were found a worker may dial. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.discovery.announcement import Announcement


def choose(
    found: Sequence[Announcement], *, run: str | None, ca: str | None, insecure: bool
) -> tuple[Announcement | None, str]:
    """The one to dial and why; or None, and what the user can do.

    A worker with a certificate dials only coordinators of its CA, and finds out by
    their certificate whether they are. One without dials, in the clear, coordinators
    of its own machine, and others only if the user says so. Between several nobody
    but the user chooses.

    Args:
        found: Who announces themselves.
        run: Name of the run that the user wants; None: any.
        ca: Digest of the CA that this worker joined; None: it has no certificate.
        insecure: Whether the user trusts everybody on the network.
    """
    wanted = [one for one in found if run in (None, one.run)]
    if not found:
        return None, "no coordinator announces itself on this network (_mlpeft._tcp)"
    if not wanted:
        return None, f"no coordinator of run {run} announces itself, but {_list(found)}"
    able = [one for one in wanted if _obstacle(one, ca, insecure) is None]
    if len(able) == 1:
        return able[0], f"found {able[0]}"
    if not able:
        told = "; ".join(f"{one}: {_obstacle(one, ca, insecure)}" for one in wanted[:4])
        return None, f"found {told}"
    if len({one.run for one in able}) == len(able):
        names = " or ".join(f"--run {one.run}" for one in able)
        return None, f"found {_list(able)}; choose one with {names}"
    return None, f"found {_list(able)}; choose one with --coordinator host:port"


def _obstacle(one: Announcement, ca: str | None, insecure: bool) -> str | None:
    """What keeps a worker from dialling a coordinator, and what to do; or None."""
    if ca is not None:
        if not one.ca:
            return "it talks in the clear, and this machine joined a cluster with TLS"
        if one.ca != ca:
            return "of another cluster than the one that this machine joined"
        return None
    if one.ca:
        return (
            "it takes certificates; run: mlpeft-worker join TOKEN "
            "(`mlpeft-coordinator token` on the head node prints one)"
        )
    if one.is_local or insecure:
        return None
    return "it talks in the clear; --insecure if everybody on this network is trusted"


def _list(found: Sequence[Announcement], most: int = 4) -> str:
    rest = len(found) - most
    shown = ", ".join(map(str, found[:most]))
    return f"{shown} and {rest} more" if rest > 0 else shown
