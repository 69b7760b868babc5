"""Which coordinator is dialled, and with what."""

import pytest

from mlpeft.commands.peer import choose
from mlpeft.errors import ConfigError
from mlpeft.security import certificates, identity
from mlpeft.security.folders import SecurityError, worker_folder

JOINED = "head.local:50051"


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_CONFIG_DIR", str(tmp_path))


def join(address=JOINED, folder=None):
    place = folder or worker_folder()
    request = certificates.new_request(identity.own_key(place), "ada")
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
    monkeypatch.setattr("mlpeft.commands.peer.RENEW_DAYS", 400)
    choose(None, None, insecure=False)
    assert "ends in 397 days; join again" in capsys.readouterr().err
