"""What the two commands refuse, and what they say about it."""

import json
import os
import signal
import socket
import subprocess
import sys

from mlpeft.commands.doctor import doctor


def test_off_loopback_a_coordinator_refuses_to_start_without_security(cluster):
    refused = cluster.start_coordinator(listen="0.0.0.0:0")
    assert refused.end() == 2
    assert "0.0.0.0 can be reached from other machines" in refused.text
    assert "mlpeft-coordinator init" in refused.text
    assert "listening" not in refused.text


def test_insecure_lets_it_start_and_says_so_loudly(cluster):
    coordinator = cluster.start_coordinator("--insecure", listen="0.0.0.0:0")
    coordinator.wait_for("INSECURE: whoever can reach 0.0.0.0 can read and change")
    coordinator.wait_for("listening on")
    coordinator.process.terminate()
    assert coordinator.end() == 130, coordinator.text


def test_off_loopback_a_worker_says_nothing_in_the_clear(cluster):
    """192.0.2.1 is nobody's: the worker does not even dial."""
    cluster.address = "192.0.2.1:50051"
    worker = cluster.worker("ada")
    assert worker.end() == 2
    assert "mlpeft-worker join TOKEN" in worker.text


def test_a_taken_port_is_one_clear_message(cluster):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = cluster.start_coordinator(listen=f"127.0.0.1:{port}")
        assert refused.end() == 2
    assert f"cannot listen on 127.0.0.1:{port}" in refused.text
    assert "Traceback" not in refused.text


def test_a_missing_configuration_is_one_clear_message(cluster):
    (cluster.folder / "tiny.yaml").unlink()
    refused = cluster.start_coordinator()
    assert refused.end() == 2
    assert f"no configuration file at {cluster.folder / 'tiny.yaml'}" in refused.text


def test_a_second_coordinator_on_a_run_is_refused_before_it_listens(cluster):
    """Else workers would join it, and be sent away again."""
    first = cluster.coordinator()
    second = cluster.start_coordinator()
    assert second.end() == 2
    assert f"in use by process {first.process.pid}" in second.text
    assert "listening" not in second.text
    first.signal(signal.SIGTERM)
    assert first.end() == 130


def test_a_run_folder_that_cannot_be_written_is_refused_before_anything(cluster):
    (cluster.folder / "checkpoints").write_text("a file where the folder should be")
    refused = cluster.start_coordinator()
    assert refused.end() == 2
    assert "cannot write" in refused.text
    assert "choose" in refused.text or "put that right" in refused.text
    assert "listening" not in refused.text


def test_a_worker_takes_only_an_address(cluster):
    cluster.address = "nonsense"
    worker = cluster.worker("ada")
    assert worker.end() == 2
    assert "--coordinator: expected host:port" in worker.text


def test_a_worker_says_what_it_waits_for_and_can_be_stopped(cluster):
    cluster.address = "127.0.0.1:9"
    worker = cluster.worker("ada")
    worker.wait_for(
        "waiting for the coordinator: no coordinator answers at 127.0.0.1:9"
    )
    worker.process.terminate()
    assert worker.end() == 0
    assert "stopped by SIGTERM" in worker.text


def test_a_worker_does_not_import_what_the_run_names_unless_allowed(cluster):
    """Code does not travel, and neither does the permission to import it."""
    (cluster.folder / "my_models.py").write_text(
        "from mlpeft.models.mlp import SimpleClassifier\n"
        "def tiny(input_shape, num_outputs):\n"
        "    return SimpleClassifier(2, 8, 2)\n"
    )
    coordinator = cluster.start_coordinator("--set=model.backbone=my_models:tiny")
    coordinator.wait_for("listening on")
    cluster.address = coordinator.lines[-1].rpartition(" ")[2]
    refused = cluster.worker("eve")
    assert refused.end() == 2
    assert "my_models" in refused.text
    assert "--allow-module" in refused.text
    cluster.worker("ada", "--allow-module", "my_models")
    assert coordinator.end() == 0, coordinator.text


def test_scripts_get_the_end_of_a_run_as_json(cluster):
    """On standard output, where nothing else is."""
    words = ["--config", "tiny.yaml", "--listen", "127.0.0.1:0", "--local-workers", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", *words, "--json"],
        cwd=cluster.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    record = json.loads(done.stdout)
    assert (record["iteration"], record["reason"]) == (6, "done")
    assert record["run_dir"] == "checkpoints/tiny"
    assert "it/s" not in done.stderr


def test_the_doctor_finds_a_coordinator_well(cluster, capsys, monkeypatch):
    monkeypatch.setenv("MLPEFT_CONFIG_DIR", str(cluster.folder / "config"))
    cluster.coordinator()
    doctor(coordinator=cluster.address, json_output=True)
    said = json.loads(capsys.readouterr().out)
    assert said["ok"]
    found = {check["name"]: check["status"] for check in said["checks"]}
    for name in ("reach", "coordinator", "versions", "clock"):
        assert found[name] == "ok"
