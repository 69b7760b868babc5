"""MAML on sinusoids: five gradient steps on ten points find the curve.

    python examples/maml_sinusoid.py

The settings are those of learn2learn's example of the same name. Any learner takes
MAML's place: MAMLPlusPlusLearner, MetaSGDLearner, CAVIALearner (docs/algorithms.md).
"""

import argparse

from mlpeft import MAMLLearner, SimpleClassifier, TaskConfig, TaskDistribution, mse_loss

# isort: split
import mlx.core as mx

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=10_000)
iterations = parser.parse_args().iterations

mx.random.seed(0)
tasks = TaskDistribution(
    [TaskConfig(f"wave_{i}", "sinusoid", 1, 1, 10, 10) for i in range(10_000)], seed=0
)
train_tasks, new_tasks = tasks.split_tasks(0.9)
model = SimpleClassifier(1, hidden_dim=32, num_classes=1)
learner = MAMLLearner(model, inner_lr=0.01, outer_lr=1e-3, num_inner_steps=5)
judged = [new_tasks.sample_episode()[1:] for _ in range(100)]
before = learner.evaluate(judged, mse_loss)
for iteration in range(iterations):
    episodes = [train_tasks.sample_episode()[1:] for _ in range(16)]
    metrics = learner.meta_train_step(episodes, mse_loss)
    if iteration % 500 == 0:
        print(f"meta-iteration {iteration:5d}  query loss {metrics['query_loss']:.3f}")
after = learner.evaluate(judged, mse_loss)
for k in (0, 1, 5, 10):
    key = f"step_{k}_loss"
    print(f"squared error after {k:2d} steps {before[key]:7.3f} {after[key]:7.3f}")
