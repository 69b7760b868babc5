"""What standard streams do with characters that their encoding lacks."""

from __future__ import annotations

import io
import sys

import pytest

from mlpeft.errors import DataError
from mlpeft.platform.streams import (
    argument_text,
    lines_of_stdin,
    protect_streams,
    spelled,
)
from mlpeft.results import EvalResult


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("93.4 ± 0.6 %", "93.4 +/- 0.6 %"),
        ("a – b → c", "a - b -> c"),  # noqa: RUF001
        ("nötig, Straße", "notig, Strasse"),
        ("雪", "?"),
        ("\udcc3", "?"),
    ],
)
def test_what_ascii_lacks_is_spelled_out(text, ascii_text):
    assert spelled(text, "ascii") == ascii_text


def test_what_the_encoding_has_stays():
    assert spelled("± é", "latin-1") == "± é"
    assert spelled("± é 雪", "utf-8") == "± é 雪"


def test_standard_streams_print_any_character_in_any_encoding(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    protect_streams()
    sys.stdout.write("1 ± 2")
    sys.stdout.flush()
    assert raw.getvalue() == b"1 +/- 2"


def test_columns_of_tables_stay_in_line_where_characters_are_spelled_out(monkeypatch):
    from mlpeft.reporting.terminal import output_console

    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    result = EvalResult((0, 5), (0.5, 0.25), (0.1, 0.1), 4, (0.5, 1.0), (0.1, 0.0))
    console = output_console(file=stream, width=60)
    console.print(result.table())
    stream.flush()
    rows = [line for line in raw.getvalue().decode().splitlines() if "+/-" in line]
    assert {len(line) for line in rows[:2]} == {len(rows[0])}
    assert "0.500 +/- 0.100" in rows[0]


@pytest.fixture
def piped(monkeypatch):
    def pipe(data: bytes) -> None:
        stream = io.TextIOWrapper(io.BytesIO(data), encoding="ascii")
        monkeypatch.setattr(sys, "stdin", stream)

    return pipe


def test_lines_of_standard_input_are_utf8_whatever_the_locale(piped):
    piped("\ufeffnötig\r\nzwei\n".encode())
    assert lines_of_stdin() == ["nötig", "zwei"]


def test_a_line_of_another_encoding_is_named(piped):
    piped(b"one\nn\xf6tig\n")
    with pytest.raises(DataError, match="line 2 of standard input is not UTF-8"):
        lines_of_stdin()


def test_a_closed_standard_input_has_no_lines(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert lines_of_stdin() is None


def test_an_argument_is_utf8_whatever_the_locale():
    assert argument_text("n\udcc3\udcb6tig") == "nötig"
