"""What a person sees while a run goes on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from mlpeft.reporting import ConsoleReporter


@pytest.fixture(autouse=True)
def _a_plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)


def plain() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=60), file


def test_a_plain_log_is_never_flooded(config, clock, result) -> None:
    """1000 iterations in 5 s with 100 validations: a line a second, and the last."""
    console, file = plain()
    reporter = ConsoleReporter(console, clock)
    reporter.start(config, Path("runs/tiny"), 0)
    for i in range(1, 1001):
        clock.now += 0.005
        reporter.iteration(i, {"support_loss": 0.5})
        if i % 10 == 0:
            reporter.validation(i, result)
    reporter.close()
    lines = file.getvalue().splitlines()
    assert lines[0] == "tiny trains for 1000 meta-iterations, in runs/tiny"
    assert 5 <= len(lines) - 1 <= 7
    assert lines[-1].startswith("1000/1000  200 it/s  loss 0.500")
    assert lines[-1].endswith("validation 90.0 ± 0.6 %  done")


def test_without_validations_a_plain_line_comes_every_ten_seconds(
    config, clock
) -> None:
    console, file = plain()
    reporter = ConsoleReporter(console, clock)
    reporter.start(config, Path("run"), 0)
    for i in range(1, 36):
        clock.now += 1.0
        reporter.iteration(i, {"support_loss": 0.5, "query_loss": 0.25})
    lines = file.getvalue().splitlines()[1:]
    assert [line.split("/")[0].strip() for line in lines] == ["10", "20", "30"]
    assert lines[0] == "  10/1000  1.00 it/s  loss 0.250  16:30 left"


def test_the_state_at_the_end_is_told_once(config, clock) -> None:
    console, file = plain()
    reporter = ConsoleReporter(console, clock)
    reporter.start(config, Path("run"), 0)
    clock.now += 1.0
    reporter.iteration(7, {"support_loss": 0.5})
    reporter.close()
    reporter.close()
    assert len(file.getvalue().splitlines()) == 2


def test_a_resumed_run_says_so_and_measures_from_there(config, clock) -> None:
    console, file = plain()
    reporter = ConsoleReporter(console, clock)
    reporter.start(config, Path("run"), 900)
    clock.now += 10.0
    reporter.iteration(950, {"support_loss": 0.5})
    first, second = file.getvalue().splitlines()
    assert first == "tiny resumes after 900 of 1000 meta-iterations, in run"
    assert "5.00 it/s" in second
    assert "0:10 left" in second


def test_text_in_brackets_is_text(config, clock) -> None:
    console, file = plain()
    ConsoleReporter(console, clock).message("see [bold]this[/bold] [/nothing]")
    assert file.getvalue() == "see [bold]this[/bold] [/nothing]\n"


@pytest.mark.parametrize("variable", ["NO_COLOR", "CI"])
def test_ci_and_no_color_get_plain_lines_on_a_terminal_too(
    config, clock, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    file = io.StringIO()
    reporter = ConsoleReporter(Console(file=file, force_terminal=True), clock)
    reporter.start(config, Path("run"), 0)
    reporter.iteration(1, {"support_loss": 0.5})
    reporter.close()
    assert "\x1b[2K" not in file.getvalue()


def test_a_terminal_shows_progress_and_gets_its_cursor_back(
    config, clock, result
) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=120, height=20)
    reporter = ConsoleReporter(console, clock)
    reporter.start(config, Path("run"), 0)
    clock.now += 1.0
    reporter.iteration(500, {"support_loss": 0.5})
    reporter.validation(500, result)
    reporter.close()
    text = file.getvalue()
    assert "500/1000" in text
    assert "validation 90.0 ± 0.6 %" in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")


def test_a_narrow_terminal_keeps_everything_on_one_line(config, clock, result) -> None:
    """80 columns have no room for the bar, but for all the numbers."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=20)
    reporter = ConsoleReporter(console, clock)
    reporter.start(config, Path("run"), 0)
    clock.now += 1.0
    reporter.iteration(999, {"support_loss": 0.5})
    reporter.validation(999, result)
    reporter.close()
    last = file.getvalue().splitlines()[-2]
    assert "999/1000 999 it/s  loss 0.500  validation 90.0 ± 0.6 %  0:00 left" in last
    assert "\x1b[1A" not in file.getvalue()  # no redraw goes up a line
