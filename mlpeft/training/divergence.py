"""A round that is not finite is refused, with the step size that is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpeft import params
from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.config import MetaLearningSection
    from mlpeft.params import ParamTree
    from mlpeft.training.run import Run

RUNAWAY_GROWTH = 10.0
"""Times its norm at the start from which on theta itself has run away."""
SMALLEST_NORM = 1e-6
"""A start of zeros has a norm, too, to compare with."""


def check_finite(
    metrics: dict[str, float], run: Run, initial: Callable[[], ParamTree]
) -> None:
    """Refuse a round that is not finite.

    Args:
        metrics: The round's.
        run: As it was before the round.
        initial: Makes the meta-state that the run began with.

    Raises:
        MlpeftError: If a metric is NaN or infinite.
    """
    bad = [name for name, value in metrics.items() if not np.isfinite(value)]
    if bad:
        growth = params.global_norm(run.meta) / max(
            params.global_norm(initial()), SMALLEST_NORM
        )
        raise MlpeftError(
            f"meta-iteration {run.progress.iteration}: {', '.join(bad)} is not finite; "
            f"{_remedy(run.config.meta_learning, growth)}. The checkpoints before this "
            "are sound"
        )


def _remedy(settings: MetaLearningSection, growth: float) -> str:
    """What to lower after a step too far.

    Reptile's step of up to 1 ends between theta and the adapted parameters, so that
    only these can have run away; other steps can carry theta away themselves.

    Args:
        settings: Of the run.
        growth: Theta's norm over its norm at the start.
    """
    interpolates = (
        settings.algorithm == "reptile"
        and settings.outer_optimizer == "sgd"
        and settings.outer_lr <= 1
    )
    outer = settings.num_inner_steps == 0 or growth > RUNAWAY_GROWTH
    if outer and not interpolates:
        return (
            f"theta has grown to {growth:.3g} times its norm at the start: lower "
            f"meta_learning.outer_lr {settings.outer_lr:g} or set "
            "meta_learning.update_clip"
        )
    return (
        f"lower meta_learning.inner_lr {settings.inner_lr:g} or set "
        "meta_learning.inner_grad_clip"
    )
