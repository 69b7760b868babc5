"""Meta-learn to classify points in the plane, in a minute.

    python examples/quick_start.py

In each of twenty tasks a line separates two classes. Reptile finds a start from which
five gradient steps on five points find the line. Joint training on the same tasks, for
as many gradients, is what one would do without meta-learning.
"""

from mlpeft import (
    JointLearner,
    ReptileLearner,
    SimpleClassifier,
    TaskConfig,
    TaskDistribution,
    cross_entropy_loss,
)

# isort: split
import mlx.core as mx

mx.random.seed(0)  # the model's parameters, so that every run prints the same
tasks = TaskDistribution(
    [
        TaskConfig(
            task_id=f"line_{i}",
            task_family="linear_classification",
            num_classes=2,
            input_dim=2,
            support_size=5,
            query_size=20,
        )
        for i in range(20)
    ],
    seed=42,
)
train_tasks, new_tasks = tasks.split_tasks(train_ratio=0.8)

learner = ReptileLearner(
    SimpleClassifier(input_dim=2, hidden_dim=64, num_classes=2),
    inner_lr=0.1,
    outer_lr=0.5,
    num_inner_steps=5,
)

# Score the same episodes before and after, from tasks that training does not see.
judged = [new_tasks.sample_episode()[1:] for _ in range(100)]
before = learner.evaluate(judged, cross_entropy_loss)

for iteration in range(500):
    episodes = [train_tasks.sample_episode()[1:] for _ in range(4)]
    metrics = learner.meta_train_step(episodes, cross_entropy_loss)
    if iteration % 100 == 0:
        print(f"meta-iteration {iteration:3d}  query loss {metrics['query_loss']:.3f}")

after = learner.evaluate(judged, cross_entropy_loss)

mx.random.seed(0)
joint = JointLearner(
    SimpleClassifier(input_dim=2, hidden_dim=64, num_classes=2),
    inner_lr=0.1,
    outer_lr=0.001,
)
for _ in range(500 * learner.num_inner_steps):
    joint.meta_train_step(
        [train_tasks.sample_episode()[1:] for _ in range(4)], cross_entropy_loss
    )
jointly = joint.evaluate(judged, cross_entropy_loss)

print("\naccuracy on new tasks   before   after meta-training   after joint training")
for step in (0, 1, 5, 10):
    key = f"step_{step}_acc"
    print(
        f"  after {step:2d} steps       {before[key]:7.3f} {after[key]:7.3f}"
        f"               {jointly[key]:7.3f}"
    )
