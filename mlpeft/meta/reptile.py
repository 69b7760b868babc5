"""Reptile: move theta towards what the tasks made of it.

References:
    Nichol, Achiam and Schulman, "On First-Order Meta-Learning Algorithms", 2018,
    arXiv 1803.02999, algorithm 2 (the batched version).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft import params

if TYPE_CHECKING:
    from mlpeft.params import NumpyTree


def pseudo_gradient(theta: NumpyTree, mean_adapted: NumpyTree) -> NumpyTree:
    """`theta - mean(theta_task)`, to be descended by the outer optimiser.

    With plain SGD of step size `outer_lr` this is Reptile's interpolation
    `theta + outer_lr (mean(theta_task) - theta)`.

    Args:
        theta: Meta-parameters before the round.
        mean_adapted: Mean over the meta-batch of the adapted parameters.
    """
    return params.subtract(theta, mean_adapted)
