"""metrics.jsonl: every line there, valid JSON, and right again after a crash."""

from __future__ import annotations

import json
import math
from pathlib import Path

from mlpeft.reporting import JsonlReporter, read_records, truncate_after
from mlpeft.results import EvalResult
from tests.reporting.conftest import Clock


def write_run(path: Path, iterations: range) -> None:
    lines = [json.dumps({"kind": "train", "iteration": i}) + "\n" for i in iterations]
    path.write_text("".join(lines))


def iterations(path: Path) -> list[int]:
    return [record["iteration"] for record in read_records(path)]


def test_a_run_is_written_as_it_was_told(tmp_path: Path, config, clock, result) -> None:
    reporter = JsonlReporter(clock)
    reporter.start(config, tmp_path, 0)
    reporter.iteration(1, {"support_loss": 0.5, "outer_lr": 0.1})
    reporter.validation(1, result)
    reporter.close()
    train, validate = read_records(tmp_path / "metrics.jsonl")
    assert train == {
        "kind": "train",
        "iteration": 1,
        "support_loss": 0.5,
        "outer_lr": 0.1,
        "time": 1000.0,
    }
    assert validate["kind"] == "validate"
    assert EvalResult.from_dict(validate) == result


def test_lines_are_gathered_and_written_each_second(
    tmp_path: Path, config, clock
) -> None:
    path = tmp_path / "metrics.jsonl"
    reporter = JsonlReporter(monotonic=clock)
    reporter.start(config, tmp_path, 0)
    for i in range(1, 100):
        reporter.iteration(i, {"support_loss": 0.5})
    assert iterations(path) == []
    clock.now += 1.0
    reporter.iteration(100, {"support_loss": 0.5})
    assert iterations(path) == list(range(1, 101))
    reporter.close()


def test_at_a_checkpoint_everything_before_it_is_on_disk(
    tmp_path: Path, config, clock
) -> None:
    reporter = JsonlReporter(clock)
    reporter.start(config, tmp_path, 0)
    reporter.iteration(1, {"support_loss": 0.5})
    reporter.checkpoint(1, tmp_path / "checkpoint")
    assert iterations(tmp_path / "metrics.jsonl") == [1]
    reporter.close()


def test_a_number_that_is_not_finite_is_null(tmp_path: Path, config, clock) -> None:
    reporter = JsonlReporter(clock)
    reporter.start(config, tmp_path, 0)
    reporter.iteration(1, {"support_loss": math.nan, "query_loss": math.inf})
    reporter.close()
    (record,) = read_records(tmp_path / "metrics.jsonl")
    assert record["support_loss"] is None
    assert record["query_loss"] is None


def test_a_resumed_run_goes_on_where_its_checkpoint_was(
    tmp_path: Path, config, clock
) -> None:
    """Killed at 45 in mid-line, resumed from 30: 1 to 30, then 31, nothing twice."""
    path = tmp_path / "metrics.jsonl"
    write_run(path, range(1, 46))
    with path.open("a") as file:
        file.write('{"kind": "train", "itera')
    reporter = JsonlReporter(clock)
    reporter.start(config, tmp_path, 30)
    reporter.iteration(31, {"support_loss": 0.5})
    reporter.close()
    assert iterations(path) == list(range(1, 32))


def test_a_fresh_run_in_an_old_folder_starts_a_fresh_file(
    tmp_path: Path, config, clock
) -> None:
    write_run(tmp_path / "metrics.jsonl", range(5))
    reporter = JsonlReporter(clock)
    reporter.start(config, tmp_path, 0)
    reporter.close()
    assert iterations(tmp_path / "metrics.jsonl") == []


def test_truncating_keeps_the_iteration_itself_and_leaves_no_other_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "metrics.jsonl"
    write_run(path, range(1, 6))
    truncate_after(path, 3)
    assert iterations(path) == [1, 2, 3]
    assert list(tmp_path.iterdir()) == [path]


def test_truncating_a_file_that_is_not_there_does_nothing(tmp_path: Path) -> None:
    truncate_after(tmp_path / "metrics.jsonl", 3)
    assert list(tmp_path.iterdir()) == []


def test_half_a_line_and_other_dirt_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"iteration": 1}\n[1]\n\xff\xfe\n\n{"iteration": 2}\n{"iter')
    assert iterations(path) == [1, 2]


def test_closing_twice_is_harmless(tmp_path: Path, config, clock) -> None:
    reporter = JsonlReporter(clock)
    reporter.start(config, tmp_path, 0)
    reporter.iteration(1, {"support_loss": 0.5})
    reporter.close()
    reporter.close()
    assert iterations(tmp_path / "metrics.jsonl") == [1]


def test_a_clock_that_jumps_back_holds_up_no_line(
    tmp_path: Path, config, clock
) -> None:
    """An hour back on the wall; the second that a line may wait is another clock's."""
    wall = Clock()
    reporter = JsonlReporter(wall, clock)
    reporter.start(config, tmp_path, 0)
    wall.now -= 3600.0
    clock.now += 1.0
    reporter.iteration(1, {"support_loss": 0.5})
    assert iterations(tmp_path / "metrics.jsonl") == [1]
    reporter.close()


class FullFile:
    """A file on a disk that takes so many bytes and no more."""

    name = "metrics.jsonl"

    def __init__(self, room: int) -> None:
        self.room = room
        self.content = b""

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = data[: self.room]
        self.room -= len(taken)
        self.content += taken
        return len(taken)

    def close(self) -> None:
        pass


def test_lines_wait_for_room_on_a_full_disk(
    tmp_path: Path, config, clock, caplog
) -> None:
    """The disk takes one line and a half; the rest comes when there is room."""
    reporter = JsonlReporter(clock)
    reporter.start(config, tmp_path, 0)
    reporter.close()
    reporter._file = file = FullFile(90)
    for i in range(1, 4):
        reporter.iteration(i, {"support_loss": 0.5})
        reporter.checkpoint(i, tmp_path)
    assert len(file.content) == 90
    assert caplog.text.count("No space left on device") == 1
    file.room = 1 << 20
    reporter.checkpoint(3, tmp_path)
    (tmp_path / "metrics.jsonl").write_bytes(file.content)
    assert iterations(tmp_path / "metrics.jsonl") == [1, 2, 3]
    reporter.close()
    assert "lost" not in caplog.text


def test_lines_that_find_no_room_to_the_end_are_counted(
    tmp_path: Path, config, clock, caplog
) -> None:
    reporter = JsonlReporter(clock)
    reporter.start(config, tmp_path, 0)
    reporter.close()
    reporter._file = FullFile(0)
    reporter.iteration(1, {"support_loss": 0.5})
    reporter.close()
    assert "lost 1 lines of metrics.jsonl" in caplog.text
