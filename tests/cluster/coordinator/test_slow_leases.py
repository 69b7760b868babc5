"""Leases that take unusually long are found in order, whatever the limit becomes."""

import hypothesis.strategies as st
from hypothesis import given

from mlpeft.cluster.coordinator.slow_leases import SlowLeases
from mlpeft.work import Kind
from tests.cluster.builders import key

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 3)),
        st.tuples(st.just("discard"), st.integers(0, 20)),
        st.tuples(st.just("limit"), st.floats(0.01, 10)),
        st.tuples(st.just("wait"), st.floats(0, 5)),
    ),
    max_size=40,
)


class Limit:
    """A limit that the test sets."""

    def __init__(self, limit_s=None):
        self.limit_s = limit_s

    def __call__(self, kind):
        del kind
        return self.limit_s


def test_a_lease_is_slow_after_its_weight_times_the_limit():
    leases = SlowLeases(Limit(2.0), least_s=0.0, unknown_s=60.0)
    leases.add(key(0), Kind.TRAIN, 3, now=10.0)
    assert leases.next_at() == 16.0
    assert leases.take(15.9) == []
    assert leases.take(16.0) == [key(0)]
    assert leases.next_at() is None


def test_while_no_limit_is_known_a_lease_is_slow_after_a_fixed_time():
    limit = Limit()
    leases = SlowLeases(limit, least_s=0.0, unknown_s=60.0)
    leases.add(key(0), Kind.TRAIN, 3, now=10.0)
    assert leases.next_at() == 70.0
    limit.limit_s = 1.0
    assert leases.next_at() == 13.0


def test_no_lease_is_slow_before_the_least_time():
    leases = SlowLeases(Limit(0.001), least_s=0.5, unknown_s=60.0)
    leases.add(key(0), Kind.TRAIN, 1, now=0.0)
    assert leases.next_at() == 0.5


def test_after_a_stall_of_this_side_all_have_their_full_time_again():
    leases = SlowLeases(Limit(2.0), least_s=0.0, unknown_s=60.0)
    leases.add(key(0), Kind.TRAIN, 1, now=0.0)
    leases.restart(100.0)
    assert leases.next_at() == 102.0


def test_a_lease_that_is_watched_anew_holds_up_none_behind_it():
    leases = SlowLeases(Limit(2.0), least_s=0.0, unknown_s=60.0)
    leases.add(key(0), Kind.TRAIN, 1, now=0.0)
    leases.add(key(1), Kind.TRAIN, 1, now=1.0)
    leases.discard(key(0))
    leases.add(key(0), Kind.TRAIN, 1, now=50.0)
    assert leases.next_at() == 3.0
    assert leases.take(3.0) == [key(1)]
    assert leases.next_at() == 52.0


@given(STEPS)
def test_the_queues_find_what_a_look_at_every_lease_finds(steps):
    limit, now, watched = Limit(1.0), 0.0, {}
    leases = SlowLeases(limit, least_s=0.2, unknown_s=60.0)
    for number, (what, value) in enumerate(steps):
        match what:
            case "add":
                leases.add(key(number), Kind.TRAIN, value, now)
                watched[key(number)] = (now, value)
            case "discard":
                leases.discard(key(value))
                watched.pop(key(value), None)
            case "limit":
                limit.limit_s = value
            case "wait":
                now += value
        due = {
            held: at + max(weight * limit.limit_s, 0.2)
            for held, (at, weight) in watched.items()
        }
        assert leases.next_at() == min(due.values(), default=None)
        slow = {held for held, at in due.items() if at <= now}
        assert set(leases.take(now)) == slow
        for held in slow:
            del watched[held]
        assert all((held in leases) for held in watched)
