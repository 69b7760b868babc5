"""Three strategies, one result."""

import mlx.nn as nn
import numpy as np
import pytest

from mlpeft import params
from mlpeft.errors import MlpeftError
from mlpeft.meta.engine import LOST_KERNEL, Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.meta.state import initial
from mlpeft.meta.strategies import choose_strategy
from mlpeft.models.build import seeded
from mlpeft.models.conv4 import Conv4
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.models.mlp import LinearClassifier, SimpleClassifier
from mlpeft.tasks.episode import Episode

NAMES = ("loop", "compiled", "vmap")


def episodes(shape, classes, number=3, support=6, query=4, seed=0):
    rng = np.random.default_rng(seed)

    def one():
        return Episode(
            rng.random((support, *shape), np.float32),
            (np.arange(support) % classes).astype(np.int32),
            rng.random((query, *shape), np.float32),
            (np.arange(query) % classes).astype(np.int32),
        )

    return [one() for _ in range(number)]


def rng_of(index):
    return np.random.default_rng(index)


def mlp():
    with seeded(1):
        return SimpleClassifier(3, 8, 2), (3,), 2


def conv():
    with seeded(1):
        return Conv4(num_classes=3, image_size=8, filters=4), (8, 8, 1), 3


INNER = {
    "sgd": InnerLoop(lr=0.05, num_steps=3),
    "adam, carried, in batches": InnerLoop(
        lr=0.001, num_steps=3, optimizer="adam", state="carry", batch_size=4
    ),
    "clipped": InnerLoop(lr=0.05, num_steps=2, grad_clip=0.1),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inner", INNER.values(), ids=INNER.keys())
def test_support_sets_of_different_sizes_are_learned_as_each_alone(name, inner):
    """Three examples are fewer than an inner batch, so each step sees them all."""
    model, shape, classes = mlp()
    data = [episodes(shape, classes, 1, support=size)[0] for size in (6, 3, 8)]
    meta = initial(get_params(model), inner, model)
    engine = Engine(model, cross_entropy_loss, inner, name)
    together = engine.train(meta, data, rng_of)
    alone = [
        engine.train(meta, [episode], lambda _, index=index: rng_of(index))
        for index, episode in enumerate(data)
    ]
    for leaf in meta:
        total = sum(result.total[leaf] for result in alone)
        np.testing.assert_allclose(together.total[leaf], total, rtol=2e-5, atol=1e-6)
    losses = [float(result.support_loss[0]) for result in alone]
    np.testing.assert_allclose(together.support_loss, losses, rtol=1e-5)


@pytest.mark.parametrize("make", [mlp, conv])
@pytest.mark.parametrize("inner", INNER.values(), ids=INNER.keys())
def test_strategies_agree_on_training(make, inner):
    model, shape, classes = make()
    data = episodes(shape, classes)
    meta = initial(get_params(model), inner, model)
    results = [
        Engine(model, cross_entropy_loss, inner, name).train(meta, data, rng_of)
        for name in NAMES
    ]
    for result in results[1:]:
        assert result.total.keys() == meta.keys()
        for name, leaf in results[0].total.items():
            # Adam divides by sqrt(v): rounding near a zero gradient is magnified.
            np.testing.assert_allclose(result.total[name], leaf, rtol=1e-3, atol=2e-3)
        np.testing.assert_allclose(
            result.query_loss, results[0].query_loss, rtol=1e-2, atol=1e-3
        )


@pytest.mark.parametrize("make", [mlp, conv])
def test_strategies_agree_on_evaluation(make):
    model, shape, classes = make()
    data = episodes(shape, classes)
    inner = InnerLoop(lr=0.05, num_steps=3)
    meta = initial(get_params(model), inner, model)
    scores = [
        Engine(model, cross_entropy_loss, inner, name).evaluate(
            meta, data, rng_of, [0, 1, 3]
        )
        for name in NAMES
    ]
    assert scores[0].loss.shape == scores[0].acc.shape == (3, 3)
    for score in scores[1:]:
        np.testing.assert_allclose(score.loss, scores[0].loss, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_repeats_its_own_bits(name):
    model, shape, classes = mlp()
    data = episodes(shape, classes)
    meta = initial(get_params(model), INNER["sgd"], model)

    def total():
        engine = Engine(model, cross_entropy_loss, INNER["sgd"], name)
        return engine.train(meta, data, rng_of).total

    first, second = total(), total()
    for leaf in first:
        assert first[leaf].tobytes() == second[leaf].tobytes()


def test_training_tells_evaluation_apart_by_steps():
    """Scores after 0 steps are theta's own; they differ once it has adapted."""
    model, shape, classes = mlp()
    data = episodes(shape, classes)
    inner = InnerLoop(lr=0.5, num_steps=5)
    meta = initial(get_params(model), inner, model)
    engine = Engine(model, cross_entropy_loss, inner)
    scores = engine.evaluate(meta, data, rng_of, [0, 5])
    import mlx.core as mx

    for row, episode in zip(scores.loss, data, strict=True):
        own = cross_entropy_loss(
            model(mx.array(episode.query_x)), mx.array(episode.query_y)
        )
        assert row[0] == pytest.approx(own.item(), rel=1e-5)
        assert row[1] != pytest.approx(row[0], rel=1e-3)


def test_episodes_of_different_sizes_go_into_one_shard():
    model, shape, classes = mlp()
    small = episodes(shape, classes, number=1, support=4)
    large = episodes(shape, classes, number=1, support=8, seed=1)
    meta = initial(get_params(model), INNER["sgd"], model)
    engine = Engine(model, cross_entropy_loss, INNER["sgd"], "vmap")
    both = engine.train(meta, small + large, rng_of)
    alone = [engine.train(meta, one, rng_of).total for one in (small, large)]
    for name, leaf in both.total.items():
        expected = alone[0][name] + alone[1][name]
        np.testing.assert_allclose(leaf, expected, rtol=1e-5, atol=1e-6)
    assert both.support_loss.shape == (2,)


def test_a_model_that_does_not_vmap_falls_back_to_the_compiled_loop(caplog):
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), lambda x: x.reshape(x.shape[0], -1)
    )
    model.layers.append(nn.Linear(2 * 6 * 6, 2))
    data = episodes((8, 8, 1), 2)
    inner = InnerLoop(num_steps=1)
    meta = initial(get_params(model), inner, model)
    engine = Engine(model, cross_entropy_loss, inner, "vmap")
    result = engine.train(meta, data, rng_of)
    assert engine.strategy == "compiled"
    assert "does not vmap" in caplog.text
    plain = Engine(model, cross_entropy_loss, inner, "loop").train(meta, data, rng_of)
    for name, leaf in plain.total.items():
        np.testing.assert_allclose(result.total[name], leaf, rtol=1e-4, atol=1e-5)


def test_the_strategy_follows_from_the_layers():
    assert choose_strategy(SimpleClassifier()) == "fused"
    assert choose_strategy(LinearClassifier()) == "fused"
    assert choose_strategy(SimpleClassifier(), plain=False) == "compiled"
    dropout = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    assert choose_strategy(dropout) == "vmap"  # masks are not in its table
    assert choose_strategy(Conv4(image_size=8, filters=4)) == "fused"
    assert choose_strategy(Conv4(image_size=8, filters=4), plain=False) == "compiled"
    assert choose_strategy(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))) == (
        "compiled"
    )


def test_without_transduction_a_query_is_scored_without_its_neighbours():
    """Other queries in the batch change batch statistics; alone they cannot."""
    model, shape, classes = conv()
    episode = episodes(shape, classes, number=1, query=6)[0]
    inner = InnerLoop(lr=0.01, num_steps=1)
    meta = initial(get_params(model), inner, model)

    def losses(transductive, query):
        engine = Engine(model, cross_entropy_loss, inner, transductive=transductive)
        cut = episode._replace(query_x=query[0], query_y=query[1])
        return engine.evaluate(meta, [cut], rng_of, [1]).loss[0, 0]

    halves = [(episode.query_x[i : i + 3], episode.query_y[i : i + 3]) for i in (0, 3)]
    whole = (episode.query_x, episode.query_y)
    for transductive in (True, False):
        parts = np.mean([losses(transductive, half) for half in halves])
        together = losses(transductive, whole)
        if transductive:
            assert abs(parts - together) > 1e-4
        else:
            assert parts == pytest.approx(together, rel=1e-5)


def test_a_compiler_that_was_interrupted_is_asked_again(caplog):
    """A signal to the whole group of processes ends the shell around g++."""
    loop = InnerLoop(lr=0.1, num_steps=1)
    engine = Engine(mlp()[0], cross_entropy_loss, loop, "loop")
    whole, failures = engine._loops, [RuntimeError(f"{LOST_KERNEL} /x.so")]

    class Interrupted:
        strategy = "compiled"

        def __call__(self, *args):
            if failures:
                raise failures.pop()
            return whole(*args)

    engine._loops = Interrupted()
    meta = params.to_numpy(get_params(engine._functional.model))
    engine.train(meta, episodes((3,), 2), rng_of)
    assert "trying again" in caplog.text
    failures[:] = [RuntimeError(f"{LOST_KERNEL} /x.so")] * 9
    with pytest.raises(MlpeftError, match=r"compiler fails .*x\.so"):
        engine.train(meta, episodes((3,), 2), rng_of)
