"""The synthetic tasks have something in common, and it can be learnt."""

from __future__ import annotations

import mlx.core as mx
import pytest

from mlpeft import (
    ReptileLearner,
    SimpleClassifier,
    TaskConfig,
    TaskDistribution,
    cross_entropy_loss,
)


@pytest.mark.parametrize(
    "family", ["linear_classification", "nonlinear_classification"]
)
def test_a_meta_learned_start_beats_a_fresh_one_on_tasks_never_seen(family):
    """Five support points and five SGD steps, as in the user's guide, after 200
    meta-iterations; in many runs the gain was 14 to 30 points."""
    configs = [
        TaskConfig(f"task_{number}", family, 2, 2, support_size=5, query_size=30)
        for number in range(60)
    ]
    train, val = TaskDistribution(configs, seed=1).split_tasks(0.7)
    mx.random.seed(8)  # now and then a fresh start is good by luck
    model = SimpleClassifier(input_dim=2, hidden_dim=64, num_classes=2)
    learner = ReptileLearner(model, inner_lr=0.01, outer_lr=0.1, num_inner_steps=5)
    episodes = [val.sample_episode()[1:] for _ in range(100)]
    fresh = learner.evaluate(episodes, cross_entropy_loss)["step_5_acc"]
    for _ in range(200):
        batch = [train.sample_episode()[1:] for _ in range(4)]
        learner.meta_train_step(batch, cross_entropy_loss)
    learned = learner.evaluate(episodes, cross_entropy_loss)["step_5_acc"]
    assert learned > fresh + 0.08
    assert learned > 0.75
