"""kill -9 of a coordinator in the middle of a run, and the same command again.

Real commands: `mlpeft-coordinator` and two `mlpeft-worker` on a run of small rounds
with a checkpoint after each. Seconds from the new start until it listens, both workers
are back, and the first new checkpoint is there; and whether theta ends in the bytes of
a run that nobody killed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import yaml

NAME = "restart"
ROUNDS = 300
KILL_AT = 100
PATIENCE_S = 120.0
CONFIG: dict[str, Any] = {
    "run": {"name": NAME, "seed": 1},
    "meta_learning": {
        "meta_batch_size": 4,
        "num_meta_iterations": ROUNDS,
        "eval_interval": ROUNDS,
        "save_interval": 1,
        "inner_lr": 0.05,
        "outer_lr": 0.5,
        "num_inner_steps": 20,
    },
    "model": {"hidden_dim": 16, "num_layers": 1},
    "evaluation": {"num_val_episodes": 4, "num_inner_steps": 3},
    "compute": {"shard_size": 1, "strategy": "loop"},
    "paths": {"keep_last": 1000},
    "cluster": {"min_workers": 1},
}


class Command:
    """A process whose standard error is read, each line with its time."""

    def __init__(self, module: str, arguments: list[str], folder: Path) -> None:
        self.started = time.perf_counter()
        self.lines: list[tuple[float, str]] = []
        root = Path(__file__).resolve().parents[2]
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(root)},
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 - a pipe was asked for
        for line in self.process.stderr:
            self.lines.append((time.perf_counter(), line.rstrip()))

    def wait_for(self, pattern: str) -> tuple[float, re.Match[str]]:
        """Seconds from the start to the first line with the pattern, and the match."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for at, line in list(self.lines):
                if found := re.search(pattern, line):
                    return at - self.started, found
            time.sleep(0.005)
        text = "\n".join(line for _, line in self.lines)
        raise TimeoutError(f"no {pattern!r} in:\n{text}")


def steps(folder: Path) -> list[Path]:
    """Checkpoints of the run, oldest first."""
    return sorted((folder / "checkpoints" / NAME / "steps").glob("[0-9]*"))


def wait_for_step(folder: Path, least: int) -> float:
    """When a checkpoint of so many meta-iterations was seen."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = steps(folder)
        if found and int(found[-1].name) >= least:
            return time.perf_counter()
        time.sleep(0.005)
    raise TimeoutError(f"no checkpoint of {least} meta-iterations in {folder}")


def theta(folder: Path) -> bytes:
    """Of the last checkpoint."""
    return (steps(folder)[-1] / "theta.safetensors").read_bytes()


def measure() -> dict[str, Any]:
    """One kill and restart."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for folder in (root / "serial", root / "cluster"):
            folder.mkdir()
            (folder / "run.yaml").write_text(yaml.safe_dump(CONFIG))
        serial = Command("mlpeft.cli", ["train", "--config=run.yaml"], root / "serial")
        if serial.process.wait(timeout=PATIENCE_S):
            raise RuntimeError("\n".join(line for _, line in serial.lines))
        row = kill_and_restart(root / "cluster")
        row["same_bytes"] = theta(root / "serial") == theta(root / "cluster")
        return row


def kill_and_restart(folder: Path) -> dict[str, Any]:
    """The kill and the restart, without the comparison."""
    config = ["--config=run.yaml"]
    running = [
        first := Command("coordinator.cli", [*config, "--listen=127.0.0.1:0"], folder)
    ]
    try:
        address = first.wait_for(r"listening on (\S+): ")[1].group(1)
        for worker in ("ada", "bob"):
            arguments = ["--coordinator", address, "--name", worker, "--once"]
            running.append(Command("worker.cli", arguments, folder))
        wait_for_step(folder, KILL_AT)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        saved = int(steps(folder)[-1].name)
        again = Command(
            "coordinator.cli", [*config, f"--listen={address}", "--resume"], folder
        )
        running.append(again)
        row = {
            "killed_after": saved,
            "listening_s": again.wait_for("listening on")[0],
            "workers_back_s": again.wait_for(r"\(2 connected\)")[0],
            "next_checkpoint_s": wait_for_step(folder, saved + 1) - again.started,
        }
        again.process.wait(timeout=PATIENCE_S)
        return row
    finally:
        for command in running:
            if command.process.poll() is None and command is not running[0]:
                try:
                    command.process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    command.process.kill()
            command.process.kill()
            command.process.wait()
