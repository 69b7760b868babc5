"""Machines to test."""

import pytest

from mlpeft.cluster.policy import Policy
from tests.cluster.builders import Hand, Machine


@pytest.fixture
def machine():
    return Machine(Policy(lost_after_s=4, lease_s=10, max_attempts=3, announce_s=5))


@pytest.fixture
def hand():
    return Hand()
