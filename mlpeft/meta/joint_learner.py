"""JointLearner: the baseline of the learners, with their methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mlpeft.meta.joint import whole
from mlpeft.meta.learner import ReptileLearner

if TYPE_CHECKING:
    from mlpeft.config.algorithms import AlgorithmName
    from mlpeft.tasks.episode import Episode


class JointLearner(ReptileLearner):
    """Trains one model of all episodes at once, by Adam, without an inner loop.

    What it takes and returns is what `ReptileLearner` does, so that one can stand in
    for the other; `outer_lr` is Adam's step size, and the inner settings are those of
    `evaluate`. A label must mean the same in every episode, as the targets of a
    regression and the tokens of completions do. For classes that every episode numbers
    anew, train a run with `meta_learning.algorithm: joint`: it knows their names.
    """

    algorithm: ClassVar[AlgorithmName] = "joint"
    outer_optimizer: ClassVar[str] = "adam"

    def _training(self, episodes: list[Episode]) -> list[Episode]:
        return [whole(episode) for episode in episodes]
