"""What comes back from an engine is checked as on our own cluster before it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlpeft import params
from mlpeft.cluster import validation
from mlpeft.cluster.coordinator.norm_history import Limit, NormHistory
from mlpeft.cluster.coordinator.outliers import OutlierCheck
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.meta.compression import Compression
from mlpeft.training.runner import result_schema
from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree
    from mlpeft.work import ResultSchema, Shard, ShardUpdate


class Gate:
    """Checks updates: their form, their range, and how far they would move theta.

    Args:
        config: The run's.
    """

    def __init__(self, config: RunConfig) -> None:
        self._results = result_schema(config)
        self._factor = config.cluster.norm_factor
        self._displacement = ALGORITHMS[config.meta_learning.algorithm].displacement
        self._compression = Compression.from_config(config)
        self._history = NormHistory()

    def open(self, meta: ParamTree) -> OpenGate:
        """The checks of a round that starts from this theta."""
        limit = None
        if self._factor:
            limit = self._history.limit(self._factor)
            limit = limit or Limit.early(params.global_norm(meta))
        outliers = OutlierCheck(limit, meta, self._displacement)
        return OpenGate(self._results, meta, outliers, self._compression)

    def close(self, gate: OpenGate) -> None:
        """A round is complete: from now on its updates say what is usual."""
        self._history.add(gate.norms())

    def norms(self) -> dict[str, list[float]]:
        """Norms of updates that counted, for the next session."""
        return self._history.to_dict()

    def restore_norms(self, norms: Mapping[str, Any]) -> None:
        """Take in the norms of an earlier session.

        Raises:
            ValueError: If they are something else.
        """
        self._history.restore(norms)


class OpenGate:
    """The checks of one round.

    Args:
        results: The per-task results that shards must have.
        meta: Theta, whose leaves the sum of a training shard must have.
        outliers: Norms of the round.
        compression: Of the run; None: sums come as they are.
    """

    def __init__(
        self,
        results: ResultSchema,
        meta: ParamTree,
        outliers: OutlierCheck,
        compression: Compression | None,
    ) -> None:
        self._results = results
        self._meta = meta
        self._schema = params.schema(meta)
        self._outliers = outliers
        self._compression = compression
        self._counted_for: dict[int, str] = {}

    def restored(self, shard: Shard, update: ShardUpdate) -> ShardUpdate:
        """An update as its worker computed it, of what was sent.

        Raises:
            ParamMismatch: If that is not what the run's compression makes.
        """
        if self._compression is None or shard.kind is not Kind.TRAIN:
            return update
        return self._compression.restore(self._meta, update)

    def refusal(
        self,
        shard: Shard,
        update: ShardUpdate,
        attempt: int,
        worker: str,
        *,
        alone: bool,
    ) -> str | None:
        """Why an update may not count, or None: it does.

        Args:
            shard: What was asked for.
            update: What came back.
            attempt: How often the shard was asked for before.
            worker: Who computed it.
            alone: Whether there is nobody else to ask.
        """
        refusal = validation.reject_reason(shard, self._schema, self._results, update)
        if refusal is None and shard.kind is Kind.TRAIN:
            verdict = self._outliers.judge(update, attempt, worker, alone=alone)
            refusal = verdict.reject_reason
        if refusal is None and shard.kind is Kind.TRAIN:
            self._counted_for[shard.index] = worker
        return refusal

    def norms(self) -> list[tuple[str, float]]:
        """Who found which norm, for the updates that counted."""
        return self._outliers.norms(self._counted_for)
