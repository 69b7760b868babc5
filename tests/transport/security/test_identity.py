"""A worker's folder."""

import stat

import pytest

from mlpeft.transport.security import certificates, identity
from mlpeft.transport.security.folders import SecurityError


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "worker"
    key = identity.private_key(place)
    ca = certificates.new_ca()
    request = certificates.new_request(key, "ada")
    certificate = certificates.sign_request(ca, request, "ada")
    identity.save(place, "head.local:50051", certificate, ca.certificate)
    return place


def test_an_identity_is_what_was_saved(folder):
    held = identity.load(folder)
    assert (held.name, held.address) == ("ada", "head.local:50051")
    assert held.key == identity.private_key(folder)
    assert held.days_left() > 300


def test_only_the_owner_can_read_it(folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_key_that_others_can_read_is_refused(folder):
    (folder / "key.pem").chmod(0o640)
    with pytest.raises(SecurityError, match="chmod 600"):
        identity.load(folder)


def test_a_machine_that_has_not_joined_says_how(tmp_path):
    assert not identity.exists(tmp_path)
    with pytest.raises(SecurityError, match="mlpeft-worker join TOKEN"):
        identity.load(tmp_path)


@pytest.mark.parametrize("name", ["coordinator.json", "certificate.pem"])
def test_a_damaged_identity_says_what_to_do(folder, name):
    (folder / name).write_bytes(b"[]")
    with pytest.raises(SecurityError, match="join again with a token"):
        identity.load(folder)
