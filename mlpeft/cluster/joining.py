"""Who may join: the same contract, the same code and the same view of the run."""

from __future__ import annotations

from dataclasses import dataclass


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
    mend = f"pip install 'mlpeft=={ours.mlpeft}' 'mlx=={ours.mlx}'"
    pairs = [
        ("the cluster protocol", theirs.protocol, ours.protocol),
        ("mlpeft", theirs.mlpeft, ours.mlpeft),
        ("MLX", theirs.mlx, ours.mlx),
    ]
    different = [
        f"{what} {their or 'unknown'} here, {our} on the coordinator"
        for what, their, our in pairs
        if their != our
    ]
    if not different:
        return None
    return (
        f"versions differ: {'; '.join(different)}. Make them the same on both: {mend}"
    )


def view_refusal(ours: str, theirs: str) -> str | None:
    """Why a worker with this fingerprint of the run may not join, or None."""
    if ours == theirs:
        return None
    return (
        "this worker sees the run differently from the coordinator (fingerprint "
        f"{theirs[:12] or 'none'}, expected {ours[:12]}): its data sets are other "
        "files. Compare `mlpeft data verify` on both machines"
    )
