"""Whom a worker counts as is not for the worker to choose."""

import pytest

from mlpeft.cluster.protocol import Hello
from mlpeft.runtime.coordinator.admission import Caller
from mlpeft.runtime.coordinator.identities import LOCAL, identity_of
from mlpeft.transport.rpc.join_codec import JoinRequest
from tests.runtime.toy import VERSIONS, bounded, toy_coordinator


@pytest.mark.parametrize(
    ("peer", "identity"),
    [
        ("ipv4:10.0.0.5:41000", "10.0.0.5"),
        ("ipv6:%5Bfe80::1%25en0%5D:41000", "fe80::1"),
        ("ipv6:[2001:db8::7]:41000", "2001:db8::7"),
        ("ipv6:[::ffff:10.0.0.5]:41000", "10.0.0.5"),
        ("ipv4:127.0.0.1:41000", "loopback"),
        ("ipv6:%5B::1%5D:41000", "loopback"),
        ("unix:", LOCAL),
        ("unix:/tmp/s", LOCAL),
        ("vsock:3", "vsock:3"),
    ],
)
def test_in_the_clear_a_worker_counts_as_the_address_that_it_calls_from(peer, identity):
    assert identity_of(peer, None) == identity


def test_with_a_certificate_a_worker_counts_as_the_name_in_it():
    assert identity_of("ipv4:10.0.0.5:41000", Caller("ada", "12")) == "ada"


def test_a_process_id_that_another_machine_claims_names_another_process():
    async def scenario():
        driver = toy_coordinator()
        request = JoinRequest(1, VERSIONS.mlpeft, VERSIONS.mlx, "ada", "p")
        taken = []
        for identity in ("10.0.0.5", "10.0.0.6"):
            worker = driver.joins.join(request, identity).worker_id
            taken.append(driver.joins.take(Hello(worker, "cpu", "same view")))
        assert [joined.identity for joined in taken] == ["10.0.0.5", "10.0.0.6"]
        assert taken[0].request.process_id != taken[1].request.process_id
        driver.end("done")

    bounded(scenario())
