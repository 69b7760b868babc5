"""What a coordinator says of itself, and what is believed of what others say."""

import dataclasses

import pytest
from zeroconf import ServiceInfo

from mlpeft.transport.discovery.announcement import (
    SERVICE_TYPE,
    Announcement,
    from_service,
    to_service,
)

OMNIGLOT = Announcement(
    run="omniglot",
    session="0123456789abcdef",
    protocol=1,
    host="head",
    ca="ca" * 32,
    port=50051,
    addresses=("10.0.0.5", "fd00::5"),
)


def service(port=1, addresses=("10.0.0.5",), **text):
    return ServiceInfo(
        SERVICE_TYPE,
        f"x.{SERVICE_TYPE}",
        port=port,
        properties=text,
        parsed_addresses=list(addresses),
    )


def test_it_comes_back_as_it_was():
    assert from_service(to_service(OMNIGLOT)) == OMNIGLOT


def test_a_coordinator_in_the_clear_has_no_ca():
    clear = dataclasses.replace(OMNIGLOT, ca="")
    assert from_service(to_service(clear)) == clear


def test_a_run_with_a_long_name_still_fits():
    long = dataclasses.replace(OMNIGLOT, run="r" * 60)
    assert from_service(to_service(long)) == long


def test_an_ipv4_address_is_tried_first():
    turned = dataclasses.replace(OMNIGLOT, addresses=("fd00::5", "10.0.0.5"))
    assert from_service(to_service(turned)).endpoints == (
        "10.0.0.5:50051",
        "[fd00::5]:50051",
    )


@pytest.mark.parametrize(
    "junk",
    [
        service(),
        service(run="x"),
        service(run="x", protocol="one"),
        service(run="x", protocol="1", addresses=()),
        service(run="x", protocol="1", addresses=("0.0.0.0",)),  # noqa: S104
        service(run="x", protocol="1", port=0),
        service(run="", protocol="1"),
    ],
)
def test_what_is_no_announcement_is_none(junk):
    assert from_service(junk) is None


def test_what_others_say_is_shown_as_one_short_line():
    found = from_service(service(run="a\n\x1b[31mb" + "c" * 200, protocol="1"))
    assert found.run == "a??[31mb" + "c" * 56
    assert found.host == "an unnamed machine"
    many = service(run="x", protocol="1", addresses=[f"10.0.0.{n}" for n in range(40)])
    assert len(from_service(many).addresses) == 8
