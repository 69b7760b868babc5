"""Speed and time left."""

from __future__ import annotations

import pytest

from mlpeft.reporting.pace import Pace, clock_time, speed


def test_speed_is_unknown_until_something_was_done() -> None:
    pace = Pace(10, 0.0)
    assert pace.per_second is None
    assert pace.seconds_left(20) is None
    pace.mark(10, 5.0)
    assert pace.per_second is None


def test_speed_and_time_left_count_from_where_a_run_resumed() -> None:
    pace = Pace(100, 0.0)
    pace.mark(120, 10.0)
    assert pace.per_second == 2.0
    assert pace.seconds_left(200) == 40.0


def test_a_standstill_shows_in_the_speed_until_now() -> None:
    pace = Pace(100, 0.0)
    assert pace.per_second_at(100, 5.0) is None
    pace.mark(120, 10.0)
    assert pace.per_second_at(120, 10.0) == 2.0
    assert pace.per_second_at(125, 100.0) == 0.25
    assert pace.per_second == 2.0


def test_a_slow_start_is_forgotten_after_the_window() -> None:
    """One iteration took 20 s (it compiled); each later one takes 1 s."""
    pace = Pace(0, 0.0, window_s=30.0)
    for second in range(20, 60):
        pace.mark(second - 19, float(second))
    assert pace.per_second == 1.0


def test_the_time_left_is_unknown_while_the_first_iterations_compile() -> None:
    """Two iterations take 20 s each; each later one takes 1 s."""
    pace = Pace(0, 0.0)
    pace.mark(1, 20.0)
    assert pace.seconds_left(4000) is None
    pace.mark(2, 40.0)
    assert pace.seconds_left(4000) is None
    assert pace.seconds_left_at(3, 4000, 41.0) is None
    for iteration in range(3, 34):
        pace.mark(iteration, 38.0 + iteration)
    assert pace.seconds_left(4000) == pytest.approx(3967.0)


def test_what_compiled_is_forgotten_before_the_window_is_over() -> None:
    pace = Pace(0, 0.0)
    pace.mark(1, 20.0)
    for iteration in range(2, 6):
        pace.mark(iteration, 19.0 + iteration)
    assert pace.per_second == 1.0
    assert pace.seconds_left(105) == 100.0


def test_of_few_iterations_half_are_enough_to_estimate() -> None:
    pace = Pace(0, 0.0)
    pace.mark(1, 60.0)
    assert pace.seconds_left(4) is None
    pace.mark(2, 120.0)
    assert pace.seconds_left(4) == 120.0


def test_one_iteration_longer_than_the_window_still_has_a_speed() -> None:
    pace = Pace(0, 0.0, window_s=30.0)
    pace.mark(1, 100.0)
    pace.mark(2, 200.0)
    pace.mark(3, 300.0)
    assert pace.per_second == pytest.approx(0.01)


def test_durations_and_speeds_read_well() -> None:
    assert [clock_time(s) for s in (None, 0, 59.6, 3661)] == [
        "-:--",
        "0:00",
        "1:00",
        "1:01:01",
    ]
    assert [speed(s) for s in (None, 0.0123, 12.34, 2345.6)] == [
        "- it/s",
        "0.01 it/s",
        "12.3 it/s",
        "2346 it/s",
    ]
