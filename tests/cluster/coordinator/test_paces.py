"""Average task times of workers, and who is a straggler."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mlpeft.cluster.coordinator.paces import BUCKETS, Paces
from mlpeft.cluster.protocol import WorkerId
from mlpeft.work import Kind

MEANS = st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=30)


def paces_of(means):
    paces = Paces()
    for index, mean_s in enumerate(means):
        paces.note(WorkerId(str(index)), Kind.TRAIN, mean_s)
    return paces


def stragglers(means):
    paces = paces_of(means)
    return [
        index for index in range(len(means)) if paces.straggles(WorkerId(str(index)))
    ]


def test_a_worker_that_takes_ten_times_as_long_as_another_is_a_straggler():
    assert stragglers([1.0, 10.0]) == [1]
    assert stragglers([10.0, 1.0, 10.0]) == [0, 2]
    assert stragglers([1.0, 2.0, 1.5]) == []


def test_nobody_is_a_straggler_alone_or_before_it_finished_a_shard():
    assert stragglers([10.0]) == []
    assert not Paces().straggles(WorkerId("ada"))


def test_one_very_fast_worker_of_many_makes_no_stragglers_of_the_others():
    assert stragglers([1e-3, 1.0, 1.0, 1.0, 1.0]) == []


def test_a_worker_that_is_as_fast_as_others_again_is_no_straggler():
    paces = paces_of([1.0, 10.0])
    paces.note(WorkerId("1"), Kind.TRAIN, 1.5)
    assert not paces.straggles(WorkerId("1"))


def test_kinds_of_shards_are_not_compared_with_each_other():
    paces = paces_of([1.0, 1.0])
    paces.note(WorkerId("1"), Kind.VALIDATE, 10.0)
    assert not paces.straggles(WorkerId("1"))


def test_a_worker_that_left_is_compared_with_nobody():
    paces = paces_of([1.0, 10.0])
    paces.forget(WorkerId("0"))
    assert not paces.straggles(WorkerId("1"))
    assert not paces.knows(WorkerId("0"))


@given(MEANS, MEANS)
def test_the_quartile_is_that_of_the_newest_averages(old, new):
    paces = paces_of(old)
    for index in range(max(len(old), len(new))):
        worker = WorkerId(str(index))
        if index < len(new):
            paces.note(worker, Kind.TRAIN, new[index])
        else:
            paces.forget(worker)
    exact = sorted(new)[(len(new) - 1) // 4]
    assert paces.quartile_s(Kind.TRAIN) == pytest.approx(
        exact, rel=2 ** (1 / BUCKETS) - 1
    )
