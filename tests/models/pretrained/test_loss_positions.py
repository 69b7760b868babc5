"""Language models compute logits at labelled tokens, with the same result."""

from __future__ import annotations

from dataclasses import replace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import ModelSection
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import Functional, get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.build import build_model
from mlpeft.models.losses import IGNORED, accuracy, cross_entropy_loss
from mlpeft.models.pretrained.loss_positions import (
    at_loss_positions,
    enable_loss_positions,
    loss_positions,
)
from mlpeft.tasks.episode import Episode
from tests.models.pretrained import tiny_lm
from tests.peft.models import move, peft
from tools.language_models.kinds import small_model

pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")

TOKENS = np.random.default_rng(1).integers(1, 40, (4, 16)).astype(np.int32)
LABELS = np.roll(TOKENS, -1, axis=1)
for row, (start, end) in enumerate([(9, 12), (11, 16), (3, 4), (8, 14)]):
    LABELS[row, :start] = LABELS[row, end:] = IGNORED
EPISODE = Episode(TOKENS, LABELS, TOKENS[::-1].copy(), LABELS[::-1].copy())


def language_model(folder, base_dtype="float32", **keys):
    weights = str(tiny_lm.write(folder / "lm"))
    section = ModelSection(backbone="causal_lm", weights=weights, base_dtype=base_dtype)
    model = build_model(section, (16,), 2, seed=1, peft=peft(**keys))
    move(model)
    return model


def test_loss_positions_are_the_labelled_ones_padded_with_others():
    labels = np.full((2, 9), IGNORED)
    labels[0, [2, 7]] = 5
    labels[1, 4] = 0
    places = loss_positions(labels)
    assert places.tolist() == [[2, 7], [4, 0]]


def test_a_row_without_labels_has_loss_positions_too():
    assert loss_positions(np.full((1, 5), IGNORED)).shape == (1, 1)


def test_few_sizes_are_used_so_that_compiled_code_is_reused():
    labels = np.full((1, 300), IGNORED)
    sizes = set()
    for count in range(256):
        labels[0, :count] = 1
        sizes.add(loss_positions(labels).shape[1])
    assert len(sizes) == 28
    assert all(np.diff(sorted(sizes)) / sorted(sizes)[1:] <= 0.5)


def test_nothing_is_selected_if_nearly_all_tokens_are_labelled():
    labels = np.ones((2, 16), np.int32)
    assert loss_positions(labels) is None
    labels[:, 0] = IGNORED
    assert loss_positions(labels) is None


def test_labels_are_selected_as_the_outputs_are():
    batch = {"loss_positions": mx.array([[2, 0]])}
    picked = at_loss_positions(mx.array([[5, 6, 7]]), batch)
    assert picked.tolist() == [[7, 5]]
    labels = mx.array([0, 1])
    assert at_loss_positions(labels, mx.zeros((2, 3))) is labels
    assert at_loss_positions(labels, {"hidden": mx.zeros((2, 3))}) is labels


METHODS = {
    "lora": {"method": "lora"},
    "lora above frozen layers": {"method": "lora", "num_layers": 1},
    "prompt": {"method": "prompt"},
    "prefix": {"method": "prefix"},
    "prefix above frozen layers": {"method": "prefix", "num_layers": 1},
    "full": {"method": "full"},
}
every_method = pytest.mark.parametrize("keys", METHODS.values(), ids=METHODS)


def loss_and_gradient(model, *, picks):
    functional = Functional(model, cross_entropy_loss)
    functional.picks = picks
    x = functional.prepare(TOKENS, LABELS)
    with functional.installed():
        theta = get_params(model)
        found = mx.value_and_grad(functional.loss)(theta, x, mx.array(LABELS))
        mx.eval(found)
    return found


@every_method
@pytest.mark.parametrize("base_dtype", ["float32", "bfloat16"])
def test_loss_and_gradient_are_those_of_all_logits(tmp_path, keys, base_dtype):
    model = language_model(tmp_path, base_dtype, **keys)
    loss, grads = loss_and_gradient(model, picks=True)
    whole, expected = loss_and_gradient(model, picks=False)
    close = {"float32": 1e-4, "bfloat16": 0.02}[base_dtype]
    np.testing.assert_allclose(loss, whole, rtol=close)
    for name, leaf in expected.items():
        size = float(mx.abs(leaf).max())
        assert size > 0
        np.testing.assert_allclose(grads[name], leaf, atol=close * size)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": False}),
        ("gemma2", {"query_pre_attn_scalar": 16}),
        ("cohere", {"logit_scale": 0.5}),
        ("phi3", {}),
    ],
)
@pytest.mark.parametrize("quantised", [False, True])
def test_heads_of_many_kinds_give_the_same_logits(kind, keys, quantised):
    model = tiny_lm.of_kind(kind, hidden_size=64, head_dim=32, **keys)
    if quantised:
        nn.quantize(model, group_size=32, bits=4)
    whole = np.array(model(mx.array(TOKENS)))
    enable_loss_positions(model)
    places = loss_positions(LABELS)
    found = model({"tokens": mx.array(TOKENS), "loss_positions": mx.array(places)})
    expected = np.take_along_axis(whole, places[..., None], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(model(mx.array(TOKENS)), whole)


def test_the_head_sees_the_loss_positions_only(tmp_path, monkeypatch):
    model = language_model(tmp_path, method="lora")
    seen = []
    embeddings = type(model.model.embed_tokens)
    head = embeddings.as_linear

    def as_linear(self, x):
        seen.append(x.shape)
        return head(self, x)

    monkeypatch.setattr(embeddings, "as_linear", as_linear)
    loss_and_gradient(model, picks=True)
    assert seen == [(4, 6, 32)]


def test_a_model_that_keeps_its_layers_in_two_lists_computes_all_logits():
    model = small_model("afm7")
    kind = type(model)
    enable_loss_positions(model)
    assert type(model) is kind
    assert not Functional(model, cross_entropy_loss).picks


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        (lambda hidden: (hidden, None), lambda given: given[0]),
        (lambda hidden: hidden, lambda hidden: hidden[:, -1:]),
    ],
    ids=["gives more than hidden states from inside", "looks at the last token"],
)
def test_an_unsupported_architecture_is_not_changed(inside, outside):
    class Inner(nn.Module):
        def __call__(self, tokens):
            return inside(mx.zeros((*tokens.shape, 4)))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Inner()

        def __call__(self, tokens):
            return outside(self.model(tokens))

    model = Model()
    enable_loss_positions(model)
    assert type(model) is Model


def test_a_users_loss_sees_all_outputs(tmp_path):
    shapes = []

    def loss(logits, labels):
        shapes.append((logits.shape, labels.shape))
        return cross_entropy_loss(logits, labels)

    model = language_model(tmp_path, method="lora", num_layers=1)
    engine = Engine(model, loss, InnerLoop(num_steps=1), "loop")
    engine.train(params.to_numpy(get_params(model)), [EPISODE], np.random.default_rng)
    assert set(shapes) == {((4, 16, 40), (4, 16))}


INNER = InnerLoop(lr=0.05, num_steps=3, optimizer="adam")


def trained_and_scored(model, *, picks, strategy="loop", inner=INNER, **engine_keys):
    engine = Engine(model, cross_entropy_loss, inner, strategy, **engine_keys)
    engine._functional.picks = picks
    theta = params.to_numpy(get_params(model))
    result = engine.train(theta, [EPISODE] * 2, np.random.default_rng)
    scores = engine.evaluate(theta, [EPISODE] * 2, np.random.default_rng, [0, 3])
    return result, scores


WAYS = {
    "compiled": {"strategy": "compiled"},
    "batches": {"inner": replace(INNER, batch_size=2)},
    "micro-batches": {"inner": replace(INNER, micro_batch=1)},
    "both": {"inner": replace(INNER, batch_size=3, micro_batch=2)},
    "checkpointed": {"gradient_checkpointing": True},
    "fomaml": {"algorithm": "fomaml"},
}


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("num_layers", [1, None])
def test_training_and_scoring_are_those_with_all_logits(tmp_path, ways, num_layers):
    model = language_model(tmp_path, method="lora", num_layers=num_layers)
    found, scores = trained_and_scored(model, picks=True, **ways)
    expected, all_scores = trained_and_scored(model, picks=False, **ways)
    np.testing.assert_allclose(found.support_loss, expected.support_loss, rtol=1e-3)
    np.testing.assert_allclose(found.query_loss, expected.query_loss, rtol=1e-3)
    for name, leaf in expected.total.items():
        np.testing.assert_allclose(found.total[name], leaf, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(scores.loss, all_scores.loss, rtol=1e-3)
    np.testing.assert_array_equal(scores.acc, all_scores.acc)


def test_exact_match_is_that_of_whole_completions():
    """A row's padding positions change nothing."""
    labels = np.full((2, 8), IGNORED)
    labels[0, 5:7], labels[1, 5] = [3, 4], 3
    model = tiny_lm.of_kind("llama")
    enable_loss_positions(model)
    functional = Functional(model, cross_entropy_loss)
    x = functional.prepare(np.ones((2, 8), np.int32), labels)
    assert x["loss_positions"].shape == (2, 2)
    logits = np.zeros((2, 2, 5), np.float32)
    logits[0, 0, 3] = logits[0, 1, 4] = logits[1, 0, 2] = 1
    assert (
        accuracy(mx.array(logits), at_loss_positions(mx.array(labels), x)).item() == 0.5
    )
