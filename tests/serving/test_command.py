"""`mlpeft serve` as people start and stop it."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading

import pytest
from typer.testing import CliRunner

from mlpeft.adapters.text_classifier import TextClassifier
from mlpeft.cli import app
from mlpeft.serving.token import find_token
from mlpeft.transport.security.authority import Authority
from mlpeft.transport.security.folders import SecurityError
from tests.adapters.runs import EXAMPLES
from tests.dashboard.test_web import trusting
from tests.serving.conftest import Caller


def lines_of(process):
    lines = queue.Queue()

    def read():
        for line in process.stdout:
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    return lines


def test_it_serves_until_sigterm_and_finishes_what_runs(base, tmp_path):
    clf = TextClassifier.fit(*map(list, zip(*EXAMPLES, strict=True)), base=base)
    clf.save(tmp_path / "Tickets")
    words = [sys.executable, "-m", "mlpeft", "serve", tmp_path / "Tickets"]
    process = subprocess.Popen(
        [*words, f"other={tmp_path / 'Tickets'}", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        greeting = lines_of(process).get(timeout=60)
        assert "serving 2 adapters (tickets, other)" in greeting
        caller = Caller(None, re.search(r"http://[\d.:]+", greeting)[0])
        # A request of which half has come is under way.
        connection = caller.connect()
        body = b'{"texts": ["where is my parcel"], "adapter": "other"}'
        connection.putrequest("POST", "/predict")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body[:9])
        caller.json("GET", "/health")
        process.send_signal(signal.SIGTERM)
        assert "requests under way are finished" in process.stderr.readline()
        connection.send(body[9:])
        answer = connection.getresponse()
        assert (answer.status, b'"delivery"' in answer.read()) == (200, True)
        connection.close()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        process.stdout.close()


def test_off_loopback_it_asks_for_tls_and_a_token(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("MLPEFT_SERVE_TOKEN", raising=False)
    run = CliRunner().invoke
    done = run(app, ["serve", "--listen", "0.0.0.0:0"])
    assert isinstance(done.exception, SecurityError)
    assert "the server needs TLS" in str(done.exception)
    done = run(app, ["serve", "--listen", "0.0.0.0:0", "--insecure"])
    assert isinstance(done.exception, SecurityError)
    assert "give --token-file FILE" in str(done.exception)


def test_a_token_file_is_made_private_and_kept(tmp_path, monkeypatch):
    file = tmp_path / "token"
    token = find_token(file, "0.0.0.0")  # noqa: S104 - not listened at
    assert (len(token) > 30, file.stat().st_mode & 0o777) == (True, 0o600)
    assert find_token(file, "127.0.0.1") == token
    file.write_text("short")
    with pytest.raises(SecurityError, match="5 characters, expected at least 16"):
        find_token(file, "127.0.0.1")
    file.chmod(0o644)
    with pytest.raises(SecurityError, match="accessible to others"):
        find_token(file, "127.0.0.1")
    monkeypatch.setenv("MLPEFT_SERVE_TOKEN", "t" * 16)
    assert find_token(None, "10.0.0.1") == "t" * 16


def test_over_tls_it_shows_the_certificate_and_asks_for_the_token(serving, tmp_path):
    authority = Authority.create(tmp_path / "ca", ["localhost", "127.0.0.1"])
    served = serving(token="t" * 16, authority=authority, local=False)
    trusted = trusting(authority)
    assert served.url.startswith("https://")
    assert served.call("GET", "/adapters", context=trusted)[0] == 401
    bearer = f"Bearer {'t' * 16}"
    status, _, _ = served.call(
        "GET", "/adapters", context=trusted, authorization=bearer, host="any.example"
    )
    assert status == 200


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["No Id"], "is no id"),
        (["a=x", "a=y"], "both called 'a'"),
        (["a=x", "b=y", "--max-adapters", "1"], "2 adapters, expected at most 1"),
    ],
)
def test_adapters_are_named_so_that_requests_can_name_them(words, told):
    done = CliRunner().invoke(app, ["serve", *words])
    assert done.exit_code == 2
    assert told in re.sub(r"[\s│]+", " ", done.output)


def test_a_folder_without_an_adapter_and_a_missing_base_are_told(tmp_path):
    done = CliRunner().invoke(app, ["serve", str(tmp_path / "none")])
    assert isinstance(done.exception, FileNotFoundError)
    done = CliRunner().invoke(app, ["serve", "--base", str(tmp_path / "none")])
    assert "no pretrained model at" in str(done.exception)
