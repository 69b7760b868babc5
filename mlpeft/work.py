"""Units of work: what a round asks for and what comes back.

A round's meta-batch is cut into shards of a fixed size (`compute.shard_size`, never
derived from the number of workers). A shard is the unit of vectorisation, lease and
summation, so its update has the same bits wherever it is computed.

The training loop asks an `Executor` for the updates of a round and does not know
whether they come from this process or from a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.params import ParamTree


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
        per_task: Small arrays with a leading axis of `count` tasks: train has
            `support_loss` (count,) and, where there are queries, `query_loss` (count,);
            validate and test have `loss` and, for classification, `acc`, for sequences
            `exact` (count, len(eval steps)).
    """

    index: int
    count: int
    total: ParamTree = field(default_factory=dict)
    per_task: ParamTree = field(default_factory=dict)


class RoundInterruptedError(MlpeftError):
    """Someone asked to stop while a round was under way; it counts for nothing."""


class Executor(Protocol):
    """Computes the shards of a round, somewhere."""

    def run(
        self, version: int, meta: ParamTree, shards: Sequence[Shard]
    ) -> list[ShardUpdate]:
        """The updates of all shards, in the order of their index.

        Where the run takes their mean, the totals may come summed: then the first one's
        is the sum of all, in the order of their index, and the others' are empty.

        Args:
            version: Grows by one with every new `meta`; equal versions are equal bytes.
            meta: Meta-parameters (and carried inner state), float32 NumPy leaves.
            shards: What to compute; indices 0 .. len - 1.

        Raises:
            RoundInterruptedError: If someone asked to stop before all were there.
        """
        ...

    def close(self) -> None:
        """Release threads, sockets and workers. May be called twice."""
        ...
