"""Rounds and stalls, from what a status says at some times."""

from mlpeft.runtime.chaos.observer import StallClock


def test_the_longest_time_between_two_rounds_is_the_stall():
    clock = StallClock()
    for now, iteration in ((0.0, 0), (1.0, 1), (2.0, 3), (5.0, 3), (7.0, 4)):
        clock.see("a", iteration, now)
    clock.stop(8.0)
    assert clock.rounds == 4
    assert clock.longest_s == 5.0


def test_what_a_restarted_coordinator_had_done_before_is_no_round():
    clock = StallClock()
    clock.see("a", 5, 0.0)
    clock.see("a", 6, 1.0)
    clock.see("b", 4, 9.0)  # resumed from a checkpoint
    clock.see("b", 5, 11.0)  # repeated, but a round
    clock.stop(11.0)
    assert clock.rounds == 2
    assert clock.longest_s == 10.0


def test_a_stall_that_lasts_to_the_end_counts():
    clock = StallClock()
    clock.see("a", 0, 0.0)
    clock.see("a", 1, 1.0)
    clock.stop(31.0)
    assert clock.longest_s == 30.0


def test_before_the_first_round_there_is_no_stall():
    clock = StallClock()
    clock.see("a", 0, 0.0)
    clock.stop(60.0)
    assert clock.longest_s == 0.0
