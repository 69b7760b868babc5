"""Whom a worker dials, of those who announce themselves."""

import dataclasses

from mlpeft.transport.discovery.search import select
from tests.transport.discovery.test_announcement import OMNIGLOT

CLEAR = dataclasses.replace(OMNIGLOT, ca="", session="1")
LOCAL = dataclasses.replace(CLEAR, addresses=("127.0.0.1",), session="2")
INTENTS = dataclasses.replace(
    OMNIGLOT, run="intents", addresses=("10.0.0.6",), session="3"
)
OTHER = dataclasses.replace(OMNIGLOT, ca="ef" * 32, session="4")
CA = OMNIGLOT.ca


def decide(*found, run=None, ca=None, insecure=False):
    return select(found, run=run, ca=ca, insecure=insecure)


def test_nobody_is_nobody():
    assert decide() == (
        None,
        "no coordinator announces itself on this network (_mlpeft._tcp)",
    )


def test_a_certificate_finds_the_coordinator_of_its_ca():
    chosen, reason = decide(OTHER, CLEAR, OMNIGLOT, ca=CA)
    assert chosen == OMNIGLOT
    assert reason == "found run omniglot on head (10.0.0.5:50051)"


def test_a_certificate_never_goes_to_another_ca_or_in_the_clear():
    chosen, reason = decide(OTHER, CLEAR, ca=CA, insecure=False)
    assert chosen is None
    assert "another cluster than the one that this machine joined" in reason
    assert "it does not use TLS" in reason


def test_without_a_certificate_the_way_to_one_is_said():
    chosen, reason = decide(OMNIGLOT)
    assert chosen is None
    assert "run: mlpeft-worker join TOKEN" in reason


def test_in_the_clear_only_this_machine_is_dialled_unless_the_user_says_so():
    assert decide(LOCAL)[0] == LOCAL
    chosen, reason = decide(CLEAR)
    assert chosen is None
    assert "--insecure if everybody on this network is trusted" in reason
    assert decide(CLEAR, insecure=True)[0] == CLEAR


def test_between_several_the_user_chooses_by_run():
    chosen, reason = decide(OMNIGLOT, INTENTS, ca=CA)
    assert chosen is None
    assert reason == (
        "found run omniglot on head (10.0.0.5:50051), run intents on head "
        "(10.0.0.6:50051); select one with --run omniglot or --run intents"
    )
    assert decide(OMNIGLOT, INTENTS, ca=CA, run="intents")[0] == INTENTS


def test_two_of_one_run_are_told_apart_by_address():
    twin = dataclasses.replace(OMNIGLOT, session="5", host="tail")
    chosen, reason = decide(OMNIGLOT, twin, ca=CA, run="omniglot")
    assert chosen is None
    assert reason.endswith("select one with --coordinator host:port")


def test_a_run_that_is_not_there_is_said_with_those_that_are():
    chosen, reason = decide(OMNIGLOT, ca=CA, run="sines")
    assert chosen is None
    assert reason.startswith(
        "no coordinator of run sines announces itself, but run omn"
    )
