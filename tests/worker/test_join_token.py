"""A join token is a password: it need not stand in a command."""

import pytest
from typer.testing import CliRunner

from mlpeft.transport.security.token import JoinToken
from worker.cli import app

TOKEN = str(JoinToken("127.0.0.1:9", "ab" * 32, "cd" * 16))


class Joined(Exception):  # noqa: N818 - no error
    """What was asked for."""


@pytest.fixture
def asked(monkeypatch):
    def enrol(token, _folder, _name):
        raise Joined(token)

    monkeypatch.setattr("mlpeft.runtime.worker.enrol.enrol", enrol)

    def ask(*words, text=""):
        return CliRunner().invoke(app, ["join", *words], input=text).exception

    return ask


def test_the_token_is_given_by_itself_in_a_file_or_on_standard_input(asked, tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    for error in (
        asked(TOKEN),
        asked("-", text=f"{TOKEN}\n"),
        asked("--token-file", str(file)),
    ):
        assert isinstance(error, Joined)
        assert error.args == (JoinToken.parse(TOKEN),)


@pytest.mark.parametrize("words", [[], [TOKEN, "--token-file", "t"]])
def test_one_token_is_needed(asked, words):
    assert "give a token, - to read it from standard input" in str(asked(*words))


def test_a_token_file_that_cannot_be_read_is_named(asked, tmp_path):
    missing = tmp_path / "missing"
    assert f"--token-file {missing}" in str(asked("--token-file", str(missing)))
    missing.write_bytes(b"\xff" * 99)
    assert f"--token-file {missing}" in str(asked("--token-file", str(missing)))
