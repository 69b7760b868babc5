"""Heads learn, leave out what they say they leave out, and are calibrated."""

from __future__ import annotations

import numpy as np
import pytest

from mlpeft.heads.auto import KINDS, calibrated, fit_head
from mlpeft.heads.examples import Examples
from mlpeft.heads.linear import ABSENT, softmax
from mlpeft.heads.logistic import C, fit_logistic
from mlpeft.heads.prototype import fit_prototype
from mlpeft.heads.rejection import choose_rejection, rejection, with_none
from mlpeft.heads.ridge import fit_ridge
from mlpeft.heads.temperature import best_factor
from mlpeft.heads.unlabelled import fit_with_unlabelled, is_no_worse

CLASSES, DIMS = 6, 32


def sample(per_class: int, seed: int = 0, spread: float = 0.25, classes=CLASSES):
    """Unit vectors around one centre a class, and the classes."""
    centres = np.random.default_rng(7).normal(size=(classes, DIMS))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    y = np.arange(per_class * classes) % classes
    x = centres[y] + spread * rng.normal(size=(len(y), DIMS))
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_class", [1, 2, 8])
def test_every_kind_learns_from_any_number_of_examples(kind, per_class):
    fitted = fit_head(Examples.of(*sample(per_class, spread=0.1), CLASSES), kind)
    x, y = sample(30, seed=1, spread=0.1)
    assert (fitted.head(x).argmax(axis=1) == y).mean() > 0.9


def test_ridge_leaves_out_exactly():
    """The left-out residuals choose the lambda that refitting without each would."""
    from mlpeft.heads import ridge

    x, y = sample(4)
    examples = Examples.of(x, y, CLASSES)
    refitted = {}
    for lam in ridge.LAMBDAS:
        logits = []
        for row in range(len(x)):
            kept = np.delete(np.arange(len(x)), row)
            xk, yk = x[kept], examples.targets[kept]
            xc, yc = xk - xk.mean(0), yk - yk.mean(0)
            w = np.linalg.solve(xc.T @ xc + lam * np.eye(DIMS), xc.T @ yc)
            logits.append((x[row] - xk.mean(0)) @ w + yk.mean(0))
        factor = best_factor(np.array(logits), examples.targets)
        refitted[lam] = ridge.cross_entropy(factor * np.array(logits), examples.targets)
    chosen = min(refitted, key=refitted.__getitem__)
    xc, yc = x - x.mean(0), examples.targets - examples.targets.mean(0)
    expected = np.linalg.solve(xc.T @ xc + chosen * np.eye(DIMS), xc.T @ yc)
    np.testing.assert_allclose(fit_ridge(examples).weight, 10 * expected.T, atol=1e-4)


def test_logistic_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = sample(8)
    ours = fit_logistic(Examples.of(x, y, CLASSES))
    theirs = linear_model.LogisticRegression(C=C, tol=1e-6, max_iter=500).fit(x, y)
    queries, _ = sample(20, seed=3)
    np.testing.assert_allclose(
        softmax(ours(queries)), theirs.predict_proba(queries), atol=0.02
    )


def test_names_are_fitted_but_never_scored():
    x, y = sample(3)
    named = Examples.of(x, y, CLASSES, names=CLASSES)
    held = np.concatenate([rows for _, rows in named.folds()])
    assert sorted(held) == list(range(len(x) - CLASSES))


def test_an_example_whose_class_has_no_other_row_is_not_scored():
    x, y = sample(2)
    keep = np.arange(len(y) - 1)  # the last class has one example
    examples = Examples.of(x[keep], y[keep], CLASSES)
    held = np.concatenate([rows for _, rows in examples.folds()])
    assert CLASSES - 1 not in examples.y[held]


def test_a_class_without_examples_is_never_predicted():
    x, y = sample(3)
    for fit in (fit_prototype, fit_ridge, fit_logistic):
        head = fit(Examples.of(x, y, CLASSES + 1))
        assert head.bias[-1] <= ABSENT
        assert (head(x).argmax(axis=1) < CLASSES).all()


def test_confidences_are_calibrated():
    x, y = sample(10, spread=0.4)
    fitted = fit_head(Examples.of(x, y, CLASSES))
    queries, truth = sample(400, seed=5, spread=0.4)
    shares = softmax(fitted.head(queries))
    right = (shares.argmax(axis=1) == truth).mean()
    assert shares.max(axis=1).mean() == pytest.approx(right, abs=0.05)


def test_rare_classes_gain_by_balanced_weights():
    x, y = sample(20, spread=0.5)
    rare = np.flatnonzero((y > 0) | (np.arange(len(y)) < 2 * CLASSES))
    queries, truth = sample(300, seed=4, spread=0.5)
    queries = queries[truth == 0]
    recall = [
        (
            fit_head(
                Examples.of(x[rare], y[rare], CLASSES, balanced=balanced), "logistic"
            )
            .head(queries)
            .argmax(axis=1)
            == 0
        ).mean()
        for balanced in (False, True)
    ]
    assert recall[1] > recall[0]


def test_texts_of_unknown_classes_have_smaller_logits():
    x, y = sample(8, classes=12, spread=0.15)
    known = y < 8
    examples = Examples.of(x[known], y[known], 8)
    fitted = fit_head(examples)
    found = choose_rejection(examples, fitted, fitted.held_out)
    head = with_none(calibrated(examples, found.kind, fitted.factors), found.logit)
    queries, truth = sample(40, 2, 0.15, 12)
    answers = head(queries).argmax(axis=1)
    assert (answers[truth >= 8] == 8).mean() > 0.8
    assert (answers[truth < 8] == truth[truth < 8]).mean() > 0.8
    assert found.score > 0.8


def test_classes_left_out_do_not_lift_the_logits_of_others():
    """Else texts of no class seem to have larger logits than they will have."""
    x, y = sample(8, spread=0.3)
    wide = Examples.of(x, y, CLASSES + 20)
    narrow = wide.of_known_classes()
    assert narrow.targets.shape[1] == CLASSES
    np.testing.assert_array_equal(narrow.y, y)
    lifted, plain = (fit_logistic(e)(x).max(axis=1).mean() for e in (wide, narrow))
    assert lifted > plain + 0.1


def test_the_head_that_rejects_best_is_chosen():
    x, y = sample(8, classes=12, spread=0.3)
    examples = Examples.of(x[y < 8], y[y < 8], 8)
    fitted = fit_head(examples)
    scores = {
        kind: choose_rejection(examples, fitted, [kind]).score
        for kind in fitted.held_out
    }
    assert set(scores) == {"prototype", "ridge", "logistic", "mean"}
    found = choose_rejection(examples, fitted, fitted.held_out)
    assert found.score == max(scores.values()) == scores[found.kind]


def test_one_example_of_each_class_says_nothing_of_what_has_none():
    examples = Examples.of(*sample(1), CLASSES)
    fitted = fit_head(examples)
    assert choose_rejection(examples, fitted, ["prototype"]) is None
    assert rejection(examples, "prototype", fit_prototype) is None


def test_unlabelled_texts_help_at_one_shot():
    x, y = sample(1, spread=0.35)
    more, truth = sample(40, seed=9, spread=0.35)
    examples = Examples.of(x, y, CLASSES)
    before = (fit_prototype(examples)(more).argmax(axis=1) == truth).mean()
    after = (fit_with_unlabelled(examples, more)(more).argmax(axis=1) == truth).mean()
    assert after > before + 0.03


def test_unlabelled_texts_that_mislead_are_left_out():
    """They are noise: held-out examples are classified worse with them."""
    x, y = sample(6, spread=0.3)
    noise = np.random.default_rng(0).normal(size=(3000, DIMS)) + 2.0
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    examples = Examples.of(x, y, CLASSES)
    assert not is_no_worse(examples, noise, fit_head(examples).accuracy["prototype"])


def test_several_labels_have_a_probability_each():
    x, y = sample(12, spread=0.1)
    targets = np.eye(CLASSES, dtype=np.float32)[y]
    pairs = x[:-1] + x[1:]
    pairs /= np.linalg.norm(pairs, axis=1, keepdims=True)
    examples = Examples(
        np.concatenate([x, pairs]).astype(np.float32),
        np.concatenate([targets, np.maximum(targets[:-1], targets[1:])]),
        np.ones(2 * len(x) - 1, np.float32),
        np.ones(2 * len(x) - 1, bool),
    )
    fitted = fit_head(examples, multi_label=True)
    assert fitted.accuracy["logistic"] > 0.9
