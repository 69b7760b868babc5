"""What notebooks show of results, tasks, runs and adapters."""

from pathlib import Path

import numpy as np
import pytest

from mlpeft.adapters.classifier import Classifier
from mlpeft.adapters.text_classifier import TextClassifier
from mlpeft.charts.notebook import MOST_ROWS, facts, table
from mlpeft.config import RunConfig
from mlpeft.evaluation.evaluate import Comparison
from mlpeft.meta.learner import ReptileLearner
from mlpeft.models.mlp import SimpleClassifier
from mlpeft.results import EvalResult
from mlpeft.tasks.distribution import TaskDistribution
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.fresh import FreshTasks
from mlpeft.training.loop import TrainResult
from mlpeft.training.trained import Trained

EVIL = "<script>alert(1)</script>"
CONFIG = RunConfig.from_dict({"run": {"name": "mine"}, "model": {"hidden_dim": 8}})
META = {"a": np.zeros((3, 4), np.float32)}
RESULT = EvalResult((0, 5), (1.0, 0.3), (0.1, 0.02), 50, (0.2, 0.9), (0.01, 0.006))
TASK = TaskConfig(task_id=EVIL, task_family="linear_classification")


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (RESULT, ["<th>accuracy</th>", "90.0 ± 0.6 %", "50 episodes, ± 95 %"]),
        (
            Comparison(RESULT, RESULT, RESULT, 0.1, 0.02, 0.01),
            ["fresh, tuned", "0.020 ± 0.010"],
        ),
        (
            TrainResult(
                run_dir=Path(EVIL), iteration=9, meta=META, best=RESULT, reason="done"
            ),
            ["9 (done)", "accuracy 90.0 ± 0.6 % after 5 steps"],
        ),
        (Trained(CONFIG, META, Path(EVIL), 9), ["Run mine", "reptile"]),
        (CONFIG, ["model.hidden_dim", "<td>8</td>"]),
        (TaskDistribution([TASK]), ["1 task, seed 0", "linear_classification"]),
        (FreshTasks([TASK]), ["A new task per episode"]),
        (Classifier(config=CONFIG, leaves=META, labels=(EVIL, "b")), ["<th>labels"]),
        (TextClassifier(base=EVIL), ["TextClassifier, not fitted"]),
        (ReptileLearner(SimpleClassifier(2, 8, 2), inner_lr=0.1), ["SimpleClassifier"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_has_a_table_and_keeps_its_line(thing, words):
    markup = thing._repr_html_()
    assert "<script" not in markup
    assert [word for word in words if word not in markup] == []
    assert "<table>" not in repr(thing)


def test_all_texts_are_escaped_and_long_tables_end():
    markup = table(EVIL, [EVIL], [(EVIL, EVIL)] * (MOST_ROWS + 2), EVIL)
    assert "<script" not in markup
    assert markup.count("<tr>") == MOST_ROWS + 1
    assert "and 2 more" in markup


def test_what_is_not_known_is_left_out():
    markup = facts("run", {"loss": None, "keys": ["a", "b"], "zero": 0})
    assert "loss" not in markup
    assert "[&#x27;a&#x27;, &#x27;b&#x27;]" in markup
    assert "<td>0</td>" in markup
