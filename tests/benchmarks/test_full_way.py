"""Draws of examples nest, texts are embedded once, and scores know what they saw."""

from __future__ import annotations

import numpy as np
import pytest

full_way = pytest.importorskip("benchmarks.full_way")
embedded = pytest.importorskip("benchmarks.embedded")
out_of_scope = pytest.importorskip("benchmarks.out_of_scope")


def test_five_shots_are_among_ten():
    labels = [label for label in "abc" for _ in range(20)]
    five, ten, other = (
        full_way.drawn(labels, shots, seed) for shots, seed in ((5, 0), (10, 0), (5, 1))
    )
    assert (len(five), len(ten)) == (15, 30)
    assert set(five) < set(ten)
    assert set(other) != set(five)


def test_a_text_is_embedded_once_and_kept(tmp_path, monkeypatch):
    asked: list[str] = []

    def encode(self, texts):
        asked.extend(texts)
        return np.array([[float(len(text)), 1.0] for text in texts], np.float32)

    monkeypatch.setattr(embedded.Embedded, "_encode", encode)
    one = embedded.Embedded("none", tmp_path)
    np.testing.assert_array_equal(one(["a", "bb", "a"])[:, 0], [1, 2, 1])
    again = embedded.Embedded("none", tmp_path)
    np.testing.assert_array_equal(again(["bb", "ccc"])[:, 0], [2, 3])
    assert asked == ["a", "bb", "ccc"]


def test_every_score_is_larger_for_texts_of_known_classes():
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    x = np.repeat(centres[:6], 8, axis=0) + 0.1 * rng.normal(size=(48, 16))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    examples = full_way.Examples.of(x[:40], np.repeat(np.arange(5), 8), 5)
    factors = dict.fromkeys(out_of_scope.HEADS, 1.0)
    for name, score in out_of_scope.scores(examples, x, factors).items():
        assert score[:40].mean() > score[40:].mean(), name
