"""Who may join: the same contract, the same code and the same view of the run."""

from __future__ import annotations

from dataclasses import dataclass

from packaging.version import InvalidVersion, Version


@dataclass(frozen=True, slots=True)
class Versions:
    """What must be equal on both sides.

    Attributes:
        protocol: The contract of the wire.
        mlpeft: Release of mlpeft.
        mlx: Release of MLX; another may compute other bits.
    """

    protocol: int
    mlpeft: str
    mlx: str


def version_refusal(ours: Versions, theirs: Versions) -> str | None:
    """Why a worker of these versions may not join and what mends it, or None.

    Args:
        ours: The coordinator's.
        theirs: The worker's.
    """
    pairs = [
        ("cluster protocol", theirs.protocol, ours.protocol),
        ("mlpeft", theirs.mlpeft, ours.mlpeft),
        ("MLX", theirs.mlx, ours.mlx),
    ]
    different = [
        f"{what} {their or 'unknown'} on the worker, {our} on the coordinator"
        for what, their, our in pairs
        if their != our
    ]
    if not different:
        return None
    refusal = (
        f"versions differ: {'; '.join(different)}. To take part, run on the worker: "
        f"{_install(ours)}"
    )
    if _is_newer(theirs, ours):
        refusal += (
            f"; or, to keep the newer, on the coordinator: {_install(theirs)} and "
            "start it again with --resume, and likewise on all other workers"
        )
    return refusal


def _install(versions: Versions) -> str:
    return f"pip install 'mlpeft=={versions.mlpeft}' 'mlx[cpu]=={versions.mlx}'"


def _is_newer(theirs: Versions, ours: Versions) -> bool:
    """Whether a part of theirs is newer than ours and none is older."""
    try:
        our = Version(ours.mlpeft), Version(ours.mlx)
        their = Version(theirs.mlpeft), Version(theirs.mlx)
    except InvalidVersion:
        return False
    return their != our and their[0] >= our[0] and their[1] >= our[1]


def view_refusal(ours: str, theirs: str) -> str | None:
    """Why a worker with this fingerprint of the run may not join, or None."""
    if ours == theirs:
        return None
    return (
        "this worker sees the run differently from the coordinator (fingerprint "
        f"{theirs[:12] or 'none'}, expected {ours[:12]}): what an installed package "
        "or a module of yours brings is another version. Compare `mlpeft data verify` "
        "and your own modules on both machines"
    )
