"""What a notebook or a traceback shows of things that hold arrays: a short line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlpeft.adapters.classifier import Classifier
from mlpeft.config import RunConfig
from mlpeft.evaluation.evaluate import Comparison
from mlpeft.meta.learner import ReptileLearner
from mlpeft.models.mlp import SimpleClassifier
from mlpeft.results import EvalResult
from mlpeft.tasks.distribution import TaskDistribution
from mlpeft.tasks.episode import Episode, TaskConfig
from mlpeft.tasks.fresh import FreshTasks
from mlpeft.training.loop import TrainResult
from mlpeft.training.trained import Trained

CONFIG = RunConfig.from_dict({"run": {"name": "mine"}})
META = {"a": np.zeros((300, 4), np.float32), "b": np.zeros(4, np.float32)}
RESULT = EvalResult((0, 5), (1.0, 0.3), (0.1, 0.02), 50, (0.2, 0.9), (0.01, 0.006))
OF_META = "2 arrays, 1,204 numbers"


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (RESULT, "EvalResult(accuracy 90.0 ± 0.6 % after 5 steps, 50 episodes)"),
        (
            TrainResult(
                run_dir=Path("mine"), iteration=9, meta=META, best=RESULT, reason="done"
            ),
            (
                "TrainResult('mine': 9 meta-iterations, done, "
                f"best accuracy 90.0 ± 0.6 % after 5 steps; meta: {OF_META})"
            ),
        ),
        (
            Trained(CONFIG, META, Path("mine"), 9),
            f"Trained('mine': after 9 meta-iterations, {OF_META})",
        ),
        (Trained(CONFIG, META, Path("a.npz"), -1), f"Trained('a.npz': {OF_META})"),
        (
            Comparison(RESULT, RESULT, RESULT, 0.1, 0.02, 0.01),
            (
                "Comparison(meta 90.0 ± 0.6 %, tuned 90.0 ± 0.6 %, fresh 90.0 ± 0.6 %; "
                "gain 0.020 ± 0.010)"
            ),
        ),
        (
            Classifier(config=CONFIG, leaves=META, labels=("x", "y")),
            f"Classifier(2 labels; {OF_META} on linear)",
        ),
        (
            ReptileLearner(SimpleClassifier(2, 8, 2), inner_lr=0.1),
            (
                "ReptileLearner(SimpleClassifier: 6 arrays, 114 numbers; inner_lr=0.1, "
                "outer_lr=0.001, num_inner_steps=5, iteration=0)"
            ),
        ),
        (
            Episode(*(np.zeros(shape) for shape in ((5, 2), 5, (9, 2), 9))),
            "Episode(support_x (5, 2), support_y (5,), query_x (9, 2), query_y (9,))",
        ),
        (
            TaskDistribution([TaskConfig("a", "linear_classification")], seed=1),
            "TaskDistribution(1 task of linear_classification, seed=1)",
        ),
        (
            FreshTasks([TaskConfig("a", "linear_classification")], seed=1),
            "FreshTasks(of linear_classification, seed=1)",
        ),
        (CONFIG, "RunConfig('mine': reptile on linear_classification)"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_a_repr_is_a_short_line(thing, text):
    assert repr(thing) == text
    assert len(repr(thing)) < 150
