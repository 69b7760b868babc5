"""Sizes as people read them."""

import pytest

from mlpeft.files import size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (123_456, "123 kB"),
        (2e13, "20.0 TB"),
    ],
)
def test_sizes_have_three_figures(count, text):
    assert size_text(count) == text
