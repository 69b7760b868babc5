"""What is said of a round that takes long."""

from __future__ import annotations

import logging

import pytest

from mlpeft.reporting.pace import SlowRounds
from mlpeft.work import Kind


@pytest.fixture
def said(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mlpeft"), "propagate", True)
    caplog.set_level("INFO", logger="mlpeft.train")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_long_validation_says_every_ten_seconds_how_far_it_is(clock, said) -> None:
    """Four seconds an episode, and nothing at its end: the score comes then."""
    tell = SlowRounds(clock)
    for done in range(10):
        tell(Kind.VALIDATE, done, 9)
        clock.now += 4.0
    assert said() == [
        "validation in progress: 3 of 9 episodes scored",
        "validation in progress: 6 of 9 episodes scored",
    ]


def test_many_quick_rounds_say_nothing(clock, said) -> None:
    tell = SlowRounds(clock)
    for _ in range(20):
        for done in range(5):
            tell(Kind.TRAIN, done, 4)
            clock.now += 1.0
    assert said() == []


def test_a_slow_meta_iteration_tells_its_tasks(clock, said) -> None:
    tell = SlowRounds(clock)
    for done in range(3):
        tell(Kind.TRAIN, done, 4)
        clock.now += 60.0
    assert said() == [
        "meta-iteration in progress: 1 of 4 tasks done",
        "meta-iteration in progress: 2 of 4 tasks done",
    ]
