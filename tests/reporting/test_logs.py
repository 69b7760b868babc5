"""Loggers for the terminal and a file."""

from __future__ import annotations

import io
import logging
import sys
import uuid
from pathlib import Path

import pytest

from mlpeft.reporting import logs, setup_logger
from mlpeft.reporting.console import ConsoleReporter
from mlpeft.reporting.log_lines import read_log
from mlpeft.reporting.logs import log_to_file
from mlpeft.reporting.terminal import LossyConsole


@pytest.fixture
def name():
    """A logger of the test's own, closed after it."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    logger = logging.getLogger(name)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def test_a_line_goes_to_standard_error_and_to_the_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logger(name, log_dir=tmp_path / "logs").info("loss %.2f [%s]", 0.5, "/x")
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.endswith(f" INFO    {name}: loss 0.50 [/x]\n")
    text = (tmp_path / "logs" / f"{name}.log").read_text()
    assert text.endswith(f" INFO    {name}: loss 0.50 [/x]\n")


def test_setting_up_twice_doubles_no_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logger(name, log_dir=tmp_path)
    setup_logger(name, log_dir=tmp_path).info("once")
    assert capsys.readouterr().err.count("once") == 1
    assert (tmp_path / f"{name}.log").read_text().count("once") == 1


def test_a_child_and_its_parent_print_a_line_once(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logger(name)
    child = setup_logger(f"{name}.child")
    child.info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_what_is_below_the_level_is_not_logged(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = setup_logger(name, level="warning")
    logger.info("quiet")
    logger.warning("loud")
    assert "quiet" not in (seen := capsys.readouterr().err)
    assert "loud" in seen


def test_a_level_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="LOUD"):
        setup_logger(name, level="LOUD")


def test_handlers_of_others_stay(name: str) -> None:
    other = logging.NullHandler()
    logging.getLogger(name).addHandler(other)
    assert other in setup_logger(name).handlers


def test_nothing_that_is_logged_steers_the_terminal(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logger(name).warning("worker eve\x1b[2J failed:\n\x9b31mred")
    assert "worker eve?[2J failed:\n?31mred" in capsys.readouterr().err


def test_a_long_line_is_not_wrapped(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logger(name).info("x" * 500)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_file_of_json_lines_says_whom_they_are_about(name: str, tmp_path: Path):
    logger = setup_logger(name)
    log_to_file(name, tmp_path / "logs" / "ada.jsonl", worker="ada")
    logger.warning("slow")
    (line,) = read_log(tmp_path / "logs" / "ada.jsonl")
    assert (line.level, line.logger, line.text) == ("WARNING", name, "slow")
    assert line.context == {"worker": "ada"}


@pytest.mark.parametrize("broken", [BrokenPipeError(), OSError(28, "No space left")])
def test_logging_to_a_stream_that_takes_nothing_raises_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, broken: OSError
) -> None:
    class Refusing(io.StringIO):
        def write(self, _: str) -> int:
            raise broken

        flush = write  # type: ignore[assignment]

    monkeypatch.setattr(sys, "stderr", Refusing())
    monkeypatch.setattr(logs, "progress_console", lambda: LossyConsole(stderr=True))
    setup_logger(name).warning("lost")
    ConsoleReporter(LossyConsole(stderr=True)).message("lost")


def test_logging_to_a_closed_stream_raises_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    monkeypatch.setattr(logs, "progress_console", lambda: LossyConsole(stderr=True))
    setup_logger(name).warning("lost")


def test_a_full_disk_is_reported_once_and_ends_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{name}.log").mkdir()
    logger = setup_logger(name, log_dir=tmp_path)
    logger.info("one")
    logger.info("two")
    assert capsys.readouterr().err.count("lines are lost") == 1
