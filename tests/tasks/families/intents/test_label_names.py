"""Labels in words."""

from __future__ import annotations

import pytest

from mlpeft.tasks.families.intents.tokens import label_text, wordless


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("card_arrival", "card arrival"),
        ("reverted_card_payment?", "reverted card payment"),
        ("Refund_not_showing_up", "refund not showing up"),
        ("cancelOrder", "cancel order"),
        ("smart-home/lights.off", "smart home lights off"),
        ("météo", "météo"),
        ("top 10", "top 10"),
        ("17", ""),
        ("_", ""),
    ],
)
def test_a_label_is_put_into_words(label, text):
    assert label_text(label) == text


def test_labels_without_letters_are_found():
    assert wordless(("a", "1", "b2", "-")) == ["1", "-"]
