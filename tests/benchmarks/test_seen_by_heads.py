"""Words are misspelled as people do it: one letter of a longer word."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mlx.core")
seen_by_heads = pytest.importorskip("benchmarks.seen_by_heads")


def test_longer_words_differ_by_a_letter_and_short_ones_stay():
    text = " ".join(["my", "delivery", "the", "parcel"] * 50)
    words = seen_by_heads.misspelled(text, np.random.default_rng(0)).split(" ")
    given = text.split(" ")
    changed = [(a, b) for a, b in zip(given, words, strict=True) if a != b]
    assert 0.15 < len(changed) / 100 < 0.35
    for before, after in changed:
        assert len(before) > 3
        assert abs(len(after) - len(before)) <= 1
        assert after[0] == before[0]
