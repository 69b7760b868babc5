"""`mlpeft status --watch` as a full screen."""

import time

import pytest
from rich.console import Console

from mlpeft.commands.status_screen import screen
from mlpeft.dashboard.sampling import ClusterHistory
from tests.dashboard.staged import lab, overview, worker


def shown(source, width=120, height=24, gone=""):
    history = ClusterHistory()
    history.last = source.shown
    history.timeline = source.timeline
    history.departures.extend(source.departures)
    console = Console(width=width, height=height, color_system=None)
    with console.capture() as captured:
        console.print(screen(history, width, height, time.time(), gone))
    return captured.get().splitlines()


def test_the_screen_has_run_question_workers_lanes_and_departures():
    lines = shown(lab())
    text = "\n".join(lines)
    assert lines[0].startswith("mlpeft  intents   running   412/1,000")
    assert "a backup of shard 6 runs on mac-02" in text
    names = [line.split()[1] for line in lines[3:] if " mac-0" in line]
    assert names[:3] == ["mac-08", "mac-07", "mac-03"]
    assert "█" in text
    assert "▓" in text
    assert "mac-09 left" in text


@pytest.mark.parametrize(("width", "height"), [(140, 30), (80, 24), (40, 12)])
def test_the_screen_fits_the_terminal(width, height):
    lines = shown(lab(200), width, height)
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert len(lines) <= height + 2
        assert any("workers more" in line for line in lines)


def test_control_codes_of_a_worker_are_not_printed():
    source = lab()
    source.shown = overview([worker("a\x1b[2Jda", quarantined="\x1b[31m")])
    assert "\x1b" not in "\n".join(shown(source))


def test_a_coordinator_that_is_gone_is_said_above_what_was_seen():
    lines = shown(lab(), gone="no coordinator answers at head:1 for 3 s")
    assert "this was seen last" in lines[2]
