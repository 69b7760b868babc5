"""`mlpeft validate`: what it prints, and its exit code."""

from __future__ import annotations

import json

import pytest
import typer

from mlpeft.commands import validate as command
from mlpeft.commands.checks import Check, Status


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch):
    """Sets what the checks find."""

    def set_outcome(*checks: Check) -> None:
        monkeypatch.setattr(command, "run_checks", lambda *_: iter(checks))

    return set_outcome


FINE = Check("device", Status.OK, "gpu")
SLOW = Check("BLAS", Status.WARNING, "slow", "install [one]")
BROKEN = Check("disk", Status.FAILED, "full", "free some")


def test_warnings_do_not_fail(outcome, capsys: pytest.CaptureFixture[str]) -> None:
    outcome(FINE, SLOW)
    command.validate()
    out = capsys.readouterr().out
    assert "warning BLAS: slow\n        -> install [one]\n" in out
    assert out.endswith("No check of 2 failed, 1 warning\n")


def test_a_failure_says_what_to_do_and_exits_with_1(
    outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome(FINE, BROKEN)
    with pytest.raises(typer.Exit) as caught:
        command.validate()
    assert caught.value.exit_code == 1
    out = capsys.readouterr().out
    assert "failed  disk: full\n        -> free some\n" in out
    assert out.endswith("1 check of 2 failed\n")


def test_json_tells_the_same(outcome, capsys: pytest.CaptureFixture[str]) -> None:
    outcome(FINE, BROKEN)
    with pytest.raises(typer.Exit):
        command.validate(json_output=True)
    record = json.loads(capsys.readouterr().out)
    assert record["ok"] is False
    assert record["checks"][1] == {
        "name": "disk",
        "status": "failed",
        "detail": "full",
        "remedy": "free some",
    }
