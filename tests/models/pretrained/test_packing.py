"""Packed sentences, and frozen layers that are computed once."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlpeft.config import PeftSection
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.models.pretrained.encoder_weights import read_encoder
from mlpeft.models.pretrained.packing import ROW, STEP, FeatureCache, pack
from mlpeft.models.pretrained.sentence_classifier import SentenceClassifier
from mlpeft.params import to_numpy
from mlpeft.peft.wrap import wrap
from mlpeft.tasks.episode import Episode
from tests.models.pretrained import tiny


def sentence(length, value=1.0):
    return np.full((length, 2), value, np.float32)


@pytest.mark.parametrize(
    ("lengths", "rows", "width"), [((40, 30, 60), 3, ROW), ((40, 30, 20), 1, 96)]
)
def test_sentences_share_rows_and_keep_their_own_mean(lengths, rows, width):
    values = (1.0, 2.0, 3.0)
    packed = pack([sentence(*pair) for pair in zip(lengths, values, strict=True)])
    assert packed["hidden"].shape == (rows, width, 2)
    means = packed["pool"] @ packed["hidden"].reshape(-1, 2)
    np.testing.assert_allclose(means, [[1, 1], [2, 2], [3, 3]], rtol=1e-6)
    found = [np.sum(packed["segment"] == number) for number in range(3)]
    assert found == list(lengths)


def test_few_tokens_share_one_row_that_is_about_as_long():
    shapes = {
        total: pack([sentence(1)] * total)["hidden"].shape[:2]
        for total in range(1, 2 * ROW + 1)
    }
    assert {rows for rows, _ in shapes.values()} == {1}
    assert all(0 <= width - total < STEP for total, (_, width) in shapes.items())
    assert len(set(shapes.values())) == 2 * ROW // STEP


def test_a_long_sentence_makes_rows_longer():
    assert pack([sentence(ROW + 1)] * 2)["hidden"].shape == (2, 2 * ROW, 2)


def test_few_numbers_of_rows_are_used_so_that_compiled_code_is_reused():
    rows = {pack([sentence(ROW)] * n)["hidden"].shape[0] for n in range(3, 65)}
    assert len(rows) == 18
    assert max(rows) == 64


def test_the_cache_is_bounded_and_keeps_the_latest_sentences():
    made = []

    def make(row, layers):
        made.append(int(row[0]))
        return np.zeros((len(row), 4), np.float32)

    features = FeatureCache(limit_bytes=2 * 16)
    for number in (1, 2, 1, 3, 1, 2):
        features(np.array([number]), 1, make)
    assert made == [1, 2, 3, 2]


def encoder(folder, **peft):
    model = read_encoder(str(tiny.write(folder)))
    wrap(model, PeftSection(**({"method": "lora", "num_layers": 1} | peft)))
    # LoRA starts as no change: give it one.
    grown = {k: v + 0.1 for k, v in tree_flatten(model.trainable_parameters())}
    model.load_weights(list(grown.items()), strict=False)
    return model


TOKENS = np.array([[3, 7, 9, 0, 0], [4, 0, 0, 0, 0], [5, 6, 7, 8, 9]], np.int32)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("method", ["lora", "prefix"])
def test_prepared_sentences_have_the_same_embeddings(tmp_path, method, num_layers):
    model = encoder(tmp_path, method=method, num_layers=num_layers)
    prepared = {k: mx.array(v) for k, v in model.prepare(TOKENS).items()}
    np.testing.assert_allclose(model(prepared), model(mx.array(TOKENS)), atol=1e-6)


def test_a_sentences_hidden_states_do_not_depend_on_its_batch(tmp_path):
    """Nor on the order of sentences, which differs between a cluster's workers."""
    first, second = encoder(tmp_path), encoder(tmp_path)
    second.prepare(TOKENS[::-1])
    kept = second.prepare(TOKENS[:1])["hidden"]
    assert kept.tobytes() == first.prepare(TOKENS[:1])["hidden"].tobytes()


@pytest.mark.parametrize("keys", [["embeddings"], ["word"]])
def test_nothing_is_prepared_where_embeddings_adapt(tmp_path, keys):
    model = encoder(tmp_path, train_also=keys)
    assert model.prepare(TOKENS) is None


@pytest.mark.parametrize("inner", [{}, {"batch_size": 2}], ids=["all", "in batches"])
def test_training_on_prepared_sentences_is_training_on_tokens(tmp_path, inner):
    """Prepared or not, theta learns the same; only the time differs."""
    model = SentenceClassifier(encoder(tmp_path), 16, 2)
    theta = to_numpy(get_params(model))
    loop = InnerLoop(lr=2.0, num_steps=2, **inner)
    labels = np.array([0, 1, 1], np.int32)
    episode = Episode(TOKENS, labels, TOKENS[::-1].copy(), labels[::-1].copy())

    def order(index):
        return np.random.default_rng(index)

    results, scores = {}, {}
    for prepares in (True, False):
        engine = Engine(model, cross_entropy_loss, loop, "loop")
        engine._functional.prepares = prepares
        results[prepares] = engine.train(theta, [episode], order)
        scores[prepares] = engine.evaluate(theta, [episode], order, [0, 2])
    moved = [np.abs(v - theta[k]).max() for k, v in results[False].total.items()]
    assert max(moved) > 1e-4
    for name, leaf in results[False].total.items():
        # So small an encoder tells sentences hardly apart: rounding weighs more.
        atol = 0.02 * max(moved)
        np.testing.assert_allclose(results[True].total[name], leaf, atol=atol)
    np.testing.assert_allclose(scores[True].loss, scores[False].loss, rtol=1e-4)
