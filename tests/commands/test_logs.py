"""`mlpeft logs`."""

import json
import logging
import os

import pytest

from mlpeft.commands import logs as command
from mlpeft.commands.logs import logs
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, DataError
from mlpeft.reporting.log_lines import file_handler


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, *lines):
    """Lines of (level, text, worker)."""
    handler = file_handler(path)
    logger = logging.Logger("mlpeft.coordinator")  # noqa: LOG001 - the test's own
    logger.addHandler(handler)
    for level, text, worker in lines:
        logger.log(level, text, extra={"worker": worker} if worker else None)
    handler.close()


def some(path):
    write(
        path,
        (logging.INFO, "worker ada joined", "ada"),
        (logging.INFO, "round 1", None),
        (logging.WARNING, "worker bob left", "bob"),
    )


def test_without_a_name_the_newest_log_is_shown(here, capsys):
    for age, name in enumerate(("new", "old")):
        write(here / "logs" / f"{name}.jsonl", (logging.INFO, name, None))
        os.utime(here / "logs" / f"{name}.jsonl", (1000 - age, 1000 - age))
    logs()
    assert capsys.readouterr().out.split()[-1] == "new"


def test_a_line_has_its_time_and_level(here, capsys):
    some(here / "logs" / "digits.jsonl")
    logs("digits")
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3
    assert shown[2].endswith(" WARNING worker bob left")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"level": "warning"}, ["worker bob left"]),
        ({"worker": "ada"}, ["worker ada joined"]),
        ({"worker": "ada", "level": "WARNING"}, []),
        ({"last": 2}, ["round 1", "worker bob left"]),
        ({"last": 0}, ["worker ada joined", "round 1", "worker bob left"]),
    ],
)
def test_lines_can_be_chosen(here, capsys, options, expected):
    some(here / "run.jsonl")
    logs("run.jsonl", json_output=True, **options)
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in shown] == expected


def test_a_runs_folder_leads_to_its_log(here, capsys):
    config = RunConfig.from_dict(
        {"run": {"name": "digits"}, "logging": {"log_dir": str(here / "elsewhere")}}
    )
    (here / "folder").mkdir()
    (here / "folder" / "config.yaml").write_text(config.to_yaml())
    some(here / "elsewhere" / "digits.jsonl")
    logs("folder")
    assert "worker ada joined" in capsys.readouterr().out


def test_following_shows_what_is_added_until_ctrl_c(here, capsys, monkeypatch):
    """While it sleeps, a line is added; the second time, somebody presses Ctrl-C."""
    path = here / "run.jsonl"
    some(path)
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt
        write(path, (logging.INFO, "added", "ada"), (logging.INFO, "other", "bob"))

    monkeypatch.setattr(command.time, "sleep", nap)
    logs(str(path), follow=True, worker="ada")
    shown = capsys.readouterr().out
    assert shown.index("worker ada joined") < shown.index("added")
    assert "other" not in shown


def test_nothing_that_a_worker_says_steers_the_terminal(here, capsys):
    write(here / "run.jsonl", (logging.INFO, "\x1b[2J[red]bad", "eve"))
    logs("run.jsonl")
    assert "?[2J[red]bad" in capsys.readouterr().out


def test_a_log_that_is_not_there_is_named(here):
    with pytest.raises(DataError, match=r"no log in .*logs; name a run's folder"):
        logs()
    with pytest.raises(DataError, match=r"no log at .*logs/digits\.jsonl; give"):
        logs("digits")
    with pytest.raises(ConfigError, match="--level loud: expected one of DEBUG"):
        logs(level="loud")
