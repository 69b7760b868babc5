"""Masks follow from a task's seed and step, whoever computes it and however."""

from __future__ import annotations

from functools import partial

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft.meta.dropout import Dropouts, step_keys
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.params import to_numpy
from mlpeft.peft.wrap import wrap
from mlpeft.tasks.episode import Episode
from tests.peft.models import peft

rng_of = np.random.default_rng
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
Y = np.array([0, 1, 0, 1, 0, 1], np.int32)
EPISODES = [Episode(X, Y, X, Y), Episode(X + 1, Y, X, Y), Episode(X - 1, 1 - Y, X, Y)]


def model(probability: float = 0.5, seed: int = 0) -> nn.Module:
    """A multilayer perceptron with two dropout layers."""
    mx.random.seed(seed)
    layers = [nn.Linear(4, 16), nn.Dropout(probability), nn.Linear(16, 16)]
    return nn.Sequential(*layers, nn.Dropout(probability), nn.Linear(16, 2))


def engine(net: nn.Module, strategy="loop", **inner) -> Engine:
    loop = InnerLoop(**({"lr": 0.3, "num_steps": 2} | inner))
    return Engine(net, cross_entropy_loss, loop, strategy)


def trained(net: nn.Module, rng=rng_of, strategy="loop", **inner):
    theta = to_numpy(get_params(net))
    return engine(net, strategy, **inner).train(theta, EPISODES, rng).total


def differ(one, other) -> bool:
    return any(np.abs(leaf - other[name]).max() > 1e-4 for name, leaf in one.items())


def test_dropout_changes_what_is_learned_and_the_seed_what_dropout_does():
    plain, one, again = trained(model(0.0)), trained(model()), trained(model())
    assert differ(plain, one)
    assert not differ(one, again)
    assert differ(one, trained(model(), lambda index: rng_of(index + 100)))


def test_the_global_generator_decides_nothing_and_is_left_alone():
    net = model()
    mx.random.seed(1)
    before = np.array(mx.random.state[0])
    one = trained(net)
    np.testing.assert_array_equal(before, np.array(mx.random.state[0]))
    mx.random.seed(2)
    assert not differ(one, trained(net))


def test_the_three_strategies_draw_the_same_masks():
    totals = {
        strategy: trained(model(), strategy=strategy, batch_size=4)
        for strategy in ("loop", "compiled", "vmap")
    }
    for strategy in ("compiled", "vmap"):
        for name, leaf in totals["loop"].items():
            np.testing.assert_allclose(totals[strategy][name], leaf, atol=1e-5)


def test_tasks_of_a_shard_have_masks_of_their_own():
    """A shard of three is the sum of three shards of one."""
    net = model()
    theta = to_numpy(get_params(net))
    run = engine(net)
    whole = run.train(theta, EPISODES, rng_of).total
    parts = [
        run.train(theta, [episode], partial(lambda at, _: rng_of(at), index)).total
        for index, episode in enumerate(EPISODES)
    ]
    for name, leaf in whole.items():
        np.testing.assert_allclose(leaf, sum(part[name] for part in parts), atol=1e-6)


@pytest.mark.parametrize("strategy", ["loop", "compiled", "vmap"])
def test_evaluation_adapts_with_the_same_masks_and_asks_without(strategy):
    """One inner step of training, and the loss of its queries, is what is scored."""
    net = model()
    theta = to_numpy(get_params(net))
    run = engine(net, strategy)
    told = run.train(theta, EPISODES, rng_of).query_loss
    scored = run.evaluate(theta, EPISODES, rng_of, [0, 2]).loss
    np.testing.assert_allclose(told, scored[:, 1], atol=1e-5)
    plain = engine(model(0.0)).evaluate(theta, EPISODES, rng_of, [0]).loss
    np.testing.assert_allclose(scored[:, 0], plain[:, 0], atol=1e-6)


def test_the_model_has_its_own_layers_again_afterwards():
    net = model()
    own = list(net.layers)
    trained(net)
    assert all(one is other for one, other in zip(net.layers, own, strict=True))
    with pytest.raises(ValueError, match="dimension"):
        engine(net).train(
            to_numpy(get_params(net)), [Episode(X[:, :2], Y, X, Y)], rng_of
        )
    assert all(one is other for one, other in zip(net.layers, own, strict=True))


def test_layers_in_evaluation_mode_drop_nothing():
    net = model()
    net.eval()
    assert not differ(trained(net), trained(model(0.0)))
    assert not Dropouts(net)


def test_lora_has_dropout_of_its_inputs_alone():
    """The base's path is whole: without a change there is nothing to drop."""
    mx.random.seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    section = peft(method="lora", keys=["layers.*"], dropout=0.5, train_also=[])
    wrap(net, section)
    one = trained(net)
    assert differ(one, trained(net, lambda index: rng_of(index + 100)))
    assert not differ(one, trained(net))


@pytest.mark.parametrize(
    ("layer", "shape", "same"),
    [
        (nn.Dropout(0.5), (8, 16), ()),
        (nn.Dropout2d(0.5), (2, 5, 5, 16), (1, 2)),
        (nn.Dropout3d(0.5), (2, 3, 3, 3, 16), (1, 2, 3)),
    ],
)
def test_whole_channels_are_dropped_where_the_layer_says_so(layer, shape, same):
    net = nn.Sequential(layer)
    dropouts = Dropouts(net)
    with dropouts.keyed(), dropouts.drawing(mx.random.key(3)):
        kept = np.array(net(mx.ones(shape)))
    assert set(np.unique(kept)) == {0.0, 2.0}
    np.testing.assert_array_equal(kept, kept.max(axis=same, keepdims=True) + 0 * kept)


def test_as_many_numbers_stay_as_the_probability_says():
    net = nn.Sequential(nn.Dropout(0.2))
    dropouts = Dropouts(net)
    with dropouts.keyed(), dropouts.drawing(mx.random.key(0)):
        kept = np.array(net(mx.ones((100_000,))))
    assert (kept > 0).mean() == pytest.approx(0.8, abs=0.005)
    assert kept.mean() == pytest.approx(1.0, abs=0.01)


def test_fewer_steps_have_the_first_keys_and_no_two_are_alike():
    many, few = (step_keys(steps, lambda: rng_of(5)) for steps in (40, 7))
    np.testing.assert_array_equal(many[:7], few)
    assert len({tuple(key) for key in many}) == 40
    assert many.dtype == np.uint32


def test_each_layer_has_a_mask_of_its_own():
    net = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    dropouts = Dropouts(net)
    with dropouts.keyed(), dropouts.drawing(mx.random.key(0)):
        one, other = (layer(mx.ones((64,))) for layer in net.layers)
    assert float(mx.abs(one - other).max()) > 0
