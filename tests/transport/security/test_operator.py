"""The head node's own certificate, and who else may steer."""

import json

import pytest

from mlpeft.transport.security import certificates, identity, operator
from mlpeft.transport.security.authority import Authority, EnrolmentError
from mlpeft.transport.security.registry import OPERATOR

ADDRESS = "127.0.0.1:50051"


@pytest.fixture
def authority(tmp_path):
    return Authority.create(tmp_path / "ca", ["head.local"])


def serial(held):
    return certificates.read(held.certificate).serial


def enrol(authority, folder, name, role):
    """A machine that joins with a token of a role."""
    token = authority.new_token(ADDRESS, role=role)
    request = certificates.new_request(identity.private_key(folder), name)
    return certificates.read(authority.enrol(token.secret, name, request)).serial


def test_the_head_nodes_own_certificate_is_operator(authority):
    held = operator.renew(authority, ADDRESS)
    assert held.folder == operator.operator_folder(authority.folder)
    assert held.address == ADDRESS
    assert authority.refusal(serial(held)) is None
    assert authority.is_operator(serial(held))


def test_a_workers_certificate_may_not_and_an_operators_token_makes_one_that_may(
    authority, tmp_path
):
    worker = enrol(authority, tmp_path / "ada", "ada", "worker")
    lead = enrol(authority, tmp_path / "bob", "bob", OPERATOR)
    assert not authority.is_operator(worker)
    assert authority.is_operator(lead)
    authority.revoke("bob")
    assert not authority.is_operator(lead)


def test_a_restart_keeps_the_certificate_and_takes_the_new_address(authority):
    first = operator.renew(authority, ADDRESS)
    again = operator.renew(authority, "127.0.0.1:7")
    assert serial(again) == serial(first)
    assert again.address == "127.0.0.1:7"
    assert len(authority.workers()) == 1


def test_one_that_was_revoked_gets_another_key(authority):
    """Whoever revokes it fears that somebody has the key."""
    first = operator.renew(authority, ADDRESS)
    authority.revoke(operator.NAME)
    again = operator.renew(authority, ADDRESS)
    assert again.key != first.key
    assert authority.is_operator(serial(again))
    assert not authority.is_operator(serial(first))


def test_one_that_is_damaged_is_replaced_and_steers_no_more(authority):
    first = operator.renew(authority, ADDRESS)
    (first.folder / "certificate.pem").write_text("nonsense")
    again = operator.renew(authority, ADDRESS)
    assert authority.is_operator(serial(again))
    assert not authority.is_operator(serial(first))


def test_one_that_ends_soon_is_renewed(authority, monkeypatch):
    first = operator.renew(authority, ADDRESS)
    monkeypatch.setattr(certificates, "RENEW_DAYS", 400)
    again = operator.renew(authority, ADDRESS)
    assert serial(again) != serial(first)
    assert again.key == first.key


def test_a_worker_of_that_name_stays_a_worker(authority, tmp_path):
    worker = enrol(authority, tmp_path / "x", operator.NAME, "worker")
    with pytest.raises(EnrolmentError, match="another machine is called operator"):
        operator.renew(authority, ADDRESS)
    assert authority.refusal(worker) is None


def test_a_list_from_before_there_were_operators_holds_workers(authority, tmp_path):
    known = enrol(authority, tmp_path / "ada", "ada", OPERATOR)
    path = authority.folder / "registry.json"
    tree = json.loads(path.read_bytes())
    for record in tree["workers"] + tree["tokens"]:
        del record["role"]
    path.write_text(json.dumps(tree))
    assert authority.refusal(known) is None
    assert not authority.is_operator(known)
