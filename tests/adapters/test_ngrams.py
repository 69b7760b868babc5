"""Misspelled words stay near what was meant."""

from __future__ import annotations

import numpy as np

from mlpeft.adapters.ngrams import DIMS, MOST_CHARACTERS, ngrams


def test_a_misspelled_word_is_nearer_to_the_right_one_than_another_is():
    right, wrong, other = ngrams(["my delivery", "my delivrey", "my money back"])
    assert right @ wrong > 0.5 > right @ other


def test_vectors_are_unit_vectors_and_a_text_without_words_has_zeros():
    found = ngrams(["a", "  ", "", "naïve 日本語", "\ud800"])
    assert found.shape == (5, DIMS)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 0, 0, 1, 1], 1e-6)


def test_case_and_white_space_do_not_count_but_order_within_words_does():
    first, same, other = ngrams(["Where IS", " where\tis ", "erehw si"])
    np.testing.assert_array_equal(first, same)
    assert first @ other < 0.6


def test_an_ngram_that_occurs_twice_counts_by_its_logarithm():
    """ "a" has the n-grams " a", "a " and " a "; "b b" has three twice."""
    (vector,) = ngrams(["a b b"])
    sizes = np.sort(np.abs(vector[vector != 0]))
    np.testing.assert_allclose(sizes[3:] / sizes[:3], 1 + np.log(2), rtol=1e-6)


def test_the_end_of_a_very_long_text_is_not_looked_at():
    long = "word " * (MOST_CHARACTERS // 5)
    first, second = ngrams([long + "parcel", long + "money"])
    np.testing.assert_array_equal(first, second)
