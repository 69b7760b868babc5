"""From events, snapshots and files to what is shown."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.messages import Announce, Level
from mlpeft.cluster.protocol import (
    Heartbeat,
    Lease,
    LeaseKey,
    LeaseReturn,
    LeaseRevocation,
    Update,
    WorkerId,
)
from mlpeft.cluster.status import TransferStatus
from mlpeft.dashboard import attention, run_folder, view
from mlpeft.dashboard.charts import CHARTS, ChartRequest, draw
from mlpeft.dashboard.curve import MOST_BUCKETS, Curve
from mlpeft.dashboard.log_tail import LogTail
from mlpeft.dashboard.monitor import Monitor
from mlpeft.dashboard.recorder import Recorder
from mlpeft.dashboard.run_folder import RunFolder
from mlpeft.dashboard.sampling import sample
from mlpeft.dashboard.sources import RemoteCoordinator
from mlpeft.dashboard.timeline import MOST_BARS, Timeline
from mlpeft.dashboard.web.broadcast import changes
from mlpeft.errors import DataError
from mlpeft.transport.rpc import status_codec
from tests.dashboard.staged import StagedCluster, lease, overview, worker, write_run

ADA, BOB = WorkerId("ada-1"), WorkerId("bob-1")


def key(shard=0, attempt=1, round_id=1):
    return LeaseKey("s", round_id, shard, attempt)


def granted(to, of):
    return cm.Send(to, Lease(of, 0, None, 10.0))


@pytest.fixture
def clock():
    return iter(range(1000, 2000))


@pytest.fixture
def recorder(clock):
    recorder = Recorder(lambda: float(next(clock)))
    for name in ("ada", "bob"):
        joined = cm.WorkerJoined(
            WorkerId(f"{name}-1"), name, "p", identity="i", slots=1
        )
        recorder(joined, [])
    return recorder


def update(of):
    return Update(of, 0, None)


def test_a_shard_is_a_bar_from_its_lease_to_its_update(recorder):
    recorder(cm.RoundOpened(0, (), {}), [granted(ADA, key())])
    recorder(cm.UpdateMoved(ADA, key(), 1, 2), [])
    recorder(cm.MessageReceived(ADA, update(key())), [])
    (bar,) = recorder.timeline.closed
    assert (bar.start, bar.sending, bar.end) == (1002.0, 1003.0, 1004.0)
    assert (bar.worker, bar.outcome, bar.backup) == (ADA, "in", False)


def test_heartbeats_cost_the_recorder_nothing(recorder):
    number = recorder.timeline.number
    recorder(cm.MessageReceived(ADA, Heartbeat()), [])
    recorder(cm.WorkerExpected("eve", "p"), [])
    assert recorder.timeline.number == number


def test_a_second_lease_of_an_open_shard_is_a_backup_and_a_later_one_is_not(recorder):
    recorder(cm.RoundOpened(0, (), {}), [granted(ADA, key()), granted(BOB, key(0, 2))])
    first, second = recorder.timeline.open.values()
    assert (first.backup, second.backup) == (False, True)
    recorder(
        cm.MessageReceived(BOB, update(key(0, 2))),
        [cm.Send(ADA, LeaseRevocation(key(), "done elsewhere"))],
    )
    assert [bar.outcome for bar in recorder.timeline.closed] == ["in", "revoked"]
    recorder(cm.RoundOpened(0, (), {}), [granted(ADA, key(0, 3))])
    assert not recorder.timeline.open[key(0, 3)].backup


def test_a_refused_update_and_a_failed_shard_are_marked(recorder):
    both = [granted(ADA, key()), granted(BOB, key(1))]
    recorder(cm.RoundOpened(0, (), {}), both)
    refusal = Announce(Level.WARNING, "refused", "ada", key())
    recorder(cm.MessageReceived(ADA, update(key())), [refusal])
    recorder(cm.MessageReceived(BOB, LeaseReturn(key(1), True, "boom")), [])
    assert [bar.outcome for bar in recorder.timeline.closed] == ["refused", "failed"]


def test_a_worker_that_leaves_loses_its_shards_and_is_remembered(recorder):
    recorder(cm.RoundOpened(0, (), {}), [granted(ADA, key()), granted(BOB, key(1))])
    recorder(cm.MessageReceived(ADA, update(key())), [])
    recorder(cm.RoundOpened(0, (), {}), [granted(ADA, key(2))])
    recorder(cm.WorkerLeft(ADA, "the connection broke"), [])
    assert recorder.timeline.closed[-1].outcome == "lost"
    assert list(recorder.timeline.open) == [key(1)]
    (departure,) = recorder.departures
    assert (departure.name, departure.reason) == ("ada", "the connection broke")
    assert departure.done == 1


def test_theta_on_its_way_comes_before_the_computing(recorder):
    recorder(cm.ThetaMoved(ADA, 0, 1, 9), [])
    recorder(cm.RoundOpened(0, (), {}), [granted(ADA, key())])
    assert recorder.timeline.open[key()].computing is None
    recorder(cm.ThetaMoved(ADA, 0, 9, 9), [])
    assert recorder.timeline.open[key()].computing == 1004.0


def test_a_timeline_forgets_the_oldest_bars_and_sends_only_what_changed():
    timeline = Timeline()
    for i in range(MOST_BARS + 5):
        timeline.begin(ADA, key(i), 0.0)
        timeline.end(key(i), 1.0, "in")
    assert len(timeline.closed) == MOST_BARS
    seen = timeline.number
    timeline.begin(ADA, key(99999), 2.0)
    assert [bar.key.shard for bar in timeline.changed_since(seen)] == [99999]
    assert len(list(timeline.changed_since(0))) == MOST_BARS + 1


def test_snapshots_of_another_process_make_a_timeline(tmp_path):
    timeline, ada = Timeline(), worker("ada", leases=1)
    held = lease(ada, 0, held_s=3.0)
    sample(timeline, overview([ada], [held]), 100.0)
    assert timeline.open[held.key].start == 97.0
    receiving = replace(ada, receiving=TransferStatus(1, 2))
    sample(timeline, overview([receiving], [held]), 101.0)
    assert timeline.open[held.key].sending == 101.0
    sample(timeline, overview([ada]), 102.0)
    assert [bar.end for bar in timeline.closed] == [102.0]


def test_a_remote_coordinator_notes_who_left_and_that_it_restarted(monkeypatch):
    remote = RemoteCoordinator(None, None, None, False)
    pictures = iter(
        [
            overview([worker("ada"), worker("bob")]),
            overview([worker("bob")]),
            replace(overview([worker("eve")]), session="another"),
        ]
    )
    monkeypatch.setattr(
        remote, "_ask", lambda *_: status_codec.encode_overview(next(pictures))
    )
    remote.look(0)
    assert [d.name for d in remote.look(0).departures] == ["ada"]
    last = remote.look(0).departures[-1]
    assert (last.name, last.reason) == ("bob", "the coordinator started again")


@pytest.mark.parametrize(
    ("changed", "leases", "level", "words"),
    [
        ({"quarantined": "3 failures"}, [], 4, "gets no shards: 3 failures"),
        ({"silent_s": 6.0}, [], 4, "silent for 6 s"),
        ({"leases": 1}, [{"slow": True, "held_s": 9.0}], 3, "longer than usual: 9 s"),
        ({"draining": True}, [], 2, "leaving"),
        ({"away": "in use"}, [], 0, "away: in use"),
        ({"sending": TransferStatus(1, 2)}, [], 2, "sending theta"),
        ({"leases": 1}, [{}], 1, "shard 0"),
        ({}, [], 0, "done for this round"),
    ],
)
def test_each_state_of_a_worker_has_a_level_and_a_reason(changed, leases, level, words):
    ada = worker("ada", **changed)
    held = [lease(ada, 0, **each) for each in leases]
    found = attention.assess(ada, held, {}, overview([ada], held).cluster)
    assert found.level == level
    assert words in found.reason


def test_the_question_of_the_moment_names_the_backup():
    ada, bob = worker("ada"), worker("bob")
    leases = [lease(ada, 3, slow=True), lease(bob, 3, backup=True)]
    text = attention.question(overview([ada, bob], leases).cluster)
    assert text.endswith("a backup of shard 3 runs on bob")


# --- files ----------------------------------------------------------------------------


def test_a_curve_keeps_means_and_deviations_in_bounded_memory():
    values = np.random.default_rng(0).normal(size=10 * MOST_BUCKETS)
    curve = Curve()
    for i, value in enumerate(values):
        curve.add(i, value)
    curve.add(0, float("nan"))
    series = curve.series("loss", 4)
    assert len(series.x) == 4
    assert curve.count == len(values)
    counted = np.average(series.y)
    assert counted == pytest.approx(values.mean(), abs=0.01)
    width = (np.array(series.high) - np.array(series.low)) / 2
    assert width == pytest.approx(1.0, abs=0.05)


def test_a_run_folder_is_read_step_by_step_and_anew_after_a_resume(tmp_path):
    path = write_run(tmp_path / "run", 40, 10)
    folder = RunFolder(path)
    assert folder.read()
    assert (folder.measured.iteration, len(folder.measured.validations)) == (40, 5)
    assert not folder.read()
    with (path / "metrics.jsonl").open("a") as file:
        file.write(
            '{"kind": "train", "iteration": 41, "query_loss": 0.5, "time": 9e9}\n'
        )
        file.write('{"kind": "train", "iteration": 42')
    assert folder.read()
    assert folder.measured.iteration == 41
    assert folder.measured.loss()[1].last == 0.5
    (path / "new").write_text('{"kind": "train", "iteration": 3, "query_loss": 2.0}\n')
    (path / "new").replace(path / "metrics.jsonl")
    folder.read()
    assert (folder.measured.iteration, folder.measured.validations) == (3, [])


def test_a_large_file_is_sampled_with_all_its_validations(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "WHOLE_BYTES", 10_000)
    monkeypatch.setattr(run_folder, "SAMPLES", 50)
    folder = RunFolder(write_run(tmp_path / "run", 2000, 100))
    folder.read()
    assert len(folder.measured.validations) == 21
    assert folder.measured.iteration == 2000
    assert folder.measured.loss()[1].count < 150


def test_no_folder_is_an_error_in_words(tmp_path):
    with pytest.raises(DataError, match="give a run's folder"):
        RunFolder(tmp_path / "none")


def test_damaged_files_of_a_run_are_left_out(tmp_path):
    (tmp_path / "config.yaml").write_text("run: [")
    (tmp_path / "metrics.jsonl").write_bytes(
        b'\xff\n{"kind": 3}\n[1]\n{"kind": "validate", "iteration": 1}\n'
        b'{"kind": "train", "iteration": "x"}\n{"kind":"train","iteration":1}\n'
    )
    folder = RunFolder(tmp_path)
    folder.read()
    assert folder.config is None
    shown = Monitor(None, [folder]).look(whole=True)
    assert shown["run"]["iteration"] == 1
    for name in CHARTS:
        assert "Nothing" in draw(
            ChartRequest(name), [folder]
        ) or "No validation" in draw(ChartRequest(name), [folder])


def test_several_runs_are_drawn_in_one_chart_and_listed(tmp_path):
    folders = [
        RunFolder(write_run(tmp_path / n, 60, 20, s)) for s, n in enumerate("ab")
    ]
    shown = Monitor(None, folders).look(whole=True)
    assert [row["name"] for row in shown["runs"]] == ["a", "b"]
    for name in CHARTS:
        picture = draw(ChartRequest(name), folders)
        assert ">a" in picture
        assert ">b" in picture


def test_a_finished_run_of_a_dead_process_is_done(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", 60, 20))
    (folder.path / "lock").write_text("process 999999999")
    folder.read()
    run = view.run_of_folder(folder, 0.0)
    assert run["state"] == "done"
    (folder.path / "lock").write_text(f"process {os.getpid()}")
    assert view.run_of_folder(folder, 0.0)["state"] == "running"


def test_what_a_power_failure_would_cost_is_said(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", 60, 20))
    folder.read()
    picture = overview([worker("ada")], progress=overview().progress)
    risk = view.run_of_cluster(picture, folder, 9e9)["checkpoint"]["risk"]
    assert risk.startswith("a power failure now would cost 364 meta-iterations")


def test_a_log_is_read_from_near_its_end_and_followed(tmp_path):
    path = tmp_path / "run.jsonl"
    tail = LogTail(path)
    tail.read()
    lines = [
        json.dumps(
            {
                "time": i,
                "level": "INFO",
                "logger": "x",
                "text": "t" * 900,
                "worker": "ada",
            }
        )
        for i in range(1000)
    ]
    path.write_text("\n".join(lines) + "\n" + lines[0][:50])
    tail.read()
    assert 100 < len(tail.lines) < 400
    assert tail.lines[-1]["time"] == 999
    assert (tail.lines[-1]["worker"], len(tail.lines[-1]["text"])) == ("ada", 600)
    with path.open("a") as file:
        file.write(lines[0][50:] + "\n")
    tail.read()
    assert tail.lines[-1]["time"] == 0
    path.write_text(lines[5] + "\n")
    tail.read()
    assert tail.lines[-1]["time"] == 5


def test_only_what_changed_is_sent():
    last = {}
    shown = {"run": {"a": 1}, "bars": [], "workers": {"x": {"n": 1}, "y": {"n": 1}}}
    assert changes(shown, last) == shown
    assert changes(shown, last) == {}
    shown = {"run": {"a": 2}, "bars": [], "workers": {"x": {"n": 2}}}
    assert changes(shown, last) == {
        "run": {"a": 2},
        "workers": {"x": {"n": 2}, "y": None},
    }


def test_a_monitor_gives_bars_and_lines_once_to_those_who_follow():
    source = StagedCluster(overview([worker("ada")]))
    source.timeline.begin(WorkerId("ada-1"), key(), 1.0)
    monitor = Monitor(source)
    assert len(monitor.look(whole=False)["bars"]) == 1
    assert monitor.look(whole=False)["bars"] == []
    assert len(monitor.look(whole=True)["bars"]) == 1
