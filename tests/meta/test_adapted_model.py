"""learner.adapt: a model that has learned one task, beside the one of theta."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from mlpeft import (
    ANILLearner,
    CAVIALearner,
    FOMAMLLearner,
    MatchingNetLearner,
    ReptileLearner,
    SimpleClassifier,
    cross_entropy_loss,
)
from mlpeft.errors import ConfigError, ShapeError
from mlpeft.meta.functional import get_params
from mlpeft.models.build import seeded
from tests.meta.test_learner import episodes


def model():
    with seeded(3):
        return SimpleClassifier(input_dim=2, hidden_dim=16, num_classes=2)


@pytest.mark.parametrize(
    "kind", [ReptileLearner, FOMAMLLearner, ANILLearner, CAVIALearner]
)
def test_it_scores_as_evaluation_does_and_theta_stays(kind):
    learner = kind(model(), inner_lr=0.1, num_inner_steps=3)
    before = {k: np.array(v) for k, v in get_params(learner.model).items()}
    (episode,) = episodes(1)
    adapted = learner.adapt(*episode[:2])
    expected = learner.evaluate([episode], cross_entropy_loss)
    loss = cross_entropy_loss(adapted(mx.array(episode[2])), mx.array(episode[3]))
    assert loss.item() == pytest.approx(expected["final_loss"], rel=1e-5)
    assert expected["final_loss"] < expected["step_0_loss"]
    for name, leaf in get_params(learner.model).items():
        np.testing.assert_array_equal(before[name], np.array(leaf))
    start = learner.adapt(*episode[:2], num_steps=0)
    loss = cross_entropy_loss(start(mx.array(episode[2])), mx.array(episode[3]))
    assert loss.item() == pytest.approx(expected["step_0_loss"], rel=1e-5)


def test_a_frozen_base_is_not_copied():
    base = model()
    base.layers[0].freeze()
    learner = ReptileLearner(base, inner_lr=0.1, num_inner_steps=1)
    adapted = learner.adapt(*episodes(1)[0][:2])
    assert adapted.layers[0].weight is base.layers[0].weight
    assert not np.array_equal(adapted.layers[1].weight, base.layers[1].weight)


def test_what_is_more_than_leaves_and_wrong_labels_are_told():
    (episode,) = episodes(1)
    with pytest.raises(ConfigError, match="compares a text with every example"):
        MatchingNetLearner(model()).adapt(*episode[:2])
    with pytest.raises(ShapeError, match="expected 0 to 1"):
        ReptileLearner(model()).adapt(episode[0], np.full(len(episode[1]), 7))
