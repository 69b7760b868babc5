"""`mlpeft-worker join` against whoever answers at the port for joins."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from mlpeft.errors import MlpeftError
from mlpeft.runtime.worker import enrol as module
from mlpeft.runtime.worker.enrol import enrol
from mlpeft.transport.rpc import channel, enrolment_codec
from mlpeft.transport.security import certificates
from mlpeft.transport.security.authority import Authority
from tests.transport.rpc.hostile import Frame, spoiled


@pytest.fixture
def authority(tmp_path):
    return Authority.create(tmp_path / "ca", ["127.0.0.1"])


@pytest.fixture
def answered(authority, monkeypatch):
    """Answers by method, in place of a network; what was asked."""
    answers = {}
    asked = []

    def call(_connection, _token, method, _data):
        asked.append(method)
        return bytes(answers[method])

    shown = authority.server_pair().certificate.decode()
    monkeypatch.setattr(module.ssl, "get_server_certificate", lambda *_, **__: shown)
    monkeypatch.setattr(module, "_call", call)
    return answers, asked


def test_any_authority_but_the_tokens_own_gets_no_secret(authority, answered, tmp_path):
    answers, asked = answered
    other = certificates.new_ca().certificate
    both = other + authority.ca_certificate
    frames = [
        Frame(enrolment_codec.encode_authority(each))
        for each in (authority.ca_certificate, other, both, b"\x00" * 50)
    ]
    token = authority.new_token("127.0.0.1:1")
    answers[channel.ENROL] = b""

    @given(st.one_of(spoiled(frames)))
    @settings(max_examples=100, deadline=None)
    def run(answer):
        asked.clear()
        answers[channel.AUTHORITY] = answer
        with pytest.raises(MlpeftError):
            enrol(token, tmp_path / "worker", "ada")
        if channel.ENROL in asked:
            told = enrolment_codec.decode_authority(bytes(answer))
            assert certificates.fingerprint(told) == token.ca_fingerprint

    run()


def test_any_answer_but_a_certificate_for_our_key_is_refused(
    authority, answered, tmp_path
):
    answers, _ = answered
    stranger = certificates.new_request(certificates.new_key(), "ada")
    alien = certificates.sign_request(authority._ca, stranger, "ada")
    frames = [
        Frame(enrolment_codec.encode_response(enrolment_codec.EnrolResponse(pem, port)))
        for pem, port in ((alien, 50051), (b"", 1), (alien, 0), (alien, 1 << 20))
    ]
    token = authority.new_token("127.0.0.1:1")
    answers[channel.AUTHORITY] = enrolment_codec.encode_authority(
        authority.ca_certificate
    )

    @given(st.one_of(spoiled(frames)))
    @settings(max_examples=100, deadline=None)
    def run(answer):
        answers[channel.ENROL] = answer
        with pytest.raises(MlpeftError):
            enrol(token, tmp_path / "worker", "ada")
        assert not (tmp_path / "worker" / "certificate.pem").exists()

    run()
