"""Shards that wait: those that failed, and those that have not been tried."""

from mlpeft.cluster.coordinator.waiting_shards import WaitingShards


def test_all_shards_of_a_round_wait_at_first_in_order():
    waits = WaitingShards(3)
    assert list(waits) == [0, 1, 2]
    assert waits.first_untried() == 0
    assert waits.failed() == []


def test_a_shard_that_is_taken_waits_no_longer():
    waits = WaitingShards(2)
    waits.take(0)
    waits.take(0)
    assert 0 not in waits
    assert waits.first_untried() == 1
    waits.take(1)
    assert not waits
    assert waits.first_untried() is None


def test_a_shard_that_failed_is_told_apart_until_it_is_forgiven():
    waits = WaitingShards(3)
    for shard in (2, 0):
        waits.take(shard)
        waits.put(shard, failed=True)
    assert waits.failed() == [0, 2]
    assert waits.first_untried() == 1
    waits.put(0, failed=False)
    assert waits.failed() == [2]
    assert waits.first_untried() == 0
    assert list(waits) == [0, 1, 2]
