"""Updates that come when theta has moved on, as parts of a later meta-iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from mlpeft.errors import CheckpointError
from mlpeft.late_updates import with_late
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.meta.state import carried

if TYPE_CHECKING:
    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult
    from mlpeft.work import Displacement


class ThetaHistory:
    """The newest thetas, for updates that started from them.

    Args:
        keep: How many versions a late update may be behind.
        displacement: What the run's algorithm takes from a shard.
    """

    def __init__(self, keep: int, displacement: Displacement) -> None:
        self._keep = keep
        self._displacement = displacement
        self._thetas: dict[int, ParamTree] = {}

    @classmethod
    def of(cls, config: RunConfig, keep: int | None = None) -> Self:
        """That of a run; `keep` as above, None: as its rounds allow."""
        cluster = config.cluster
        if keep is None:
            keep = 0 if cluster.mode == "sync" else cluster.max_staleness
        return cls(keep, ALGORITHMS[config.meta_learning.algorithm].displacement)

    def note(self, version: int, meta: ParamTree) -> None:
        """Theta of a version; those before the oldest that is needed are forgotten."""
        self._thetas[version] = meta
        for old in [each for each in self._thetas if each < version - self._keep]:
            del self._thetas[old]

    def theta(self, version: int) -> ParamTree:
        """Theta of a version.

        Raises:
            CheckpointError: If it is too old to be known.
        """
        found = self._thetas.get(version)
        if found is None:
            known = sorted(self._thetas)
            raise CheckpointError(
                f"an update of meta-iteration {version} counts, but theta is known of "
                f"{known[0]} to {known[-1]} alone"
            )
        return found

    def joined(self, result: RoundResult, version: int) -> RoundResult:
        """A result with its late updates in the totals (`mlpeft.late_updates`)."""
        if not result.late:
            return result
        for each in result.late:
            self.theta(each.round)
        state = carried(self._thetas[version])
        return with_late(result, self._thetas, version, self._displacement, state)
