"""What a round returns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpeft.errors import LocalProtocolError
from mlpeft.rounds import RoundResult, RoundUpdates, SeparateTotals, SummedTotals
from mlpeft.work import Kind, Shard, ShardUpdate, check_round


def update(index, count=2):
    """Of tasks whose numbers are 10, 20 ..., with losses that name shard and task."""
    losses = np.array([100 * index + task for task in range(count)], np.float32)
    total = {"w": np.full(3, 10 * (index + 1), np.float32)}
    return ShardUpdate(index, count, total, {"loss": losses})


@given(order=st.permutations(range(3)))
def test_totals_come_summed_or_by_shard_and_results_in_the_order_of_tasks(order):
    updates = [update(index, count=index + 1) for index in order]
    summed, separate = (
        RoundResult.of(updates, summed=together) for together in (True, False)
    )
    assert isinstance(summed.totals, SummedTotals)
    assert (summed.totals.total["w"].tolist(), summed.totals.count) == ([60] * 3, 6)
    assert isinstance(separate.totals, SeparateTotals)
    assert [total["w"][0] for total in separate.totals.totals] == [10, 20, 30]
    assert (separate.totals.counts, separate.totals.count) == ((1, 2, 3), 6)
    for result in (summed, separate):
        assert result.names() == ("loss",)
        assert result.over_tasks("loss").tolist() == [0, 100, 101, 200, 201, 202]


def test_a_round_says_which_shards_are_in():
    updates = RoundUpdates(summed=True)
    updates.add(update(2))
    updates.add(update(0))
    assert (set(updates), len(updates)) == ({0, 2}, 2)
    assert 2 in updates
    assert 1 not in updates
    assert updates.ordered_sum.done == 1


def test_a_round_that_lacks_a_shard_has_no_result():
    with pytest.raises(ValueError, match=r"all its shards, got \[0, 2\]"):
        RoundResult.of([update(0), update(2)])


def test_scores_have_no_totals():
    scores = {"loss": np.zeros((2, 3), np.float32)}
    result = RoundResult.of([ShardUpdate(0, 2, {}, scores)])
    assert result.totals == SummedTotals({}, 2)
    assert result.over_tasks("loss").shape == (2, 3)


def shards(*indices):
    return [Shard(0, index, Kind.TRAIN, ()) for index in indices]


@pytest.mark.parametrize(
    ("version", "indices", "problem"),
    [
        (3, (0, 1), "version went back from 4 to 3"),
        (4, (), "needs shards 0 .. n - 1, got"),
        (4, (1, 0), "needs shards 0 .. n - 1, got"),
        (4, (0, 2), "needs shards 0 .. n - 1, got"),
    ],
)
def test_what_is_no_round_is_a_bug_of_whoever_asks(version, indices, problem):
    check_round(4, shards(0, 1), 4)
    check_round(0, shards(0), None)
    with pytest.raises(LocalProtocolError, match=problem):
        check_round(version, shards(*indices), 4)
