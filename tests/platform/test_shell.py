"""System commands."""

import sys

from mlpeft.platform import shell


def test_an_answer_has_code_and_text():
    command = [sys.executable, "-I", "-S", "-c", "print('hello'); raise SystemExit(3)"]
    assert shell.run(command) == shell.Answer(3, "hello\n")


def test_a_command_that_is_not_there_is_an_answer_too():
    answer = shell.run(["/nonexistent/launchctl"])
    assert answer.code == 127
    assert "No such file" in answer.text


def test_a_hanging_command_is_abandoned(monkeypatch):
    monkeypatch.setattr(shell, "TIMEOUT_S", 0.05)
    command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
    assert "no answer" in shell.run(command).text
