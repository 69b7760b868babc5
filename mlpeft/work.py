"""Units of work: what a round asks for, and who computes it.

A round's meta-batch is cut into shards of a fixed size (`compute.shard_size`, never
derived from the number of workers). A shard is the unit of vectorisation, lease and
summation, so its update has the same bits wherever it is computed.

The training loop asks an `Executor` for the result of a round and does not know whether
it comes from this process or from a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from mlpeft.errors import LocalProtocolError, MlpeftError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult


class Kind(StrEnum):
    """What is computed for the tasks of a shard."""

    TRAIN = "train"
    """Adapt, and return the sum of what the algorithm takes from each task."""
    VALIDATE = "validate"
    """Adapt to validation tasks and score their queries; `total` is empty."""
    TEST = "test"
    """The same on test tasks."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One episode, named rather than sent: a worker draws it from config and data.

    Attributes:
        task_id: A task of the distribution that the shard's kind draws from.
        seed: Seeds the episode and the order of its inner batches.
    """

    task_id: str
    seed: int


@dataclass(frozen=True, slots=True)
class Shard:
    """A fixed group of a meta-batch's tasks, computed as one unit.

    Attributes:
        round: The meta-iteration, from 0.
        index: Position of the shard in its round, from 0.
        kind: What to compute.
        tasks: The episodes, in the order in which they are summed.
    """

    round: int
    index: int
    kind: Kind
    tasks: tuple[TaskSpec, ...]


@dataclass(frozen=True, slots=True)
class ShardUpdate:
    """What a shard returns.

    Attributes:
        index: The shard's index in its round.
        count: How many tasks it holds.
        total: Sum over the shard's tasks, in order, of what the algorithm takes from a
            task, float32 NumPy leaves (for Reptile: the adapted parameters). Empty for
            validation and test.
        per_task: Small float32 arrays with a leading axis of `count` tasks; which they
            are says `ResultSchema`.
        packed: What may be sent in place of `total`, which is then made of it again
            (`mlpeft.meta.compression`); {}: the run does not compress.
        owned: Whether nobody else holds the arrays of `total`, as of one that came over
            the network: then others are added up in them.
        otherwise: How it was computed where the run's strategy could not, and why, for
            people; "": with the run's strategy.
    """

    index: int
    count: int
    total: ParamTree = field(default_factory=dict)
    per_task: ParamTree = field(default_factory=dict)
    packed: ParamTree = field(default_factory=dict)
    owned: bool = False
    otherwise: str = ""


MOST_VALUE = 1e15
"""Largest magnitude of a number of `total`, a task: far beyond any useful parameter,
gradient or moment, and still with finite squares and sums."""
MOST_LOSS = 1e30
"""Largest loss of a task. A round's sum of them is finite."""
ROUNDING = 1e-3
"""How far rounding may take a loss below 0, or a share out of [0, 1]."""


class PerTaskLeaf(NamedTuple):
    """A per-task result: float32 numbers of a known shape and range.

    Attributes:
        shape: Of one task's: () for a number, (n,) for one after each of n step counts.
        least: Smallest possible number.
        most: Largest possible number.
    """

    shape: tuple[int, ...]
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class ResultSchema:
    """The per-task results that the shards of a run have: these, and no others.

    Losses are means of squares or of negative logarithms of probabilities, so none is
    negative.

    Attributes:
        has_queries: Whether training episodes have query sets.
        eval_steps: After how many numbers of inner steps queries are scored.
        share: Name of the share that scores have beside their loss: "acc" for
            classification, "exact" for sequences; None for regression.
    """

    has_queries: bool = False
    eval_steps: int = 1
    share: str | None = None

    def of(self, kind: Kind) -> dict[str, PerTaskLeaf]:
        """The per-task results of a shard of this kind, by name."""
        if kind is Kind.TRAIN:
            names = ["support_loss", *(["query_loss"] if self.has_queries else [])]
            return dict.fromkeys(names, PerTaskLeaf((), -ROUNDING, MOST_LOSS))
        steps = (self.eval_steps,)
        leaves = {"loss": PerTaskLeaf(steps, -ROUNDING, MOST_LOSS)}
        if self.share is not None:
            leaves[self.share] = PerTaskLeaf(steps, -ROUNDING, 1 + ROUNDING)
        return leaves


class Displacement(StrEnum):
    """How a shard's mean `total / count` says where its tasks would move theta."""

    FROM_THETA = "from theta"
    """It is where they would move it to: the displacement is the mean minus theta."""
    AS_IT_IS = "as it is"
    """It is a gradient, and itself the displacement."""


class RoundInterruptedError(MlpeftError):
    """Someone asked to stop while a round was under way; it counts for nothing."""


class Executor(Protocol):
    """Computes the shards of a round, somewhere: this is where engines are plugged in.

    The training loop relies on the following of every executor.
    `tests/training/executor_contract.py` checks it; a new one inherits those tests.

    - Same bytes: the result is that of computing the shards one after another and of
      adding float32 totals in the order of their index, whichever is done first. `meta`
      is not changed, nor is a result by later rounds.
    - Versions: equal versions are equal bytes, so `meta` may be sent once a version.
      They never go back.
    - Retries are invisible: a shard that is computed twice counts once. If one cannot
      be computed, that is an MlpeftError, and the next round works.
    - Cancellation: how an executor is asked to stop is its own affair. It then raises
      RoundInterruptedError, no shard of the round counts, and the next round works.
    - Progress: whoever tells how far a round is begins at nothing and never goes back.
    - One round at a time: `run` blocks, and is called from one thread.
    """

    def run(
        self, version: int, meta: ParamTree, shards: Sequence[Shard]
    ) -> RoundResult:
        """Compute a round.

        Args:
            version: Grows with every new `meta`; equal versions are equal bytes.
            meta: Meta-parameters (and carried inner state), float32 NumPy leaves.
            shards: What to compute; indices 0 .. len - 1.

        Raises:
            LocalProtocolError: If these are not the shards of a round, or the version
                is older than that of the round before; nothing is computed.
            RoundInterruptedError: If someone asked to stop before all were in.
            MlpeftError: If a shard could not be computed.
        """
        ...

    def close(self) -> None:
        """Release threads, sockets and workers. May be called twice."""
        ...


@runtime_checkable
class TakesSteps(Protocol):
    """An executor that can send a step of theta where a worker has theta before it."""

    def note_step(self, version: int, step: ParamTree) -> None:
        """How theta of a version follows from that of `version - 1`.

        Args:
            version: Of the next `Executor.run`.
            step: For `mlpeft.meta.compression.Compression.follow`.
        """
        ...


class RoundsResult(NamedTuple):
    """What several meta-iterations of training came to, one after the other.

    Attributes:
        meta: The meta-state after the last.
        per_task: `ShardUpdate.per_task` of each, over all tasks of its round.
        moved: Euclidean norm of theta's change in each.
    """

    meta: ParamTree
    per_task: list[ParamTree]
    moved: np.ndarray


@runtime_checkable
class Iterates(Protocol):
    """An executor that can take plain outer steps itself: `theta <- theta - lr g`."""

    def iterate(
        self,
        version: int,
        meta: ParamTree,
        rounds: Sequence[Sequence[Shard]],
        lrs: Sequence[float],
    ) -> RoundsResult | None:
        """Several meta-iterations, with the bits of that many rounds.

        Args:
            version: As for `Executor.run`, of the first.
            meta: As for `Executor.run`.
            rounds: The shards of each.
            lrs: Step size of each.

        Returns:
            None: they have to be computed as rounds.
        """
        ...


@runtime_checkable
class ClosesEarly(Protocol):
    """An executor that may return a round before all its shards are in.

    Attributes:
        closes_early: Whether it does.
        spare_shards: Whether it wants twice the shards, of which it returns half.
    """

    closes_early: bool
    spare_shards: bool


def check_round(version: int, shards: Sequence[Shard], last: int | None) -> None:
    """Check what an executor is asked for.

    Args:
        version: Of the new round.
        shards: Of the new round.
        last: Version of the round before; None: there was none.

    Raises:
        LocalProtocolError: If it may not be asked.
    """
    if last is not None and version < last:
        raise LocalProtocolError(f"theta's version went back from {last} to {version}")
    indices = [shard.index for shard in shards]
    if not shards or indices != list(range(len(shards))):
        raise LocalProtocolError(f"a round needs shards 0 .. n - 1, got {indices}")
