"""What holds for every method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft.errors import ConfigError
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import Functional, get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.meta.learner import ReptileLearner
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.params import to_numpy
from mlpeft.peft.wrap import METHODS, merge
from mlpeft.tasks.episode import Episode
from tests.peft.models import EPISODE, LABELS, TOKENS, encoder, everything, move, peft

QUANTISED = {"group_size": 32, "bits": 4}


@dataclass(frozen=True)
class Case:
    """One method, and its leaves in the tiny encoder.

    Attributes:
        leaves: Ends of the paths of its leaves.
        number: How many leaves there are in the encoder's two layers.
        silent: Whether it changes nothing before it has learned; a prompt or a prefix
            does from the start.
    """

    leaves: tuple[str, ...]
    number: int
    keys: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    silent: bool = True


CASES = {
    # 2 layers of query, value; A and B each.
    "lora": Case(("lora_a", "lora_b"), 8),
    # The same, and the magnitude.
    "dora": Case(("lora_a", "lora_b", "m"), 12),
    # 2 layers of key, value, output of the feed-forward network.
    "ia3": Case(("ia3_l",), 6),
    # 2 layers of attention.output, output; 4 leaves each.
    "adapter": Case(("down", "down_bias", "up", "up_bias"), 16),
    # 2 layers of 6 linear layers.
    "bitfit": Case(("bias",), 12),
    "prompt": Case(("soft_prompt",), 1, silent=False),
    # 2 layers.
    "prefix": Case(("prefix_keys", "prefix_values"), 4, silent=False),
    "head": Case(("head.weight", "head.bias"), 2, model={"head": "learned"}),
    # Layer 1: 6 linear layers and 2 norms, each with weight and bias.
    "full": Case(("weight", "bias"), 16, keys={"num_layers": 1}),
}
every_method = pytest.mark.parametrize("name", CASES)


def wrapped(folder, name: str) -> nn.Module:
    case = CASES[name]
    return encoder(folder, peft(method=name, **case.keys), **case.model)


def test_every_method_is_tested():
    assert set(CASES) == set(METHODS)


@every_method
def test_only_the_methods_leaves_are_in_theta(tmp_path, name):
    case = CASES[name]
    leaves = get_params(wrapped(tmp_path, name))
    assert len(leaves) == case.number
    assert all(path.endswith(case.leaves) for path in leaves)


@every_method
def test_meta_training_leaves_every_byte_of_the_base_as_it_was(tmp_path, name):
    model = wrapped(tmp_path, name)
    before = everything(model)
    theta = set(get_params(model))
    learner = ReptileLearner(model, inner_lr=0.1, outer_lr=1.0, num_inner_steps=3)
    learner.meta_train_step([EPISODE] * 2, cross_entropy_loss)
    learner.evaluate([EPISODE], cross_entropy_loss)
    changed = {path for path, leaf in everything(model).items() if leaf != before[path]}
    assert changed
    assert changed <= theta
    assert set(get_params(model)) == theta


@every_method
def test_only_the_methods_leaves_are_sent_back(tmp_path, name):
    model = wrapped(tmp_path, name)
    theta = to_numpy(get_params(model))
    engine = Engine(model, cross_entropy_loss, InnerLoop(num_steps=1), "loop")
    episode = Episode(TOKENS, LABELS, TOKENS, LABELS)
    total = engine.train(theta, [episode], np.random.default_rng).total
    assert {path: leaf.shape for path, leaf in total.items()} == {
        path: leaf.shape for path, leaf in theta.items()
    }


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].silent])
def test_a_new_method_starts_without_changing_the_model(tmp_path, name):
    plain = encoder(tmp_path, peft(), **CASES[name].model)
    model = wrapped(tmp_path, name)
    np.testing.assert_allclose(plain(TOKENS_MX), model(TOKENS_MX), atol=1e-6)


@every_method
def test_gradients_are_finite_and_reach_the_leaves(tmp_path, name):
    model = wrapped(tmp_path, name)
    move(model)
    functional = Functional(model, cross_entropy_loss)
    with functional.installed():
        own = functional.episode_leaves(get_params(model), *EPISODE[:2])
        start = get_params(model) | own
        grads = mx.grad(functional.loss)(start, *EPISODE[:2])
    for path, grad in grads.items():
        assert np.isfinite(np.array(grad)).all(), path
    assert any(float(mx.abs(grads[path]).max()) > 0 for path in get_params(model))


@every_method
def test_the_compiled_loop_computes_what_the_python_loop_does(tmp_path, name):
    model = wrapped(tmp_path, name)
    theta = to_numpy(get_params(model))
    episode = Episode(TOKENS, LABELS, TOKENS, LABELS)
    loops = InnerLoop(lr=0.1, num_steps=2)
    first, second = (
        Engine(model, cross_entropy_loss, loops, strategy).train(
            theta, [episode], np.random.default_rng
        )
        for strategy in ("loop", "compiled")
    )
    for path, leaf in first.total.items():
        np.testing.assert_allclose(leaf, second.total[path], atol=1e-5)


@every_method
def test_packed_and_padded_sentences_have_the_same_embeddings(tmp_path, name):
    """The encoder packs sentences and runs frozen layers once, whatever adapts."""
    model = wrapped(tmp_path, name)
    move(model)
    functional = Functional(model, cross_entropy_loss)
    prepared = functional.prepare(TOKENS)
    np.testing.assert_allclose(
        model.encoder(prepared), model.encoder(TOKENS_MX), atol=1e-5
    )


@every_method
def test_the_start_follows_from_the_seed(tmp_path, name):
    first, second = (get_params(wrapped(tmp_path, name)) for _ in range(2))
    for path, leaf in first.items():
        np.testing.assert_array_equal(leaf, second[path])


@every_method
def test_a_merged_model_computes_the_same_without_the_method(tmp_path, name):
    section = peft(method=name, **CASES[name].keys)
    model = wrapped(tmp_path, name)
    if not METHODS[name].merges:
        with pytest.raises(ConfigError, match=r"cannot be merged.*use one of"):
            merge(model, section)
        return
    plain = encoder(tmp_path, peft(), **CASES[name].model)
    move(model)
    before = np.array(model(TOKENS_MX))
    merge(model, section)
    np.testing.assert_allclose(before, model(TOKENS_MX), atol=2e-5)
    assert set(everything(model)) == set(everything(plain))


@pytest.mark.parametrize("name", ["lora", "dora", "ia3", "adapter"])
def test_quantised_layers_can_be_adapted_and_merged(name):
    """The base stays quantised; merged, it is a plain layer of the same function."""
    mx.random.seed(0)
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 64))
    nn.quantize(model, **QUANTISED)
    x = mx.random.normal((5, 32))
    before = np.array(model(x))
    section = peft(method=name, keys=["layers.*"], rank=2, train_also=[])
    METHODS[name].apply(model, section)
    np.testing.assert_allclose(before, model(x), atol=1e-6)
    move(model)
    moved = np.array(model(x))
    assert np.abs(moved - before).max() > 1e-3
    if METHODS[name].merges:
        merge(model, section)
        assert type(model.layers[0]) is nn.Linear
        np.testing.assert_allclose(moved, model(x), rtol=1e-4, atol=1e-4)


TOKENS_MX = mx.array(TOKENS)
