"""How the status looks, and what counts as a change."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.coordinator.messages import MessageReceived, WorkerJoined
from mlpeft.cluster.overview import Bytes, Overview, RunProgress
from mlpeft.cluster.protocol import Draining, LeaseKey, WorkerId
from mlpeft.cluster.status import LeaseStatus, TransferStatus
from mlpeft.commands.status_view import record, steady, view
from tests.cluster.builders import policy_with

ADA = WorkerId("1")


@pytest.fixture
def overview():
    """A run with the workers ada and bob, who is leaving; seen a second later."""
    state = CoordinatorMachine("s", policy_with())
    state.handle(WorkerJoined(ADA, "ada", "p1", "m1", 1, "M2 Ultra"), 0.0)
    state.handle(WorkerJoined(WorkerId("2"), "bob", "p2", "m2", 1, "M1"), 0.0)
    state.handle(MessageReceived(WorkerId("2"), Draining()), 0.5)
    return Overview(
        run="digits",
        session="s",
        progress=RunProgress(120, 600, 19.4, 24.7, "100: accuracy 62.3 %"),
        stopping=False,
        bytes_moved=Bytes(12_300_000, 999),
        cluster=state.status(1.0),
        bytes_by_worker={ADA: Bytes(12_300, 0)},
    )


def shown(overview, width=160):
    console = Console(file=io.StringIO(), width=width)
    console.print(view(overview, width))
    return console.file.getvalue()


def test_the_first_line_says_how_far_the_run_is(overview):
    assert shown(overview).splitlines()[0].rstrip() == (
        "run digits  120/600  19.4 it/s  0:25 left  "
        "validation after 100: accuracy 62.3 %"
    )


def test_a_run_that_is_being_prepared_has_no_figures_yet(overview):
    first = shown(replace(overview, progress=RunProgress())).splitlines()[0]
    assert first.rstrip() == "run digits"


def test_the_newest_message_of_the_run_is_shown_without_escape_codes(overview):
    said = replace(overview.progress, message="computed vmap\x1b[2J in place of fused")
    text = shown(replace(overview, progress=said))
    assert "computed vmap?[2J in place of fused" in text


def test_transfers_that_take_a_while_are_shown_and_are_no_change(overview):
    ada, bob = overview.cluster.workers
    moving = replace(
        ada,
        sending=TransferStatus(1_230_000, 4_200_000),
        receiving=TransferStatus(5_000, 700_000),
    )
    cluster = replace(overview.cluster, workers=(moving, bob))
    moved = replace(overview, cluster=cluster)
    text = " ".join(shown(moved, 200).split())
    assert "sending theta, 1.2 of 4.2 MB, receiving its update, 5 of 700 kB" in text
    assert record(moved)["workers"][0]["sending"] == {
        "done_bytes": 1_230_000,
        "total_bytes": 4_200_000,
    }
    assert steady(moved) == steady(overview)


def test_each_worker_has_a_line_with_its_state_lag_and_bytes(overview):
    ada, bob = (
        re.split(r"  +", line.strip())
        for line in shown(overview).splitlines()
        if "ada" in line or "bob" in line
    )
    assert ada == [
        *("ada", "M2 Ultra", "idle", "-", "1.0 s", "0", "0", "12.3 kB", "0 B", "-"),
    ]
    assert bob[2:5] == ["leaving", "-", "0.5 s"]


def test_a_quarantined_worker_is_shown_with_the_reason(overview):
    bad = replace(overview.cluster.workers[0], quarantined="3 shards in a row failed")
    text = shown(replace(overview, cluster=replace(overview.cluster, workers=(bad,))))
    assert re.search(r"ada +M2 Ultra +quarantined", text)
    assert "ada is quarantined: 3 shards in a row failed" in text


def test_a_worker_that_is_away_is_shown_with_the_reason(overview):
    used = replace(overview.cluster.workers[0], away="in use", leases=0)
    text = shown(replace(overview, cluster=replace(overview.cluster, workers=(used,))))
    assert re.search(r"ada +M2 Ultra +away", text)
    assert "ada is away: in use" in text


def test_a_lease_is_shown_as_late_and_as_a_backup_beside_who_holds_it(overview):
    """Two processes on one Mac may have one name."""
    lease = LeaseStatus(
        key=LeaseKey("s", 1, 2, 1),
        worker="ada",
        worker_id=WorkerId("2"),
        held_s=9.0,
        tasks_done=1,
        tasks=4,
        stalled_s=5.0,
        left_s=60.0,
        slow=True,
        backup=True,
    )
    ada, bob = overview.cluster.workers
    both = (ada, replace(bob, name="ada"))
    cluster = replace(overview.cluster, workers=both, leases=(lease,))
    text = shown(replace(overview, cluster=cluster), width=200)
    first, second = (line for line in text.splitlines() if line.strip()[:3] == "ada")
    assert "shard 2: 1/4 tasks, 9 s, backup, slow" in second
    assert "shard" not in first


def test_where_there_is_little_room_a_line_is_still_a_line(overview):
    """Eighty columns: each worker's bytes are left out."""
    table = [line for line in shown(overview, 80).splitlines() if "ada" in line]
    assert re.split(r"  +", table[0].strip()) == [
        *("ada", "M2 Ultra", "idle", "-", "1.0 s", "0", "0", "-"),
    ]


def test_at_fifty_columns_words_stay_whole(overview):
    ada, bob = overview.cluster.workers
    lease = LeaseStatus(
        key=LeaseKey("s", 1, 2, 1),
        worker="ada",
        worker_id=ADA,
        held_s=9.0,
        tasks_done=1,
        tasks=4,
        stalled_s=5.0,
        left_s=60.0,
        slow=True,
        backup=False,
    )
    failing = replace(ada, name="ada.local", task_s=0.08, failures=2)
    cluster = replace(overview.cluster, workers=(failing, bob), leases=(lease,))
    lines = shown(replace(overview, cluster=cluster), 50).splitlines()
    assert max(map(len, lines)) <= 50
    row = next(line for line in lines if line.strip().startswith("ada.local "))
    assert row.split() == ["ada.local", "idle", "12.5/s", "0"]
    assert "ada.local: shard 2: 1/4 tasks, 9 s, slow, 2 failed" in " ".join(
        " ".join(lines).split()
    )


def test_speed_is_in_tasks_a_second_and_a_quarantine_has_its_reason(overview):
    worker = replace(
        overview.cluster.workers[0], task_s=0.08, quarantined="it failed at 3 shards"
    )
    cluster = replace(overview.cluster, workers=(worker,))
    text = shown(replace(overview, cluster=cluster))
    row = next(line for line in text.splitlines() if "M2 Ultra" in line)
    assert re.split(r"  +", row.strip())[2:4] == ["quarantined", "12.5/s"]
    assert "ada is quarantined: it failed at 3 shards" in text


def test_what_is_asked_of_the_run_is_said(overview):
    assert "stopping" not in shown(overview)
    assert "ends after the round under way" in shown(replace(overview, stopping=True))


def test_the_last_line_has_the_sums(overview):
    assert shown(overview).splitlines()[-1].rstrip() == (
        "2 connected; theta -; 0 updates counted, 0 refused; 12.3 MB up, 999 B down"
    )
    cluster = replace(overview.cluster, late={"counted": 7, "dropped": 0})
    assert "0 refused; late: 7 counted; 12.3 MB up" in shown(
        replace(overview, cluster=cluster)
    )


def test_a_name_cannot_be_markup_or_steer_the_terminal(overview):
    worker = replace(overview.cluster.workers[0], name="[red]eve\x1b[2J")
    cluster = replace(overview.cluster, workers=(worker,), wait="\x1b]0;x\x07 waits")
    text = shown(replace(overview, cluster=cluster))
    assert "[red]eve?[2J" in text
    assert "?]0;x? waits" in text


def test_scripts_get_each_workers_bytes_beside_it(overview):
    line = record(overview)
    assert line["progress"]["iteration"] == 120
    assert line["bytes_moved"] == {"up": 12_300_000, "down": 999}
    assert [worker["bytes_moved"]["up"] for worker in line["workers"]] == [12_300, 0]


def test_ages_speeds_and_bytes_are_no_change_but_all_else_is(overview):
    worker = replace(overview.cluster.workers[0], silent_s=9.0)
    later = replace(
        overview,
        progress=replace(overview.progress, per_second=1.0, seconds_left=9.0),
        bytes_moved=Bytes(),
        cluster=replace(
            overview.cluster,
            workers=(worker, *overview.cluster.workers[1:]),
            wait="round 3: computing shard 1 on ada for 7 s",
        ),
    )
    before = replace(
        overview,
        cluster=replace(
            overview.cluster, wait="round 3: computing shard 1 on ada for 8 s"
        ),
    )
    assert steady(later) == steady(before)
    moved = replace(before, progress=replace(before.progress, iteration=121))
    assert steady(moved) != steady(before)
    failed = replace(worker, failures=1)
    cluster = replace(before.cluster, workers=(failed, before.cluster.workers[1]))
    assert steady(replace(before, cluster=cluster)) != steady(before)
