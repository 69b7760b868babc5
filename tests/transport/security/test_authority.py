"""The coordinator's folder: tokens, joins, revocation."""

import fcntl
import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlpeft.transport.security import certificates, registry
from mlpeft.transport.security.authority import Authority, EnrolmentError
from mlpeft.transport.security.folders import SecurityError

ADDRESS = "head.local:50052"


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def authority(tmp_path, clock):
    return Authority.create(tmp_path / "ca", ["head.local"], clock)


def request(name="ada", key=None):
    return certificates.new_request(key or certificates.new_key(), name)


def serial(certificate):
    return certificates.read(certificate).serial


def test_only_the_owner_can_read_what_is_made(authority):
    assert stat.S_IMODE(authority.folder.stat().st_mode) == 0o700
    for path in authority.folder.glob("*.[pkj]*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_keys_that_others_can_read_are_refused_with_what_to_do(authority):
    (authority.folder / "ca.key").chmod(0o644)
    with pytest.raises(SecurityError, match=r"chmod 600 .*ca\.key"):
        Authority(authority.folder)


def test_a_second_ca_in_one_folder_is_refused(authority):
    before = (authority.folder / "ca.pem").read_bytes()
    with pytest.raises(SecurityError, match="would shut out every worker"):
        Authority.create(authority.folder, ["head.local"])
    assert (authority.folder / "ca.pem").read_bytes() == before


def test_a_folder_that_is_not_set_up_says_how(tmp_path):
    with pytest.raises(SecurityError, match="mlpeft-coordinator init"):
        Authority(tmp_path)


def test_who_has_a_token_gets_a_certificate_that_is_let_in(authority):
    token = authority.new_token(ADDRESS)
    certificate = authority.enrol(token.secret, "ada", request())
    assert authority.refusal(serial(certificate)) is None
    (record,) = authority.workers()
    assert (record.name, record.serial) == ("ada", serial(certificate))


def test_a_token_names_the_ca_by_its_fingerprint(authority):
    token = authority.new_token(ADDRESS)
    fingerprint = certificates.fingerprint(authority.ca_certificate)
    assert (token.address, token.ca_fingerprint) == (ADDRESS, fingerprint)


def test_the_secret_itself_is_not_on_disk(authority):
    token = authority.new_token(ADDRESS)
    text = (authority.folder / "registry.json").read_text()
    assert token.secret not in text
    assert hashlib.sha256(token.secret.encode()).hexdigest() in text


@pytest.mark.parametrize("secret", ["", "0" * 32, "é"])
def test_a_wrong_secret_gets_nothing(authority, secret):
    authority.new_token(ADDRESS)
    with pytest.raises(EnrolmentError, match="unknown or has expired"):
        authority.enrol(secret, "ada", request())
    assert authority.workers() == ()


def test_a_token_ends(authority, clock):
    token = authority.new_token(ADDRESS, lifetime_s=60)
    clock.now += 59
    authority.enrol(token.secret, "ada", request())
    clock.now += 1
    with pytest.raises(EnrolmentError, match="has expired"):
        authority.enrol(token.secret, "bob", request("bob"))


def test_a_join_whose_answer_was_lost_can_be_repeated(authority):
    token, key = authority.new_token(ADDRESS), certificates.new_key()
    first = authority.enrol(token.secret, "ada", request(key=key))
    second = authority.enrol(token.secret, "ada", request(key=key))
    assert authority.refusal(serial(first)) is None
    assert authority.refusal(serial(second)) is None


def test_a_name_that_is_taken_is_refused_until_it_is_revoked(authority):
    secret = authority.new_token(ADDRESS).secret
    authority.enrol(secret, "ada", request())
    with pytest.raises(EnrolmentError, match="workers revoke ada"):
        authority.enrol(secret, "ada", request())
    authority.revoke("ada")
    secret = authority.new_token(ADDRESS).secret
    authority.enrol(secret, "ada", request())
    assert [record.revoked is None for record in authority.workers()] == [False, True]


def test_a_damaged_request_is_refused_and_leaves_no_record(authority):
    token = authority.new_token(ADDRESS)
    with pytest.raises(EnrolmentError, match="not a certificate request"):
        authority.enrol(token.secret, "ada", b"garbage")
    with pytest.raises(EnrolmentError, match="cannot be a worker's name"):
        authority.enrol(token.secret, "../ada", request())
    assert authority.workers() == ()


def test_who_is_revoked_elsewhere_is_refused_here_at_once(authority):
    """Another process revokes; the running one sees it at its next look."""
    secret = authority.new_token(ADDRESS).secret
    ada = serial(authority.enrol(secret, "ada", request()))
    bob = serial(authority.enrol(secret, "bob", request("bob")))
    assert Authority(authority.folder).revoke("ada") == 1
    assert "was revoked" in authority.refusal(ada)
    assert authority.refusal(bob) is None


def test_revoking_ends_all_tokens(authority):
    secret = authority.new_token(ADDRESS).secret
    authority.enrol(secret, "ada", request())
    authority.revoke("ada")
    with pytest.raises(EnrolmentError, match="unknown"):
        authority.enrol(secret, "eve", request("eve"))


def test_revoking_nobody_lists_who_there_is(authority):
    secret = authority.new_token(ADDRESS).secret
    authority.enrol(secret, "ada", request())
    with pytest.raises(SecurityError, match=r"no worker bob .* workers: ada"):
        authority.revoke("bob")


def test_a_certificate_that_is_not_on_the_list_is_refused(authority):
    assert "not on the coordinator's list" in authority.refusal("abc123")


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b'{"workers": 1}'])
def test_without_its_list_nobody_is_let_in(authority, content):
    secret = authority.new_token(ADDRESS).secret
    ada = serial(authority.enrol(secret, "ada", request()))
    path = authority.folder / "registry.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(SecurityError, match="cannot be read"):
        authority.refusal(ada)


def test_a_list_that_another_process_keeps_is_an_error_not_a_wait(
    authority, monkeypatch
):
    monkeypatch.setattr(registry, "LOCK_S", 0.05)
    secret = authority.new_token(ADDRESS).secret
    with (authority.folder / "registry.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SecurityError, match="another process has held"):
            authority.enrol(secret, "ada", request())
    authority.enrol(secret, "ada", request())


def test_joins_at_the_same_time_all_get_onto_the_list(authority, clock):
    """Each through an Authority of its own, as processes have."""
    secret = authority.new_token(ADDRESS).secret
    names = [f"mac-{index}" for index in range(8)]

    def join(name):
        Authority(authority.folder, clock).enrol(secret, name, request(name))

    with ThreadPoolExecutor() as pool:
        list(pool.map(join, names))
    assert sorted(record.name for record in authority.workers()) == names


def test_a_server_certificate_that_ends_soon_is_made_anew(authority, monkeypatch):
    before = authority.server_pair()
    assert authority.server_pair() == before
    monkeypatch.setattr(certificates, "RENEW_DAYS", certificates.LEAF_DAYS + 1)
    after = authority.server_pair()
    assert serial(after.certificate) != serial(before.certificate)
    monkeypatch.undo()
    assert authority.server_pair() == after
