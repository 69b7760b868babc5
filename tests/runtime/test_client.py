"""Which coordinator is dialled, and with what."""

import pytest

from mlpeft.errors import ConfigError
from mlpeft.runtime.client import choose, choose_to_steer
from mlpeft.transport.security import certificates, identity
from mlpeft.transport.security.folders import (
    SecurityError,
    coordinator_folder,
    worker_folder,
)
from mlpeft.transport.security.operator import operator_folder

JOINED = "head.local:50051"


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_CONFIG_DIR", str(tmp_path))


def join(address=JOINED, folder=None):
    place = folder or worker_folder()
    request = certificates.new_request(identity.private_key(place), "ada")
    ca = certificates.new_ca()
    certificate = certificates.sign_request(ca, request, "ada")
    return identity.save(place, address, certificate, ca.certificate)


def test_without_anything_it_is_loopback_in_the_clear():
    assert choose(None, None, insecure=False) == ("127.0.0.1:50051", None)


def test_a_machine_that_joined_dials_what_it_joined():
    held = join()
    assert choose(None, None, insecure=False) == (JOINED, held)


def test_another_address_of_the_coordinator_gets_the_certificate_too():
    held = join()
    assert choose("10.0.0.7:50051", None, insecure=False) == ("10.0.0.7:50051", held)


def test_loopback_is_in_the_clear_unless_it_was_joined_or_an_identity_is_named():
    held = join()
    assert choose("127.0.0.1:1", None, insecure=False) == ("127.0.0.1:1", None)
    named = choose("127.0.0.1:1", held.folder, insecure=False)
    assert named == ("127.0.0.1:1", held)
    local = join("127.0.0.1:7")
    assert choose("127.0.0.1:7", None, insecure=False) == ("127.0.0.1:7", local)


def test_another_machine_is_never_dialled_in_the_clear_unasked():
    with pytest.raises(SecurityError, match="mlpeft-worker join TOKEN"):
        choose(JOINED, None, insecure=False)
    assert choose(JOINED, None, insecure=True) == (JOINED, None)


def test_what_contradicts_itself_is_refused(tmp_path):
    with pytest.raises(SecurityError, match="exclude each other"):
        choose(JOINED, tmp_path, insecure=True)
    with pytest.raises(ConfigError, match="expected host:port"):
        choose("lab", None, insecure=False)


def test_a_certificate_that_ends_soon_says_so(monkeypatch, capsys):
    join()
    monkeypatch.setattr("mlpeft.runtime.client.RENEW_DAYS", 400)
    choose(None, None, insecure=False)
    assert "ends in 397 days; join again" in capsys.readouterr().err


HERE = "127.0.0.1:50051"


@pytest.fixture
def head_node(monkeypatch):
    """An identity that a coordinator made here; whether it runs with TLS."""

    def make(*, tls=True):
        monkeypatch.setattr("mlpeft.runtime.client.takes_tls", lambda _: tls)
        return join(HERE, operator_folder(coordinator_folder()))

    return make


def steer(coordinator=None, folder=None, *, insecure=False):
    return choose_to_steer(coordinator, folder, insecure=insecure)


def test_the_user_of_a_head_node_is_its_operator(head_node):
    held = head_node()
    assert steer() == (HERE, held)
    assert steer(HERE) == (HERE, held)
    assert steer("head.local:50051") == ("head.local:50051", held)


def test_a_head_node_that_joined_elsewhere_steers_both(head_node):
    operator, worker = head_node(), join()
    assert steer() == (HERE, operator)
    assert steer(JOINED) == (JOINED, worker)


def test_where_the_coordinator_runs_without_tls_nothing_is_shown(head_node):
    head_node(tls=False)
    assert steer() == (HERE, None)
    join()
    assert steer() == (HERE, None)


def test_where_none_runs_the_one_that_ran_here_is_meant_unless_another_was_joined(
    head_node,
):
    held = head_node(tls=None)
    assert steer() == (HERE, held)
    worker = join()
    assert steer() == (JOINED, worker)


def test_a_socket_needs_no_identity(head_node):
    head_node()
    assert steer("unix:/tmp/x") == ("unix:/tmp/x", None)


def test_what_the_user_says_comes_first(head_node, tmp_path):
    head_node()
    named = join(folder=tmp_path / "named")
    assert steer(folder=named.folder) == (JOINED, named)
    assert steer(insecure=True) == (HERE, None)


def test_a_machine_that_is_no_head_node_shows_what_it_joined_with():
    worker = join()
    assert steer() == (JOINED, worker)
