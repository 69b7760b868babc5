"""Embeddings of tasks: they repeat, tell tasks apart, and are what they say."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from mlpeft.errors import ConfigError, TaskSamplingError
from mlpeft.models.mlp import SimpleClassifier
from mlpeft.tasks.distribution import TaskDistribution
from mlpeft.tasks.embedding import METHODS, task_map, task_similarity
from mlpeft.tasks.episode import TaskConfig


def sinusoids(count=4, **params):
    return TaskDistribution(
        [
            TaskConfig(f"s{i}", "sinusoid", 1, 1, 10, 10, params if i < 2 else {})
            for i in range(count)
        ]
    )


def model():
    net = SimpleClassifier(1, 4, 1, 1, "tanh")
    rng = np.random.default_rng(0)
    for layer in net.layers:
        layer.weight = mx.array(rng.normal(size=layer.weight.shape).astype(np.float32))
    return net


@pytest.mark.parametrize("method", METHODS)
def test_an_embedding_repeats_and_is_another_for_another_task(method):
    tasks, net = sinusoids(), model()
    first = tasks.get_task_embedding("s0", net, method)
    assert first.dtype == np.float32
    assert first.ndim == 1
    np.testing.assert_array_equal(first, tasks.get_task_embedding("s0", net, method))
    assert np.abs(first - tasks.get_task_embedding("s1", net, method)).max() > 1e-3


def test_features_are_the_mean_product_of_inputs_and_targets():
    tasks = sinusoids()
    embedded = tasks.get_task_embedding("s0", episodes=1)
    from mlpeft.seeds import Purpose, seed_word

    episode = tasks.episode("s0", seed_word(tasks.seed, Purpose.SAMPLE, 0))
    sets = [episode[:2], episode[2:]]
    expected = np.mean([(x * y).mean() for x, y in sets])
    np.testing.assert_allclose(embedded, [expected], rtol=1e-5)


def test_fisher_is_the_mean_square_of_the_gradients_of_single_examples():
    """With y = w x at w = 0: dL/dw = -2 x y, and for the bias -2 y."""
    tasks = sinusoids()
    net = SimpleClassifier(1, 1, 1, 0)
    net.layers[0].weight, net.layers[0].bias = mx.zeros((1, 1)), mx.zeros((1,))
    from mlpeft.seeds import Purpose, seed_word

    episode = tasks.episode("s0", seed_word(tasks.seed, Purpose.SAMPLE, 0))
    expected = np.mean(
        [
            [np.mean((2 * y) ** 2), np.mean((2 * x * y) ** 2)]
            for x, y in (episode[:2], episode[2:])
        ],
        axis=0,
    )
    embedded = tasks.get_task_embedding("s0", net, "fisher", episodes=1)
    np.testing.assert_allclose(embedded, expected, rtol=1e-4)


@pytest.mark.parametrize("method", ["gradient", "features"])
def test_tasks_that_ask_for_the_same_are_more_alike(method):
    """Two boundaries through the plane, each drawn twice as a task of its own."""
    families = ["linear_classification"] * 6
    tasks = TaskDistribution(
        [TaskConfig(f"t{i}", family, 2, 2, 40, 40) for i, family in enumerate(families)]
    )
    net = SimpleClassifier(2, 8, 2, 1, "tanh")
    halves = [
        [tasks.get_task_embedding(f"t{i}", net, method, episodes=n) for i in range(6)]
        for n in (2, 6)
    ]
    likeness = task_similarity(np.concatenate(halves))[:6, 6:]
    assert (likeness.argmax(axis=1) == np.arange(6)).sum() >= 4


def test_similarity_is_the_cosine():
    likeness = task_similarity([np.array([1.0, 0.0]), [0.0, 2.0], [3.0, 3.0], [0, 0]])
    root = np.sqrt(0.5)
    np.testing.assert_allclose(
        likeness,
        [[1, 0, root, 0], [0, 1, root, 0], [root, root, 1, 0], [0, 0, 0, 0]],
        atol=1e-12,
    )


def test_the_map_keeps_distances_in_a_plane():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(6, 2))
    rotated = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    rows = np.concatenate([plane, np.zeros((6, 3))], axis=1) @ rotated
    places = task_map(rows)
    before = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    after = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"method": "gradient"}, "needs a model"),
        ({"method": "taste"}, "expected one of gradient, fisher, features"),
        ({"episodes": 0}, "episodes: expected 1 or more"),
    ],
)
def test_what_cannot_be_embedded_is_told(arguments, match):
    with pytest.raises(ConfigError, match=match):
        sinusoids().get_task_embedding("s0", **arguments)


def test_a_task_that_is_not_there_is_told():
    with pytest.raises(TaskSamplingError, match="no task 's9'"):
        sinusoids().get_task_embedding("s9")


def test_embeddings_of_other_lengths_are_not_compared():
    with pytest.raises(ConfigError, match=r"lengths \[2, 3\]"):
        task_similarity([np.zeros(2), np.zeros(3)])
    with pytest.raises(ConfigError, match="two tasks or more"):
        task_map([np.zeros(3)])
