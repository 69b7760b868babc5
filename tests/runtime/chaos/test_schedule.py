"""What is struck, when: from a seed alone."""

import itertools

import pytest

from mlpeft.runtime.chaos.schedule import (
    GAP_S,
    LASTS_S,
    ON_A_WORKER,
    Fault,
    schedule,
)

ALL = frozenset(Fault)


def test_the_same_seed_is_the_same_schedule_and_another_is_another():
    first = schedule(3, 60.0, 3, ALL)
    assert first == schedule(3, 60.0, 3, ALL)
    assert first != schedule(4, 60.0, 3, ALL)


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_comes_once_before_any_comes_twice(seed):
    strikes = schedule(seed, 300.0, 3, ALL)
    kinds = len(ALL)
    assert len(strikes) > 5 * kinds
    for first in range(0, len(strikes) - kinds + 1, kinds):
        assert {strike.fault for strike in strikes[first : first + kinds]} == ALL


def test_times_are_in_order_and_within_the_given_ones():
    strikes = schedule(0, 120.0, 2, ALL)
    times = [strike.at_s for strike in strikes]
    assert times == sorted(times)
    assert times[-1] < 120.0
    assert max(b - a for a, b in itertools.pairwise(times)) <= GAP_S[1]
    for strike in strikes:
        least, most = LASTS_S[strike.fault]
        assert least <= strike.lasts_s <= most
        assert strike.worker in ({0, 1} if strike.fault in ON_A_WORKER else {0})


def test_what_a_system_cannot_do_does_not_happen():
    possible = ALL - {Fault.FILL_DISK}
    struck = {strike.fault for strike in schedule(0, 120.0, 2, possible)}
    assert struck == possible
