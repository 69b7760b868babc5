"""Machines to test."""

import pytest

from tests.cluster.builders import Hand, Machine, policy_with


@pytest.fixture
def machine():
    return Machine(
        policy_with(lost_after_s=4, lease_s=10, max_attempts=3, announce_s=5)
    )


@pytest.fixture
def hand():
    return Hand()
