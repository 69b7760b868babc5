"""The head of an episode is made from its support set and is not part of theta."""

from __future__ import annotations

from itertools import permutations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft.config import ModelSection, PeftSection
from mlpeft.errors import ConfigError, ShapeError
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.build import build_model
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.models.pretrained.sentence_classifier import FewShotHead, SentenceClassifier
from mlpeft.params import to_numpy
from mlpeft.tasks.episode import Episode
from tests.models.pretrained import tiny

SUPPORT = np.array([[2.0, 0.0], [4.0, 0.0], [0.0, 1.0], [0.0, 3.0]], np.float32)
QUERY = np.array([[1.0, 0.2], [0.1, 1.0]], np.float32)
LABELS = np.array([1, 1, 0, 0], np.int32)


def classifier(start="prototype") -> SentenceClassifier:
    """An "encoder" of one layer, the identity: sums can be done by hand."""
    encoder = nn.Linear(2, 2, bias=False)
    encoder.weight = mx.eye(2)
    return SentenceClassifier(encoder, 2, 2, start, scale=1.0)


def engine(model: nn.Module, strategy="loop", **inner) -> Engine:
    loop = InnerLoop(**({"lr": 0.5, "num_steps": 2} | inner))
    return Engine(model, cross_entropy_loss, loop, strategy)


def order(index: int) -> np.random.Generator:
    return np.random.default_rng(index)


def swapped(episode: Episode) -> Episode:
    """The same episode with its two labels exchanged."""
    return episode._replace(
        support_y=1 - episode.support_y, query_y=1 - episode.query_y
    )


EPISODE = Episode(SUPPORT, LABELS, QUERY, np.array([1, 0], np.int32))


def test_a_prototype_is_the_normalised_mean_of_its_class():
    leaves = classifier().episode_start(mx.array(SUPPORT), mx.array(LABELS))
    np.testing.assert_allclose(leaves["head.weight"], [[0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_array_equal(leaves["head.bias"], [0.0, 0.0])


def test_a_class_without_examples_has_a_prototype_of_zeros():
    leaves = classifier().episode_start(mx.array(SUPPORT[:2]), mx.array(LABELS[:2]))
    np.testing.assert_allclose(leaves["head.weight"], [[0.0, 0.0], [1.0, 0.0]])


def test_a_class_without_examples_is_never_predicted():
    """An episode of two classes for a head of three, adapted or not."""
    encoder = nn.Linear(2, 2, bias=False)
    encoder.weight = mx.eye(2)
    model = SentenceClassifier(encoder, 2, 3, scale=1.0)
    theta = to_numpy(get_params(model))
    wide = engine(model).evaluate(theta, [EPISODE], order, [0, 2])
    plain = engine(classifier()).evaluate(theta, [EPISODE], order, [0, 2])
    np.testing.assert_allclose(wide.loss, plain.loss, rtol=1e-5)


def test_no_inner_step_classifies_by_the_nearest_prototype():
    model = classifier()
    theta = to_numpy(get_params(model))
    scores = engine(model).evaluate(theta, [EPISODE], order, [0])
    assert scores.acc is not None
    assert scores.acc.tolist() == [[1.0]]


def test_zero_starts_from_chance_and_learns_the_episode():
    model = classifier("zero")
    theta = to_numpy(get_params(model))
    scores = engine(model).evaluate(theta, [EPISODE], order, [0, 2])
    assert scores.loss[0, 0] == pytest.approx(np.log(2))
    assert scores.loss[0, 1] < scores.loss[0, 0]


def test_the_head_is_no_part_of_theta_unless_it_is_learned():
    assert set(get_params(classifier())) == {"encoder.weight"}
    learned = get_params(classifier("learned"))
    assert set(learned) == {"encoder.weight", "head.weight", "head.bias"}


def test_a_cosine_head_starts_as_a_prototype_head_does():
    first = [classifier(start) for start in ("prototype", "cosine")]
    losses = [
        engine(model).evaluate(to_numpy(get_params(model)), [EPISODE], order, [0, 2])
        for model in first
    ]
    assert losses[0].loss[0, 0] == losses[1].loss[0, 0]
    assert losses[0].loss[0, 1] != losses[1].loss[0, 1]


def test_the_logits_of_a_cosine_head_stay_cosines():
    """However long its weights get, and whatever the gradient says of the bias."""
    head = FewShotHead(2, 2, scale=3.0, cosine=True)
    head.weight = mx.array([[5.0, 0.0], [0.0, 0.1]])
    embeddings = mx.array([[0.6, 0.8]])
    np.testing.assert_allclose(head(embeddings), [[1.8, 2.4]], rtol=1e-6)

    def loss(bias: mx.array) -> mx.array:
        head.bias = bias
        return head(embeddings)[0, 0]

    np.testing.assert_array_equal(mx.grad(loss)(mx.zeros(2)), [0.0, 0.0])


@pytest.mark.parametrize("start", ["prototype", "cosine", "zero"])
def test_which_label_a_class_has_changes_nothing(start):
    model = classifier(start)
    theta = to_numpy(get_params(model))
    run = engine(model)
    first, second = (
        run.train(theta, [episode], order) for episode in (EPISODE, swapped(EPISODE))
    )
    assert set(first.total) == {"encoder.weight"}
    for name, leaf in first.total.items():
        assert np.abs(leaf - theta[name]).max() > 1e-3
        np.testing.assert_allclose(leaf, second.total[name], atol=1e-6)


@pytest.mark.parametrize("start", ["prototype", "cosine", "zero"])
def test_permuting_the_labels_of_an_episode_changes_no_accuracy(start):
    """Three classes that overlap, so that some queries are answered wrongly.

    Before its first step the zero head ties, and the first label wins: that is chance
    in a balanced query set, whichever class has that label.
    """
    rng = np.random.default_rng(0)
    classes = np.arange(12) % 3
    centres = 1.5 * rng.normal(size=(3, 4))
    supports, queries = (
        (centres[classes] + rng.normal(size=(12, 4))).astype(np.float32)
        for _ in range(2)
    )
    encoder = nn.Linear(4, 4, bias=False)
    encoder.weight = mx.eye(4)
    model = SentenceClassifier(encoder, 4, 3, start, scale=1.0)
    theta, run = to_numpy(get_params(model)), engine(model)
    found = []
    for labels in permutations(range(3)):
        y = np.array(labels, np.int32)[classes]
        episode = Episode(supports, y, queries, y)
        found.append(run.evaluate(theta, [episode], order, [0, 1, 2]))
    for scores in found:
        np.testing.assert_array_equal(scores.acc, found[0].acc)
        np.testing.assert_allclose(scores.loss, found[0].loss, rtol=1e-5)
    before, *_, after = found[0].acc[0]
    assert 1 / 3 < after < 1
    assert (before == pytest.approx(1 / 3)) == (start == "zero")


@pytest.mark.parametrize("inner", [{"optimizer": "adam"}, {"batch_size": 2}])
def test_the_three_strategies_agree(inner):
    model = classifier()
    theta = to_numpy(get_params(model))
    episodes = [EPISODE, swapped(EPISODE), EPISODE]
    results = {}
    for strategy in ("loop", "compiled", "vmap"):
        run = engine(model, strategy, **inner)
        trained = run.train(theta, episodes, order)
        scores = run.evaluate(theta, episodes, order, [0, 1, 2])
        assert run.strategy == strategy
        results[strategy] = (trained, scores)
    expected, expected_scores = results["loop"]
    for trained, scores in results.values():
        for name, leaf in expected.total.items():
            np.testing.assert_allclose(trained.total[name], leaf, atol=1e-5)
        np.testing.assert_allclose(trained.query_loss, expected.query_loss, atol=1e-5)
        np.testing.assert_allclose(scores.loss, expected_scores.loss, atol=1e-5)


def test_training_and_scoring_adapt_alike():
    model = classifier()
    theta = to_numpy(get_params(model))
    run = engine(model)
    trained = run.train(theta, [EPISODE], order)
    scores = run.evaluate(theta, [EPISODE], order, [2])
    assert trained.query_loss is not None
    np.testing.assert_allclose(scores.loss[0, 0], trained.query_loss[0], atol=1e-6)


def test_carried_moments_are_those_of_theta_alone():
    model = classifier()
    theta = to_numpy(get_params(model))
    state = {
        "inner_state/step": np.zeros(1, np.float32),
        "inner_state/v/encoder.weight": np.zeros((2, 2), np.float32),
    }
    run = engine(model, optimizer="adam", state="carry")
    total = run.train(theta | state, [EPISODE], order).total
    assert set(total) == set(theta | state)
    assert total["inner_state/step"] == 2.0


def test_a_projection_starts_as_the_identity_and_is_what_is_learned(tmp_path):
    section = ModelSection(backbone="encoder", weights=str(tiny.write(tmp_path)))
    peft = PeftSection(method="head", train_also=["projection"])
    plain, projected = (
        build_model(changed, (8,), 2, seed=0, peft=method)
        for changed, method in (
            (section, None),
            (section.model_copy(update={"projected": True}), peft),
        )
    )
    assert set(get_params(projected)) == {"projection.weight", "projection.bias"}
    tokens = mx.array([[3, 7, 9], [4, 5, 0]])
    np.testing.assert_allclose(projected.embed(tokens), plain.embed(tokens), atol=1e-6)


def test_an_encoder_without_weights_is_an_error():
    with pytest.raises(ConfigError, match=r"model\.weights"):
        build_model(ModelSection(backbone="encoder"), (8,), 2, seed=0)


def test_a_head_of_more_columns_sees_several_layers(tmp_path):
    section = ModelSection(backbone="encoder", weights=str(tiny.write(tmp_path)))
    model = build_model(section, (8,), 2, seed=0)
    tokens = mx.array([[3, 7, 9], [4, 5, 0]])
    vectors = model.embed_layers(tokens)
    model.head.weight = mx.ones((2, vectors.shape[1]))
    expected = model.logit_scale * vectors.sum(axis=1)
    np.testing.assert_allclose(model(tokens)[:, 0], expected, atol=1e-4)


def test_a_head_that_sees_ngrams_asks_for_texts(tmp_path):
    section = ModelSection(backbone="encoder", weights=str(tiny.write(tmp_path)))
    model = build_model(section, (8,), 2, seed=0)
    model.head.weight = mx.ones((2, model.layers_dims + 1))
    with pytest.raises(ShapeError, match=r"call predict .* with texts"):
        model(mx.array([[3, 7, 9]]))


def test_a_projection_has_no_layers_to_tell_of(tmp_path):
    weights = str(tiny.write(tmp_path))
    section = ModelSection(backbone="encoder", weights=weights, projected=True)
    model = build_model(section, (8,), 2, seed=0)
    tokens = mx.array([[3, 7, 9]])
    np.testing.assert_array_equal(model.embed_layers(tokens), model.embed(tokens))
    assert model.layers_dims == model.dims
