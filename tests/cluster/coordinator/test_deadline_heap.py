"""The next of many deadlines, which records may postpone without a word."""

import hypothesis.strategies as st
from hypothesis import given

from mlpeft.cluster.coordinator.deadlines import Deadlines

NAMES = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), NAMES, st.floats(0, 10)),
        st.tuples(st.just("postpone"), NAMES, st.floats(0, 10)),
        st.tuples(st.just("drop"), NAMES, st.just(0.0)),
        st.tuples(st.just("wait"), NAMES, st.floats(0, 5)),
    ),
    max_size=40,
)


def test_records_come_due_in_order_once():
    due = {"a": 3.0, "b": 1.0, "c": 2.0}
    deadlines = Deadlines(due.get)
    for name in due:
        deadlines.add(name)
    assert deadlines.next() == 1.0
    assert deadlines.take(2.5) == ["b", "c"]
    assert deadlines.take(2.5) == []
    assert deadlines.next() == 3.0


def test_a_record_that_postpones_its_deadline_is_found_at_the_later_time():
    due = {"a": 1.0}
    deadlines = Deadlines(due.get)
    deadlines.add("a")
    due["a"] = 5.0
    assert deadlines.take(4.0) == []
    assert deadlines.next() == 5.0


def test_a_record_that_is_gone_has_no_deadline():
    deadlines = Deadlines({}.get)
    deadlines.add("a")
    assert deadlines.next() is None


@given(STEPS)
def test_the_heap_finds_what_a_look_at_every_record_finds(steps):
    due, now = {}, 0.0
    deadlines = Deadlines(due.get)
    for what, name, seconds in steps:
        match what:
            case "set":
                due[name] = now + seconds
                deadlines.add(name)
            case "postpone" if name in due:
                due[name] += seconds
            case "drop":
                due.pop(name, None)
            case "wait":
                now += seconds
        assert deadlines.next() == min(due.values(), default=None)
        late = {name for name, at in due.items() if at <= now}
        assert set(deadlines.take(now)) == late
        for taken in late:
            del due[taken]
