"""`mlpeft status` and its like find the coordinator that a worker would find."""

import dataclasses

import pytest
import typer

from mlpeft.runtime import client
from mlpeft.runtime.client import CoordinatorGoneError, find
from mlpeft.transport.discovery import find as discovery
from mlpeft.transport.discovery.search import NetworkClosedError
from mlpeft.transport.rpc.address import split_address
from tests.runtime.worker.test_seeking_link import NOBODY, Network
from tests.transport.discovery.test_announcement import OMNIGLOT

HERE = dataclasses.replace(OMNIGLOT, ca="", addresses=("127.0.0.1",))


@pytest.fixture(autouse=True)
def nobody_at_the_usual_address(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(client, "DEFAULT", NOBODY)


@pytest.fixture
def answering(monkeypatch):
    """Addresses at which somebody takes connections."""
    found = set()

    async def reach(address):
        return "127.0.0.1" if address in found else None

    monkeypatch.setattr(discovery, "reach", reach)
    return found


def test_the_one_on_the_network_is_found_and_named(answering, capsys):
    (address,) = HERE.endpoints
    answering.add(address)
    found = find(None, None, insecure=False, look=Network(HERE).look)
    assert found == (address, None)
    said = capsys.readouterr().err
    assert f"found {HERE}" in said
    assert f"asking it at {address}" in said


def test_nobody_is_looked_for_where_one_answers_or_is_named(answering):
    network = Network(HERE)
    answering.add(NOBODY)
    assert find(None, None, insecure=False, look=network.look) == (NOBODY, None)
    named = find("127.0.0.1:9", None, insecure=False, look=network.look)
    assert named == ("127.0.0.1:9", None)
    assert network.looks == 0


def test_a_run_that_is_named_is_looked_for_wherever_it_is(answering):
    other = dataclasses.replace(HERE, run="digits", session="2", port=7)
    answering.update([NOBODY, *HERE.endpoints, *other.endpoints])
    look = Network(HERE, other).look
    assert find(None, None, insecure=False, run="digits", look=look)[0] == "127.0.0.1:7"
    with pytest.raises(typer.BadParameter, match="names one already"):
        find("127.0.0.1:9", None, insecure=False, run="digits", look=look)


def test_between_several_the_user_chooses(answering):
    other = dataclasses.replace(HERE, run="digits", session="2", port=7)
    with pytest.raises(CoordinatorGoneError, match="--run digits or --run omniglot"):
        find(None, None, insecure=False, look=Network(other, HERE).look)


def test_what_talks_in_the_clear_elsewhere_is_not_asked(answering):
    far = dataclasses.replace(HERE, addresses=("192.0.2.1",))
    answering.update(far.endpoints)
    with pytest.raises(CoordinatorGoneError, match="--insecure if everybody"):
        find(None, None, insecure=False, look=Network(far).look)


def test_where_nobody_is_the_message_says_what_was_tried():
    """A real connection is refused at the usual address."""
    told = rf"no coordinator answers at {NOBODY}, and no coordinator announces itself"
    with pytest.raises(CoordinatorGoneError, match=told):
        find(None, None, insecure=False, look=Network().look)
    gone = dataclasses.replace(HERE, port=split_address(NOBODY, "test")[1])
    with pytest.raises(CoordinatorGoneError, match="does not answer at 127"):
        find(None, None, insecure=False, look=Network(gone).look)


def test_a_network_that_cannot_be_looked_at_is_said():
    async def closed():
        raise NetworkClosedError("no multicast")

    with pytest.raises(CoordinatorGoneError, match=r"no looking for others \(no mult"):
        find(None, None, insecure=False, look=closed)
