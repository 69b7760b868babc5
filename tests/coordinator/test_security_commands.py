"""`mlpeft-coordinator init`, `token` and `workers`."""

import json

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from mlpeft.config import RunConfig
from mlpeft.transport.security import certificates
from mlpeft.transport.security.authority import Authority
from mlpeft.transport.security.token import JoinToken


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_CONFIG_DIR", str(tmp_path))

    def run(*arguments):
        return CliRunner().invoke(app, arguments)

    return run


def enrolled(tmp_path, name):
    authority = Authority(tmp_path / "coordinator")
    secret = authority.new_token("head:1").secret
    request = certificates.new_request(certificates.new_key(), name)
    authority.enrol(secret, name, request)


def test_init_prints_nothing_but_a_token_for_scripts(run, tmp_path):
    done = run("init", "--name", "head.local", "--name", "10.0.0.7")
    assert done.exit_code == 0, done.output
    token = JoinToken.parse(done.stdout)
    assert token.address == "head.local:50052"
    ca = (tmp_path / "coordinator" / "ca.pem").read_bytes()
    assert token.ca_fingerprint == certificates.fingerprint(ca)
    assert "Keep it private" in done.stderr


def test_more_tokens_can_be_made_later(run):
    first = JoinToken.parse(run("init", "--name", "head.local").stdout)
    second = JoinToken.parse(run("token", "--port", "7", "--name", "10.0.0.7").stdout)
    assert second.address == "10.0.0.7:7"
    assert first.secret != second.secret


def test_the_port_for_joins_is_said_once(run, tmp_path):
    """Later tokens have it, and a coordinator whose configuration names none."""
    first = JoinToken.parse(
        run("init", "--name", "head.local", "--port", "6001").stdout
    )
    assert first.address == "head.local:6001"
    assert JoinToken.parse(run("token").stdout).address == first.address
    assert Authority(tmp_path / "coordinator").join_port == 6001
    assert RunConfig().cluster.join_port is None


def test_a_folder_older_than_its_port_has_the_usual_one(run, tmp_path):
    run("init", "--name", "head.local")
    file = tmp_path / "coordinator" / "join_port"
    file.unlink()
    assert JoinToken.parse(run("token").stdout).address == "head.local:50052"
    file.write_text("fifty")
    assert "holds no port" in str(run("token").exception)


def test_workers_are_listed_and_revoked_by_name(run, tmp_path):
    run("init")
    assert "nobody has joined yet" in run("workers", "list").stdout
    for name in ("ada", "bob"):
        enrolled(tmp_path, name)
    assert "ada is shut out" in run("workers", "revoke", "ada").stdout
    listed = json.loads(run("workers", "list", "--json").stdout)
    assert [(one["name"], one["state"]) for one in listed] == [
        ("ada", "revoked"),
        ("bob", "active"),
    ]
    assert "revoked" in run("workers", "list").stdout


def test_a_run_needs_a_configuration(run):
    done = run()
    assert done.exit_code == 2
    assert "--config" in done.output
