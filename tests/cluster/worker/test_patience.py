"""When a worker tries again, and what it says while nobody answers."""

import pytest

from mlpeft.cluster.worker.patience import Patience, WorkerPolicy

POLICY = WorkerPolicy(
    first_delay_s=1.0, longest_delay_s=6.0, announce_s=5.0, longest_announce_s=15.0
)


def test_tries_are_further_apart_until_somebody_answers():
    patience = Patience(POLICY)
    assert [patience.failed(0.0) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    patience.joined()
    assert patience.failed(0.0) == 0.5


def test_jitter_spreads_a_try_over_the_second_half_of_its_delay():
    assert Patience(POLICY).failed(0.9) == pytest.approx(0.95)


def test_it_says_what_it_waits_for_ever_more_rarely_but_not_never():
    patience = Patience(POLICY)
    spoken = [now for now in range(60) if patience.speaks(float(now))]
    assert spoken == [0, 5, 15, 30, 45]


def test_a_new_silence_is_told_of_at_once():
    patience = Patience(POLICY)
    assert patience.speaks(100.0)
    patience.joined()
    assert patience.speaks(100.1)


def test_who_just_said_that_the_run_is_over_waits_before_the_next_line():
    patience = Patience(POLICY)
    patience.run_over(10.0)
    assert not patience.speaks(14.9)
    assert patience.speaks(15.0)
