"""What the steps of an inner loop see, planned before the first of them.

A `SupportPlan` is NumPy: the examples, and all that is drawn at random. A
`PreparedSupport` is made of it: MLX arrays as the model takes them, with an axis of
tasks in front if the plan is of several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, TypeAlias

import mlx.core as mx
import numpy as np

from mlpeft.meta.dropout import step_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlpeft.meta.functional import Functional, ModelInput
    from mlpeft.meta.inner import InnerLoop
    from mlpeft.params import Array

    StepInput: TypeAlias = ModelInput | list[ModelInput]
    """Inputs of a step's examples: of all, or of each micro-batch by itself."""
    Prepare: TypeAlias = Callable[[np.ndarray, np.ndarray], ModelInput]
    """`(x, y) -> inputs` as the model takes them, see `Functional.prepare`."""


class Batch(NamedTuple):
    """Examples of one inner step.

    Attributes:
        x: Inputs.
        y: Labels or targets.
        key: (2,) uint32, for the masks of dropout; None: dropout is left out.
    """

    x: StepInput
    y: mx.array
    key: mx.array | None = None


class Examples(NamedTuple):
    """Examples as the model takes them.

    Attributes:
        x: Inputs.
        y: Labels or targets.
    """

    x: ModelInput
    y: mx.array


@dataclass(frozen=True, slots=True)
class SupportPlan:
    """A support set, and what each inner step sees of it.

    Attributes:
        x: (n, ...) inputs; of several tasks (tasks, n, ...).
        y: (n, ...) labels or targets; likewise.
        order: (num_steps, batch) indices of the examples that each step sees; of
            several tasks (num_steps, tasks, batch). None: every step sees all.
        keys: (num_steps, 2) uint32, see `dropout.step_keys`; of several tasks
            (num_steps, tasks, 2). None: there is no dropout.
        tasks: Index of the axis of tasks beside `order`; (): there is none.
    """

    x: np.ndarray
    y: np.ndarray
    order: np.ndarray | None = None
    keys: np.ndarray | None = None
    tasks: tuple[np.ndarray, ...] = ()

    @classmethod
    def draw(
        cls,
        inner: InnerLoop,
        x: Array,
        y: Array,
        make_rng: Callable[[], np.random.Generator],
        *,
        dropout: bool,
    ) -> Self:
        """Plan the steps of one task.

        Args:
            inner: Settings of the inner loop.
            x: (n, ...) inputs.
            y: (n, ...) labels or targets.
            make_rng: Makes the task's generator; not called where nothing is random.
            dropout: Whether the model has dropout.
        """
        order = inner.batches(len(x), make_rng)
        keys = step_keys(inner.num_steps, make_rng) if dropout else None
        return cls(np.asarray(x), np.asarray(y), order, keys)

    @classmethod
    def stack(cls, plans: Sequence[SupportPlan]) -> Self:
        """One plan of several tasks, whose support sets have equal shapes."""
        x, y = np.stack([p.x for p in plans]), np.stack([p.y for p in plans])
        keys = _stack_steps([plan.keys for plan in plans])
        order = _stack_steps([plan.order for plan in plans])
        if order is None:
            return cls(x, y, None, keys)
        return cls(x, y, order, keys, (np.arange(len(plans))[:, None],))

    def as_seen(self, num_steps: int) -> SupportPlan:
        """The plan of one task with what the steps see as its support set, in order.

        An example counts as often as it is seen. So sets of several sizes are alike,
        and a set too small for batches has `num_steps` batches of all its examples.
        """
        order = self.order
        if order is None:
            order = np.tile(np.arange(len(self.x)), (num_steps, 1))
        seen = order.ravel()
        places = np.arange(order.size).reshape(order.shape)
        return SupportPlan(self.x[seen], self.y[seen], places, self.keys)

    @property
    def in_order(self) -> bool:
        """Whether the steps see the support set of one task from first to last."""
        order = self.order
        if order is None or order.size != len(self.x):
            return False
        return bool((order.ravel() == np.arange(order.size)).all())

    def seen_by(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels that a step sees."""
        if self.order is None:
            return self.x, self.y
        rows = (*self.tasks, self.order[step])
        return self.x[rows], self.y[rows]


class Batches(Protocol):
    """A list of batches, or what makes them when their turn comes."""

    def __len__(self) -> int: ...

    def __getitem__(self, step: int, /) -> Batch: ...


class PreparedSupport(NamedTuple):
    """A planned support set in MLX arrays; a tree that `mx.compile` takes.

    Attributes:
        whole: All of it, for FOMAML and for the leaves that an episode starts with.
        batches: What the steps see: one for each step, or one that all of them see.
        keys: Those of the plan.
    """

    whole: Examples
    batches: Batches
    keys: mx.array | None

    @classmethod
    def of(
        cls, plan: SupportPlan, prepare: Prepare, micro_batch: int | None = None
    ) -> Self:
        """Prepare a plan; batches of single steps only when their turn comes.

        Args:
            plan: Of one task or of several.
            prepare: Makes inputs of examples.
            micro_batch: Examples that are computed at a time; None: all of a step.
        """
        whole = Examples(prepare(plan.x, plan.y), mx.array(plan.y))
        keys = None if plan.keys is None else mx.array(plan.keys)
        if plan.order is not None:
            return cls(whole, _PreparedInTurn(plan, prepare, micro_batch), keys)
        if micro_batch is None or micro_batch >= len(plan.x):
            return cls(whole, [Batch(*whole)], keys)
        parts = _step_input(prepare, plan.x, plan.y, micro_batch)
        return cls(whole, [Batch(parts, whole.y)], keys)

    @classmethod
    def of_task(
        cls,
        functional: Functional,
        inner: InnerLoop,
        x: Array,
        y: Array,
        make_rng: Callable[[], np.random.Generator],
    ) -> Self:
        """Plan and prepare one task, see `SupportPlan.draw`."""
        dropout = bool(functional.dropouts)
        plan = SupportPlan.draw(inner, x, y, make_rng, dropout=dropout)
        return cls.of(plan, functional.prepare, inner.micro_batch)

    def at_once(self) -> PreparedSupport:
        """With all batches in a list, as `mx.compile` needs them."""
        if isinstance(self.batches, list):
            return self
        batches = [self.batches[number] for number in range(len(self.batches))]
        return self._replace(batches=batches)

    def steps(self, count: int) -> Iterator[Batch]:
        """What each of the first `count` steps sees."""
        for step in range(count):
            batch = self.batches[step % len(self.batches)]
            yield batch if self.keys is None else batch._replace(key=self.keys[step])


def as_arrays(x: np.ndarray, y: np.ndarray) -> mx.array:  # noqa: ARG001 - a `Prepare`
    """Inputs as they are, for what a model cannot prepare: tasks side by side."""
    return mx.array(x)


@dataclass(frozen=True, slots=True)
class _PreparedInTurn:
    """The batches of single steps: together, prepared inputs can take much memory."""

    plan: SupportPlan
    prepare: Prepare
    micro_batch: int | None

    def __len__(self) -> int:
        return 0 if self.plan.order is None else len(self.plan.order)

    def __getitem__(self, step: int, /) -> Batch:
        x, y = self.plan.seen_by(step)
        return Batch(_step_input(self.prepare, x, y, self.micro_batch), mx.array(y))


def _step_input(
    prepare: Prepare, x: np.ndarray, y: np.ndarray, micro_batch: int | None
) -> StepInput:
    """The inputs of a step; a list of them if it has several micro-batches."""
    if micro_batch is None or micro_batch >= len(x):
        return prepare(x, y)
    parts = (slice(i, i + micro_batch) for i in range(0, len(x), micro_batch))
    return [prepare(x[part], y[part]) for part in parts]


def _stack_steps(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Arrays (num_steps, ...) as one of (num_steps, tasks, ...)."""
    arrays = [part for part in parts if part is not None]
    return np.stack(arrays, axis=1) if arrays else None
