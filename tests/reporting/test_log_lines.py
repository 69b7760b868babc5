"""The log as JSON lines."""

import json
import logging
from pathlib import Path

import pytest

from mlpeft.reporting import log_lines
from mlpeft.reporting.log_lines import file_handler, follow_log, read_log


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


@pytest.fixture
def write(path):
    """Logs to the file, of the run `digits`."""
    logger = logging.Logger("mlpeft.test", logging.DEBUG)  # noqa: LOG001 - its own
    handler = file_handler(path, run="digits")
    logger.addHandler(handler)
    yield logger
    handler.close()


def test_a_line_is_one_json_object_with_what_it_is_about(write, path):
    write.warning("worker %s left\nlate", "ada", extra={"worker": "ada", "round": 3})
    (text,) = path.read_text(encoding="utf-8").splitlines()
    record = json.loads(text)
    assert record.pop("time") == pytest.approx(
        next(read_log(path)).time  # the same clock as logging's: since 1970
    )
    assert record == {
        "level": "WARNING",
        "logger": "mlpeft.test",
        "text": "worker ada left\nlate",
        "run": "digits",
        "round": 3,
        "worker": "ada",
    }


def test_an_error_brings_its_traceback(write, path):
    try:
        int("boom")
    except ValueError:
        write.exception("failed")
    (line,) = read_log(path)
    assert line.text.startswith("failed\nTraceback")
    assert "ValueError" in line.text.splitlines()[-1]


def test_a_file_that_has_grown_is_put_aside_and_old_ones_go(
    path, monkeypatch, tmp_path
):
    """Each line fills a file: of nine, the newest five are left, in order."""
    monkeypatch.setattr(log_lines, "MOST_BYTES", 50)
    handler = file_handler(path)
    logger = logging.Logger("mlpeft.test")  # noqa: LOG001 - its own
    logger.addHandler(handler)
    for number in range(9):
        logger.info("line %d", number)
    handler.close()
    assert [line.text for line in read_log(path)] == [f"line {n}" for n in range(4, 9)]
    assert len(list(tmp_path.iterdir())) == 1 + log_lines.OLD_FILES


def test_what_is_no_line_is_passed_over(write, path):
    """A kill -9 leaves half a line, and the next start writes behind it."""
    write.info("one")
    with path.open("ab") as file:
        file.write(b'{"time": 1\n[]\n{"time": "x"}\n\xff\n')
    write.info("two")
    assert [line.text for line in read_log(path)] == ["one", "two"]


def test_following_goes_on_where_the_file_is_put_aside(write, path, tmp_path):
    write.info("one")
    lines = follow_log(path)
    assert next(lines).text == "one"
    assert next(lines) is None
    write.info("two")
    assert next(lines).text == "two"
    path.rename(tmp_path / "run.jsonl.1")
    assert next(lines) is None
    path.write_bytes((tmp_path / "run.jsonl.1").read_bytes().splitlines(True)[0])
    assert next(lines).text == "one"
    lines.close()


def test_following_waits_for_the_rest_of_half_a_line(write, path):
    write.info("one")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:10])
    lines = follow_log(path)
    assert next(lines).text == "one"
    assert next(lines) is None
    with path.open("ab") as file:
        file.write(whole[10:])
    assert next(lines).text == "one"
    lines.close()


def test_a_log_that_is_not_there_is_an_error(path):
    with pytest.raises(FileNotFoundError):
        list(read_log(path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_on_a_full_disk_says_so_once_and_ends_nothing(tmp_path, capsys):
    logger = logging.Logger("test")  # noqa: LOG001 - of this test alone
    path = tmp_path / "run.jsonl"
    handler = file_handler(path)
    path.unlink()
    path.symlink_to("/dev/full")
    logger.addHandler(handler)
    for _ in range(3):
        logger.info("hello")
    assert capsys.readouterr().err.count("No space left on device") == 1
    handler.close()
