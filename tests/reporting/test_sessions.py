"""What a run was computed on, and by which command."""

import json

from mlpeft.config import RunConfig
from mlpeft.reporting.sessions import FILE_NAME, SessionReporter


def test_each_session_has_its_start_and_end(tmp_path):
    for first in (0, 5):
        reporter = SessionReporter()
        reporter.start(RunConfig(), tmp_path, first)
        reporter.iteration(first + 5, {})
        reporter.close()
        reporter.close()
    lines = [json.loads(x) for x in (tmp_path / FILE_NAME).read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 5, 5, 10]
    assert {"started", "command", "versions", "device", "system"} <= set(lines[0])
    assert lines[1]["ended"] >= lines[0]["started"]


def test_a_folder_that_cannot_be_written_does_not_end_the_run(tmp_path, caplog):
    reporter = SessionReporter()
    reporter.start(RunConfig(), tmp_path / "gone", 0)
    reporter.close()
    assert "cannot write" in caplog.text
