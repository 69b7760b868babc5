"""Slips in labelled texts are told, and what is meant is not."""

from __future__ import annotations

from mlpeft.adapters.doubts import doubts


def test_labels_that_differ_in_case_or_white_space_alone_are_told():
    (doubt,) = doubts(["a", "b", "c"], [["Refund"], ["refund"], ["delivery"]])
    assert "'Refund' and 'refund' differ in case" in doubt
    assert doubts(["a", "b"], [["card arrival"], ["card  Arrival"]])


def test_a_text_with_two_labels_is_told_once_with_both():
    texts = ["My money", "my  money", "my money", "parcel"]
    (doubt,) = doubts(texts, [["refund"], ["refund"], ["payment"], ["delivery"]])
    assert doubt == (
        "1 text with different labels, such as 'my money' with 'payment' and 'refund'"
    )


def test_copies_and_several_labels_of_a_text_are_no_slips():
    assert not doubts(["a", "A", "b"], [["x"], ["x"], ["y"]])
    assert not doubts(["a", "a"], [["x", "y"], ["y", "x"]])


def test_a_long_text_is_shown_in_part():
    (doubt,) = doubts(["word " * 99] * 2, [["x"], ["y"]])
    assert len(doubt) < 150
