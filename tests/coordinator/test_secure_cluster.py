"""The whole way with real processes: init, join, run under certificates, revoke."""

import os
import subprocess
import sys
from pathlib import Path

from mlpeft.runtime.worker.enrol import enrol
from mlpeft.transport.security.authority import Authority

SLOW = "--set=meta_learning.num_inner_steps=120"
ANY_PORT = "--set=cluster.join_port=0"


def command(cluster, module, *arguments):
    """Run a command to its end; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cluster.folder,
        env=os.environ | {"MLPEFT_CONFIG_DIR": str(cluster.folder / "config")},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ANSWER = r"taking joins on (\S+): "


def test_two_workers_under_certificates_end_in_the_bytes_of_one_process(
    cluster, serial_theta
):
    """Only the commands that a lab would type."""
    token = command(cluster, "coordinator.cli", "init", "--name", "127.0.0.1")
    folder = str(cluster.folder / "config" / "coordinator")
    coordinator = cluster.coordinator(
        ANY_PORT, "--security", folder, "--set=cluster.min_workers=2"
    )
    joins = coordinator.wait_for(ANSWER).group(1)
    workers = []
    for name in ("ada", "bob"):
        options = ("--name", name, "--address", joins, "--identity", name)
        command(cluster, "worker.cli", "join", token, *options)
        workers.append(cluster.worker(name, "--once", "--identity", name))
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta()
    for worker in workers:
        assert worker.end() == 0, worker.text
        assert "run over: run tiny: done" in worker.text
    records = Authority(Path(folder)).workers()
    assert [(record.name, record.role) for record in records] == [
        ("operator", "operator"),  # the head node's own
        ("ada", "worker"),
        ("bob", "worker"),
    ]


def test_a_worker_revoked_in_mid_run_is_shut_out_and_changes_no_bytes(
    cluster, serial_theta
):
    """It held a lease; the shard is run by a worker in the coordinator's process.

    The configuration names no port for joins: it is the folder's.
    """
    authority = Authority.create(cluster.folder / "ca", ["127.0.0.1"], join_port=0)
    coordinator = cluster.coordinator(
        *(SLOW, "--set=cluster.min_workers=2"),
        *("--security", "ca", "--local-workers", "1"),
    )
    joins = coordinator.wait_for(ANSWER).group(1)
    assert not joins.endswith(":50052")
    token = authority.new_token(joins)
    enrol(token, cluster.folder / "eve", "eve")
    eve = cluster.worker("eve", "--identity", "eve")
    coordinator.wait_for("leased to eve")
    authority.revoke("eve")
    coordinator.wait_for("worker eve left: it is shut out: .* was revoked")
    assert eve.end() == 2, eve.text
    assert "the certificate of eve was revoked" in eve.text
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta(SLOW)
