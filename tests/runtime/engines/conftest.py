"""Fixtures of tests on real engines."""

import pytest

from tests.runtime.engines.far import Hooks


@pytest.fixture(scope="module")
def hooks():
    """Where workers ask for the hooks of the test that runs."""
    served = Hooks()
    yield served
    served.close()
