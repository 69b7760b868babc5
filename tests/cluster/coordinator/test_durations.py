"""Usual task times, and how long a lease may last."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mlpeft.cluster.coordinator.durations import (
    LEAST_TIMES,
    WINDOW,
    TaskTimes,
    Usual,
    backup_limit_s,
    lease_s,
    shard_limit_s,
    usual,
    usual_of,
)
from mlpeft.work import Kind

TIMES = st.lists(st.floats(1e-3, 1e3), min_size=LEAST_TIMES, max_size=WINDOW)
TASKS = st.integers(1, 50)
AHEAD = st.integers(0, 5)
FACTOR = st.floats(0, 20)


def limit(times, tasks=1, ahead=0, factor=10.0, least_s=0.0, most_s=1e9):
    task = usual(times)
    return lease_s(task, tasks, ahead, factor=factor, least_s=least_s, most_s=most_s)


def test_the_usual_time_is_the_median_and_its_spread_the_mad():
    """Median 3; deviations 2, 1, 0, 1, 97: their median is 1."""
    assert usual([1, 2, 3, 4, 100]) == Usual(3, 1)


def test_equal_times_have_a_spread_all_the_same():
    assert usual([2.0] * 5) == Usual(2.0, 0.2)


def test_few_times_say_nothing_and_the_lease_lasts_its_longest():
    assert usual([1.0] * (LEAST_TIMES - 1)) is None
    assert limit([1.0], least_s=60, most_s=600) == 600


def test_leases_ahead_and_tasks_multiply():
    """(1 ahead + 1) * 3 tasks * (3 + 2 * 1) seconds."""
    assert shard_limit_s(Usual(3, 1), tasks=3, ahead=1, factor=2) == 30


@given(TIMES, TASKS, AHEAD, FACTOR, st.floats(0, 100), st.floats(0.1, 1000))
def test_a_lease_keeps_its_bounds_and_the_upper_one_wins(
    times, tasks, ahead, factor, least_s, most_s
):
    got = limit(times, tasks, ahead, factor, least_s, most_s)
    assert min(least_s, most_s) <= got <= most_s


@given(TIMES, TASKS, AHEAD, FACTOR, FACTOR)
def test_a_larger_factor_more_tasks_or_more_ahead_give_no_less_time(
    times, tasks, ahead, one, other
):
    low, high = sorted([one, other])
    base = limit(times, tasks, ahead, low)
    assert base <= limit(times, tasks, ahead, high)
    assert base <= limit(times, tasks + 1, ahead, low)
    assert base <= limit(times, tasks, ahead + 1, low)


@given(TIMES, FACTOR, st.randoms())
def test_the_order_of_times_does_not_matter(times, factor, random):
    shuffled = list(times)
    random.shuffle(shuffled)
    assert limit(times, factor=factor) == limit(shuffled, factor=factor)


@given(TIMES, FACTOR, st.floats(1e-2, 1e2))
def test_a_machine_that_is_slower_throughout_gets_longer_in_proportion(
    times, factor, scale
):
    scaled = [time_s * scale for time_s in times]
    assert limit(scaled, factor=factor) == pytest.approx(
        limit(times, factor=factor) * scale
    )


@given(st.lists(st.floats(1, 2), min_size=9, max_size=WINDOW), st.floats(100, 1e6))
def test_one_task_that_took_for_ever_does_not_move_the_limit_far(times, outlier):
    """Beside nine times in [1, 2] the median stays there and the MAD below 1."""
    assert limit([*times, outlier], factor=10) <= 2 + 10 * 1


@given(TIMES, st.floats(1, 20))
def test_usual_tasks_are_within_the_limit(times, factor):
    """At least half of the times that made it are."""
    within = [time_s for time_s in times if time_s <= limit(times, factor=factor)]
    assert len(within) >= len(times) / 2


def test_a_worker_is_held_against_its_own_times_and_else_against_everybodys():
    own, everybody = TaskTimes(), TaskTimes()
    for _ in range(5):
        everybody.add(Kind.TRAIN, 1.0)
    assert usual_of(Kind.TRAIN, own, everybody) == Usual(1.0, 0.1)
    assert usual_of(Kind.VALIDATE, own, everybody) is None
    for _ in range(5):
        own.add(Kind.TRAIN, 3.0)
    assert usual_of(Kind.TRAIN, own, everybody).median_s == 3.0


def test_a_task_is_slow_beyond_three_medians_or_so_many_spreads():
    """1 to 5: a median of 3 and a spread of 1, and one time is enough."""
    everybody = TaskTimes()
    assert backup_limit_s(Kind.TRAIN, everybody, factor=4) is None
    everybody.add(Kind.TRAIN, 2.0)
    assert backup_limit_s(Kind.TRAIN, everybody, factor=4) == 6.0
    for time_s in (1, 3, 4, 5):
        everybody.add(Kind.TRAIN, time_s)
    assert backup_limit_s(Kind.TRAIN, everybody, factor=4) == 9.0
    assert backup_limit_s(Kind.TRAIN, everybody, factor=10) == 13.0


def test_old_times_are_forgotten():
    times = TaskTimes()
    for _ in range(WINDOW):
        times.add(Kind.TRAIN, 1.0)
    for _ in range(WINDOW):
        times.add(Kind.TRAIN, 5.0)
    assert usual(times.of(Kind.TRAIN)).median_s == 5.0
