"""When a coordinator announces itself."""

import pytest

from mlpeft.config import RunConfig
from mlpeft.runtime.coordinator.advertisement import wants_presence

EVERYWHERE = "0.0.0.0"  # noqa: S104 - as a user would type it


@pytest.mark.parametrize(
    ("host", "setting", "wanted"),
    [
        ("127.0.0.1", None, False),
        (EVERYWHERE, None, True),
        ("head.local", None, True),
        ("127.0.0.1", True, True),
        (EVERYWHERE, False, False),
    ],
)
def test_it_does_off_loopback_or_as_it_is_told(host, setting, wanted):
    config = RunConfig.from_dict({"cluster": {"discovery": setting}})
    assert wants_presence(config, host) is wanted
