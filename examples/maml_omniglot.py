"""MAML on Omniglot, 5-way 1-shot, with one inner step of 0.5.

    mlpeft data get omniglot
    python examples/maml_omniglot.py

The settings are those of learn2learn's example of the same name, with the paper's
convolutional network, and with test characters that training has not seen.
"""

import argparse

from mlpeft import Conv4, MAMLLearner, TaskConfig, TaskDistribution, cross_entropy_loss

# isort: split
import mlx.core as mx

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=60_000)
parser.add_argument("--meta-batch-size", type=int, default=32)
parser.add_argument("--filters", type=int, default=64)
args = parser.parse_args()


def tasks_of(split: str, number: int) -> TaskDistribution:
    """Tasks of five characters: one image of each to adapt to, one to be judged by."""
    names = [f"{split}_{i}" for i in range(number)]
    shape = {"num_classes": 5, "input_dim": 784, "support_size": 5, "query_size": 5}
    return TaskDistribution(
        [
            TaskConfig(name, "omniglot", **shape, task_params={"split": split})
            for name in names
        ]
    )


mx.random.seed(0)
train_tasks, test_tasks = tasks_of("train", 20_000), tasks_of("test", 600)
model = Conv4(5, filters=args.filters)
learner = MAMLLearner(model, inner_lr=0.5, outer_lr=0.003, num_inner_steps=1)
for iteration in range(args.iterations):
    episodes = [train_tasks.sample_episode()[1:] for _ in range(args.meta_batch_size)]
    metrics = learner.meta_train_step(episodes, cross_entropy_loss)
    if iteration % 100 == 0:
        print(f"meta-iteration {iteration:5d}  query loss {metrics['query_loss']:.3f}")
judged = [test_tasks.sample_episode()[1:] for _ in range(600)]
test = learner.evaluate(judged, cross_entropy_loss)
print(f"accuracy on new characters after one step {test['step_1_acc']:.3f}")
