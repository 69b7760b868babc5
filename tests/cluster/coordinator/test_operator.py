"""What an operator may ask of the coordinator: pause, resume, drain."""

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.messages import Announce
from mlpeft.cluster.protocol import WorkerId
from tests.cluster.builders import granted, key, of_type

ADA, BOB = WorkerId("ada-id"), WorkerId("bob-id")


def test_a_pause_lets_shards_in_hand_finish_and_begins_no_others(machine):
    machine.join("ada")
    machine.open(shards=2)
    (said,) = machine(cm.PauseRequested("lunch"))
    assert said.text == "paused: lunch; leased shards are finished, no others start"
    assert machine(cm.PauseRequested("again")) == []
    assert granted(machine.update("ada", 0)) == []
    status = machine.state.status(0)
    assert (status.paused, status.shards_in) == ("lunch", 1)
    assert status.wait == (
        "round 1: paused (lunch); continue with `mlpeft resume`; 1 of 2 shards are in; "
        "waiting shard 1: paused"
    )
    assert granted(machine(cm.ResumeRequested())) == [(ADA, key(1))]
    assert machine.state.status(0).paused == ""
    assert machine(cm.ResumeRequested()) == []


def test_a_pause_outlasts_the_round_and_holds_the_next(machine):
    machine.join("ada")
    machine.open(shards=1)
    machine(cm.PauseRequested("lunch"))
    assert of_type(machine.update("ada", 0), cm.CompleteRound)
    assert machine.state.status(0).wait.startswith("no round is open; paused (lunch)")
    assert granted(machine.open(shards=1, version=1)) == []
    assert granted(machine.join("bob")) == []
    assert len(granted(machine(cm.ResumeRequested()))) == 1


def test_a_shard_that_is_lost_while_paused_waits_for_the_end_of_the_pause(machine):
    machine.join("ada")
    machine.open(shards=1)
    machine.join("bob")
    machine(cm.PauseRequested("lunch"))
    assert granted(machine(cm.WorkerLeft(ADA, "killed"))) == []
    assert granted(machine(cm.ResumeRequested())) == [(BOB, key(0, attempt=2))]


def test_a_drained_worker_finishes_its_shard_and_gets_no_other(machine):
    machine.join("ada")
    machine.join("bob")
    machine.open(shards=3)
    commands = machine(cm.DrainRequested("ada", "wanted elsewhere"))
    assert of_type(commands, p.Drain) == [cm.Send(ADA, p.Drain("wanted elsewhere"))]
    assert "worker ada is drained" in of_type(commands, Announce)[0].text
    assert machine(cm.DrainRequested("ada", "again")) == []
    assert granted(machine.update("ada", 0)) == []
    assert machine.state.status(0).shards_in == 1
    assert granted(machine.update("bob", 1)) == [(BOB, key(2))]


def test_a_worker_is_drained_by_name_on_all_its_connections_or_by_id_on_one(machine):
    machine.join("ada")
    machine(cm.WorkerJoined(WorkerId("2"), "ada", "another process", "m", 1))
    assert machine.state.named("ada") == (ADA, "2")
    (drained,) = of_type(machine(cm.DrainRequested("2", "old")), p.Drain)
    assert drained.worker == "2"
    (drained,) = of_type(machine(cm.DrainRequested("ada", "old")), p.Drain)
    assert drained.worker == ADA


def test_nobody_of_that_name_changes_nothing(machine):
    machine.join("ada")
    assert machine(cm.DrainRequested("eve", "old")) == []
    assert machine.state.named("eve") == ()


def test_a_drained_process_that_comes_back_over_a_new_line_is_told_again(machine):
    """The line broke before it had heard; a process started anew is not meant."""
    machine.join("ada", process_id="p")
    machine(cm.DrainRequested("ada", "old"))
    machine(cm.WorkerLeft(ADA, "connection lost"))
    again = machine.join("ada", process_id="p")
    assert of_type(again, p.Drain) == [cm.Send(ADA, p.Drain("old"))]
    assert granted(machine.open(shards=1)) == []
    machine(cm.WorkerLeft(ADA, "it ended"))
    assert granted(machine.join("ada", process_id="q")) == [(ADA, key(0))]
