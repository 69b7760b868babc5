"""Whether arrays are of one task, or of several with an axis of tasks in front.

The numerics are written for one task; `AllTasks` vectorises them over that axis. Only
what goes through the model is vectorised: `vmap` would turn the optimiser's constants
into arrays, and its kernels with them into strided loops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import mlx.core as mx

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.meta.functional import Functional
    from mlpeft.meta.support import Examples
    from mlpeft.params import MlxTree

    Gradients: TypeAlias = Callable[..., tuple[mx.array, MlxTree]]
    """`(params, x, y, key) -> (loss, gradients)` of one batch."""

ResultT = TypeVar("ResultT")


class TaskAxis(Protocol):
    """How a function of one task's arrays becomes one of the arrays at hand."""

    def map(self, function: Callable[..., ResultT]) -> Callable[..., ResultT]:
        """The function, of arrays that all have the axis."""
        ...

    def episode_leaves(
        self, functional: Functional, theta: MlxTree, support: Examples
    ) -> MlxTree:
        """`Functional.episode_leaves`, made of one theta."""
        ...

    def gradients(self, gradients: Gradients, theta: MlxTree) -> Gradients:
        """The gradients at parameters of which some may still be those of all tasks.

        Args:
            gradients: Of one task.
            theta: Leaves as they are without an axis of tasks.
        """
        ...

    def spread(self, tree: MlxTree, theta: MlxTree, tasks: int) -> MlxTree:
        """The tree with the axis on those leaves, too, that are like theta's."""
        ...

    def total(self, tree: MlxTree, theta: MlxTree, tasks: int) -> MlxTree:
        """Sum over tasks; a leaf like theta's is the same for all of them."""
        ...


class OneTask:
    """There is no axis of tasks."""

    def map(self, function: Callable[..., ResultT]) -> Callable[..., ResultT]:
        """The function itself."""
        return function

    def episode_leaves(
        self, functional: Functional, theta: MlxTree, support: Examples
    ) -> MlxTree:
        """Those of the one task."""
        return functional.episode_leaves(theta, *support)

    def gradients(self, gradients: Gradients, theta: MlxTree) -> Gradients:
        """Those of the one task."""
        return gradients

    def spread(self, tree: MlxTree, theta: MlxTree, tasks: int) -> MlxTree:
        """The tree itself."""
        return tree

    def total(self, tree: MlxTree, theta: MlxTree, tasks: int) -> MlxTree:
        """The tree itself."""
        return tree


class AllTasks:
    """Arrays have an axis of tasks in front, and functions are vectorised over it."""

    def map(self, function: Callable[..., ResultT]) -> Callable[..., ResultT]:
        """The function under `mx.vmap`."""
        mapped: Callable[..., ResultT] = mx.vmap(function)
        return mapped

    def episode_leaves(
        self, functional: Functional, theta: MlxTree, support: Examples
    ) -> MlxTree:
        """Those of each task, of one theta."""
        if not functional.starts_episodes:
            return {}
        make = mx.vmap(functional.episode_leaves, in_axes=(None, 0, 0))
        leaves: MlxTree = make(theta, *support)
        return leaves

    def gradients(self, gradients: Gradients, theta: MlxTree) -> Gradients:
        """Those of each task; the first step starts from one theta for all."""

        def of_tasks(
            params: MlxTree, x: mx.array, y: mx.array, key: mx.array | None = None
        ) -> tuple[mx.array, MlxTree]:
            arrays = (x, y) if key is None else (x, y, key)
            axes = {
                name: None if _is_shared(name, leaf, theta) else 0
                for name, leaf in params.items()
            }
            run: Gradients = mx.vmap(gradients, in_axes=(axes, *(0 for _ in arrays)))
            return run(params, *arrays)

        return of_tasks

    def spread(self, tree: MlxTree, theta: MlxTree, tasks: int) -> MlxTree:
        """Leaves like theta's are repeated for each task."""
        return {
            name: mx.broadcast_to(leaf, (tasks, *leaf.shape))
            if _is_shared(name, leaf, theta)
            else leaf
            for name, leaf in tree.items()
        }

    def total(self, tree: MlxTree, theta: MlxTree, tasks: int) -> MlxTree:
        """Sum over the axis. Adam's count of steps has none: all tasks share it."""
        return {
            name: leaf * tasks
            if _is_shared(name, leaf, theta)
            else mx.sum(leaf, axis=0)
            for name, leaf in tree.items()
        }


def _is_shared(name: str, leaf: mx.array, theta: MlxTree) -> bool:
    """Whether all tasks share a leaf: it has as many axes as theta's, and no more."""
    return name in theta and leaf.ndim == theta[name].ndim
