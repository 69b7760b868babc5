"""Token buckets on a clock of our own."""

from mlpeft.runtime.coordinator import enrolment
from mlpeft.runtime.coordinator.enrolment import RateLimit


def test_a_burst_then_one_with_each_interval():
    limit = RateLimit(burst=3, every_s=10, total_burst=30)
    assert [limit.wait_s("a", 0.0) for _ in range(4)] == [0, 0, 0, 10]
    assert limit.wait_s("a", 4.0) == 6
    assert limit.wait_s("a", 10.0) == 0
    assert limit.wait_s("a", 10.0) == 10


def test_one_peer_does_not_spend_the_tries_of_another():
    limit = RateLimit(burst=1, every_s=10, total_burst=10)
    assert limit.wait_s("a", 0.0) == 0
    assert limit.wait_s("a", 0.0) > 0
    assert limit.wait_s("b", 0.0) == 0


def test_all_together_have_a_limit_too():
    limit = RateLimit(burst=2, every_s=10, total_burst=4)
    waits = [limit.wait_s(f"peer {index}", 0.0) for index in range(5)]
    assert waits == [0, 0, 0, 0, 5]
    assert limit.wait_s("another", 5.0) == 0


def test_a_long_rest_gives_no_more_than_the_burst():
    limit = RateLimit(burst=2, every_s=1, total_burst=20)
    limit.wait_s("a", 0.0)
    assert [limit.wait_s("a", 1e6) for _ in range(3)] == [0, 0, 1]


def test_very_many_peers_cost_bounded_memory(monkeypatch):
    monkeypatch.setattr(enrolment, "MAX_PEERS", 10)
    limit = RateLimit(burst=1, every_s=1, total_burst=1000)
    for index in range(100):
        limit.wait_s(f"peer {index}", index * 0.001)
    assert len(limit._peers) <= 10
