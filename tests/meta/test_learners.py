"""The learners of all algorithms: they learn, save, load, and give what a run gives."""

from __future__ import annotations

import numpy as np
import pytest

import mlpeft
from mlpeft import SimpleClassifier, TaskConfig, TaskDistribution, cross_entropy_loss
from mlpeft.errors import ConfigError, ParamMismatch
from mlpeft.meta import learners
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.meta.joint_learner import JointLearner
from mlpeft.meta.learner import ReptileLearner

LEARNERS = [
    made
    for made in vars(learners).values()
    if isinstance(made, type)
    and issubclass(made, ReptileLearner)
    and made not in (ReptileLearner, learners.GradientLearner)
]


def distribution():
    return TaskDistribution(
        [TaskConfig("a", "linear_classification", support_size=8, query_size=8)], seed=0
    )


def made(kind, **keys):
    model = SimpleClassifier(2, 6, 2, 1, "tanh")
    usual = {"inner_lr": 0.1, "outer_lr": 0.02, "num_inner_steps": 2}
    return kind(model, strategy="loop", **usual | keys)


def test_every_algorithm_has_a_learner_that_mlpeft_names():
    named = {kind.algorithm for kind in [*LEARNERS, ReptileLearner, JointLearner]}
    assert named == ALGORITHMS.keys()
    for kind in LEARNERS:
        assert getattr(mlpeft, kind.__name__) is kind


@pytest.mark.parametrize("kind", LEARNERS, ids=lambda kind: kind.__name__)
def test_a_learner_learns_and_comes_back_from_its_file(kind, tmp_path):
    episodes = [distribution().sample_episode()[1:]]
    learner = made(kind)
    before = learner.evaluate(episodes, cross_entropy_loss)["final_loss"]
    for _ in range(12):
        metrics = learner.meta_train_step(episodes, cross_entropy_loss)
    after = learner.evaluate(episodes, cross_entropy_loss)
    assert after["final_loss"] < before
    assert metrics["param_diff"] > 0
    learner.save(tmp_path / "theta.npz")
    other = made(kind, seed=1)
    other.load(tmp_path / "theta.npz")
    assert other.meta.keys() == learner.meta.keys()
    assert other.evaluate(episodes, cross_entropy_loss) == after
    np.testing.assert_equal(other.meta, learner.meta)


def test_a_file_of_another_algorithm_is_refused(tmp_path):
    made(learners.MAMLLearner).save(tmp_path / "maml.npz")
    with pytest.raises(ParamMismatch, match="learned/rate"):
        made(learners.MetaSGDLearner).load(tmp_path / "maml.npz")


def test_a_key_of_an_algorithm_is_a_keyword():
    learner = made(learners.MetaSGDLearner, rates="leaf")
    assert learner.meta["learned/rate/layers.0.weight"].shape == (1, 1)
    with pytest.raises(ConfigError, match="did you mean 'rates'"):
        made(learners.MetaSGDLearner, rate="leaf")


@pytest.mark.parametrize(
    ("kind", "keys", "match"),
    [
        ("MAMLLearner", {"inner_optimizer": "adam"}, "Adam's square root"),
        ("MetaSGDLearner", {"inner_optimizer": "adam"}, "meta_sgd learns the steps"),
        ("MAMLLearner", {"inner_micro_batch": 2}, "all examples in memory"),
        ("ProtoNetLearner", {"first_order": True}, "does not differentiate through"),
        ("IMAMLLearner", {"inner_optimizer": "adam", "inner_state": "carry"}, "fresh"),
        ("SerialReptileLearner", {"outer_optimizer": "adam"}, "moves theta after each"),
    ],
)
def test_what_does_not_go_with_an_algorithm_is_told(kind, keys, match):
    with pytest.raises(ConfigError, match=match):
        made(getattr(learners, kind), **keys)
