"""The log of a run: what is in it, and that it is let go of."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, MlpeftError
from mlpeft.reporting.log_file import LogReporter
from mlpeft.reporting.log_lines import read_log


def configured(folder: Path, level: str = "INFO") -> RunConfig:
    logs = {"log_dir": str(folder), "log_level": level}
    return RunConfig.from_dict({"logging": logs})


def test_it_holds_messages_and_what_mlpeft_logs_while_the_run_lasts(tmp_path):
    config = configured(tmp_path / "logs")
    logger = logging.getLogger("mlpeft.meta")
    reporter = LogReporter(config)
    logger.warning("before")
    reporter.start(config, tmp_path, 7)
    reporter.message("stopping early")
    logger.warning("a fallback")
    reporter.close()
    logger.warning("after")
    lines = list(read_log(tmp_path / "logs" / "run.jsonl"))
    assert {line.context["run"] for line in lines} == {"run"}
    assert [line.text for line in lines] == [
        f"started in {tmp_path} from meta-iteration 7",
        "stopping early",
        "a fallback",
        "ended after meta-iteration 7 of 1000",
    ]


def test_it_holds_what_ended_a_run(tmp_path):
    """The terminal of a weekend's run may be gone on Monday."""
    reporter = LogReporter(configured(tmp_path))
    reporter.start(configured(tmp_path), tmp_path, 0)
    reporter.iteration(3, {})
    with pytest.raises(MlpeftError), contextlib.closing(reporter):
        raise MlpeftError("shard 2 failed on ada and bob")
    reporter.close()
    *_, last = read_log(tmp_path / "run.jsonl")
    assert (last.level, last.context["iteration"]) == ("ERROR", 3)
    assert last.text == (
        "ended after meta-iteration 3 of 1000: shard 2 failed on ada and bob"
    )


def test_a_second_run_of_the_name_is_added(tmp_path):
    config = configured(tmp_path)
    for _ in range(2):
        reporter = LogReporter(config)
        reporter.start(config, tmp_path, 0)
        reporter.close()
    lines = [line.text for line in read_log(tmp_path / "run.jsonl")]
    assert lines == [
        f"started in {tmp_path} from meta-iteration 0",
        "ended after meta-iteration 0 of 1000",
        f"started in {tmp_path} from meta-iteration 0",
        "ended after meta-iteration 0 of 1000",
    ]


@pytest.mark.parametrize(("level", "lines"), [("DEBUG", 1), ("INFO", 0)])
def test_checkpoints_are_noted_for_those_who_ask(tmp_path, level, lines):
    reporter = LogReporter(configured(tmp_path, level))
    reporter.checkpoint(5, tmp_path / "steps" / "5")
    reporter.close()
    found = list(read_log(tmp_path / "run.jsonl"))
    assert len(found) == lines
    assert all(line.context["iteration"] == 5 for line in found)


def test_a_folder_that_cannot_be_is_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"logging\.log_dir: cannot write"):
        LogReporter(configured(tmp_path / "file"))
