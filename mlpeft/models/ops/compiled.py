"""`mx.compile` with a bound on what it keeps.

MLX keeps the graph of each combination of shapes, dtypes and Python scalars that a
compiled function was ever called with, and looks for the right one from the first to
the last. Texts and support sets differ in size, so a long run would fill the memory,
or on Metal reach the most buffers a process may have (499,000).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

import mlx.core as mx

if TYPE_CHECKING:
    from collections.abc import Callable

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

MOST_SHAPES = 64
"""Graphs that a function keeps: more than the sizes of packed rows, which are rounded
up. A graph of a whole inner loop takes up to some megabytes."""


class compiled(Generic[Arguments, Result]):  # noqa: N801 - it stands for `mx.compile`
    """A compiled function that forgets its graphs when they become too many.

    It counts how often it is traced, which costs a call nothing, and lets MLX drop all
    graphs when a further one follows `MOST_SHAPES`. Those still needed are traced
    again, with the same results. MLX never drops kernels; they depend on no shape, but
    on constants such as the 1 / n of a mean. Where the function is traced as a part of
    another compiled one MLX keeps no graph of it; it is counted all the same.

    Args:
        function: Takes and returns trees of arrays.
    """

    def __init__(self, function: Callable[Arguments, Result]) -> None:
        self._function = function
        self._forget()

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """What the function returns."""
        if len(self._tracings) > MOST_SHAPES:
            self._forget()
        return self._compiled(*args, **kwargs)

    def _forget(self) -> None:
        """Begin with no graph."""
        function = self._function
        self._tracings = tracings = list[None]()

        # A new function each time: MLX drops graphs by its address, and another thread
        # may still be in a call of the old one. It does not refer to this object, or
        # graphs would outlive it until the cycle is collected.
        def traced(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            tracings.append(None)
            return function(*args, **kwargs)

        self._compiled: Callable[Arguments, Result] = mx.compile(traced)
