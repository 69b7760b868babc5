"""A worker that was told no address finds its coordinator, and nobody else."""

import dataclasses
import logging

import pytest

from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.grpc_link import WrongPeerError
from mlpeft.runtime.worker.link import LinkLostError
from mlpeft.runtime.worker.seeking_link import SeekingLink
from mlpeft.transport.discovery.search import NetworkClosedError
from mlpeft.transport.rpc import join_codec
from mlpeft.transport.rpc.address import split_address
from mlpeft.transport.security import certificates, identity
from mlpeft.transport.security.authority import Authority
from mlpeft.transport.security.certificates import fingerprint
from tests.runtime.toy import VERSIONS, bounded, toy_coordinator
from tests.transport.discovery.test_announcement import OMNIGLOT

REQUEST = join_codec.JoinRequest(1, VERSIONS.mlpeft, VERSIONS.mlx, "ada", "process")
NOBODY = "127.0.0.1:1"
"""Nobody listens there."""


class Network:
    """Who announces themselves; counts how often somebody looks."""

    def __init__(self, *found):
        self.found = list(found)
        self.looks = 0

    async def look(self):
        self.looks += 1
        return tuple(self.found)


class Served:
    """A coordinator on a free port."""

    def __init__(self, authority=None):
        self.authority = authority

    async def __aenter__(self):
        self.driver = toy_coordinator()
        self.server = Server(self.driver, self.authority)
        self.address = await self.server.start("127.0.0.1", 0)
        return self

    async def __aexit__(self, *_):
        self.driver.end("done")
        await self.server.stop(0)

    def announced(self, ca=""):
        _, port = split_address(self.address, "test")
        return dataclasses.replace(
            OMNIGLOT, ca=ca, port=port, addresses=("127.0.0.1",), session=self.address
        )


def identity_of(authority, folder, name):
    """What a machine has after it joined."""
    request = certificates.new_request(identity.private_key(folder), name)
    token = authority.new_token(NOBODY)
    certificate = authority.enrol(token.secret, name, request)
    return identity.save(folder, NOBODY, certificate, authority.ca_certificate)


def test_the_usual_address_comes_first_and_nobody_looks():
    async def scenario():
        async with Served() as served:
            network = Network(OMNIGLOT)
            link = SeekingLink(served.address, look=network.look)
            joined = await link.join(REQUEST)
            await link.close()
            return joined.session == served.driver.session, network.looks

    assert bounded(scenario()) == (True, 0)


def test_where_nobody_answers_the_network_is_asked(caplog):
    async def scenario():
        async with Served() as served:
            link = SeekingLink(NOBODY, look=Network(served.announced()).look)
            with caplog.at_level(logging.INFO, "mlpeft.worker"):
                joined = await link.join(REQUEST)
            await link.close()
            return joined.session == served.driver.session, served.address

    found, address = bounded(scenario())
    assert found
    assert (
        f"found run omniglot on head ({address}); dialling {address} from 127.0.0.1 (lo"
    ) in caplog.text


def test_with_a_run_the_usual_address_is_left_out():
    async def scenario():
        async with Served() as usual, Served() as served:
            link = SeekingLink(
                usual.address, run="omniglot", look=Network(served.announced()).look
            )
            joined = await link.join(REQUEST)
            await link.close()
            return joined.session == served.driver.session

    assert bounded(scenario())


def test_a_coordinator_that_moved_is_found_again():
    """Its line breaks; the next join looks anew."""

    async def scenario():
        network = Network()
        async with Served() as first:
            network.found = [first.announced()]
            link = SeekingLink(NOBODY, look=network.look)
            await link.join(REQUEST)
        with pytest.raises(LinkLostError):
            await link.join(REQUEST)
        async with Served() as second:
            network.found = [second.announced()]
            joined = await link.join(REQUEST)
            await link.close()
            return joined.session == second.driver.session, network.looks

    assert bounded(scenario()) == (True, 2)


def test_nobody_anywhere_is_said_with_what_to_do():
    with pytest.raises(LinkLostError) as told:
        bounded(SeekingLink(NOBODY, look=Network().look).join(REQUEST))
    assert str(told.value) == (
        "no coordinator answers at 127.0.0.1:1, and no coordinator announces itself on "
        "this network (_mlpeft._tcp); --coordinator host:port dials without looking"
    )


def test_a_network_without_multicast_is_said():
    async def closed():
        raise NetworkClosedError("no multicast")

    with pytest.raises(LinkLostError, match=r"no looking for others \(no multicast\)"):
        bounded(SeekingLink(NOBODY, look=closed).join(REQUEST))


def test_an_address_that_does_not_answer_is_named():
    gone = dataclasses.replace(OMNIGLOT, ca="", port=1, addresses=("127.0.0.1",))
    with pytest.raises(LinkLostError, match=r"does not answer at .*: is a fire"):
        bounded(SeekingLink(NOBODY, look=Network(gone).look).join(REQUEST))


def test_a_certificate_finds_its_coordinator_and_is_checked(tmp_path):
    async def scenario():
        authority = Authority.create(tmp_path / "ca", ["127.0.0.1"])
        ada = identity_of(authority, tmp_path / "ada", "ada")
        ca = fingerprint(authority.ca_certificate)
        async with Served(authority) as served:
            link = SeekingLink(NOBODY, ada, look=Network(served.announced(ca)).look)
            joined = await link.join(REQUEST)
            await link.close()
            return joined.session == served.driver.session

    assert bounded(scenario())


def test_an_impostor_who_announces_our_ca_gets_nothing_and_ends_nobody(tmp_path):
    """The announcement is right, the certificate is not: it is passed over."""

    async def scenario():
        authority = Authority.create(tmp_path / "ca", ["127.0.0.1"])
        ada = identity_of(authority, tmp_path / "ada", "ada")
        ca = fingerprint(authority.ca_certificate)
        impostor = Authority.create(tmp_path / "evil", ["127.0.0.1"])
        async with Served(impostor) as bad, Served(authority) as good:
            network = Network(bad.announced(ca))
            link = SeekingLink(NOBODY, ada, look=network.look)
            with pytest.raises(LinkLostError, match="passing over run omniglot"):
                await link.join(REQUEST)
            network.found.append(good.announced(ca))
            joined = await link.join(REQUEST)
            await link.close()
            return joined.session == good.driver.session

    assert bounded(scenario())


def test_a_wrong_peer_at_the_usual_address_ends_the_worker(tmp_path):
    """Somebody chose that address: waiting would not help."""

    async def scenario():
        authority = Authority.create(tmp_path / "ca", ["127.0.0.1"])
        ada = identity_of(authority, tmp_path / "ada", "ada")
        async with Served() as plain:
            await SeekingLink(plain.address, ada, look=Network().look).join(REQUEST)

    with pytest.raises(WrongPeerError):
        bounded(scenario())
