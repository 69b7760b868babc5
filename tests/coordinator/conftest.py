"""Real coordinator and worker processes, watched line by line."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

PATIENCE_S = 50
"""Longest wait for anything; only a failure waits so long."""

CONFIG = {
    "run": {"name": "tiny", "seed": 7},
    "meta_learning": {
        "meta_batch_size": 4,
        "num_meta_iterations": 6,
        "eval_interval": 3,
        "save_interval": 2,
        "inner_lr": 0.05,
        "outer_lr": 0.5,
        "num_inner_steps": 3,
    },
    "task_distribution": {
        "k_shot": 5,
        "query_size": 10,
        "num_train_tasks": 8,
        "num_val_tasks": 4,
    },
    "model": {"backbone": "linear", "hidden_dim": 16, "num_layers": 1},
    "evaluation": {"num_val_episodes": 4, "num_inner_steps": 3},
    "compute": {"shard_size": 1, "strategy": "loop"},
    "logging": {"log_level": "DEBUG"},
}


class Watched:
    """A process whose standard error can be waited for."""

    def __init__(
        self, module: str, arguments: list[str], folder: Path, **environment: str
    ) -> None:
        self.lines: list[str] = []
        self._reading = True
        self._queue: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "OMP_NUM_THREADS": "1",
                "MKL_NUM_THREADS": "1",
                "MLPEFT_CONFIG_DIR": str(folder / "config"),
                "MLPEFT_CACHE_DIR": str(folder / "cache"),
            }
            | environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self._queue.put(line.rstrip())
                if not self._reading:
                    break
        self._queue.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line from here on in which the pattern is found."""
        try:
            while (line := self._queue.get(timeout=PATIENCE_S)) is not None:
                self.lines.append(line)
                if found := re.search(pattern, line):
                    return found
        except queue.Empty:
            pass
        raise AssertionError(f"no {pattern!r} in:\n" + "\n".join(self.lines))

    def stop_reading(self) -> None:
        """Close our end of standard error after the next line, as `head` does."""
        self._reading = False

    def end(self) -> int:
        """Wait for the end; the exit code."""
        code = self.process.wait(timeout=PATIENCE_S)
        self._reader.join(timeout=PATIENCE_S)
        while (line := self._queue.get(timeout=PATIENCE_S)) is not None:
            self.lines.append(line)
        self._queue.put(None)
        return code

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Cluster:
    """Starts processes in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.worker_folder = folder
        self.started: list[Watched] = []
        self.address = ""
        (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))

    def _start(self, module: str, arguments: list[str]) -> Watched:
        watched = Watched(module, arguments, self.folder)
        self.started.append(watched)
        return watched

    def start_coordinator(
        self, *arguments: str, listen: str = "127.0.0.1:0"
    ) -> Watched:
        """A coordinator, whatever becomes of it."""
        config = ["--config", "tiny.yaml", "--listen", listen]
        return self._start("coordinator.cli", [*config, *arguments])

    def coordinator(self, *arguments: str, listen: str = "127.0.0.1:0") -> Watched:
        """A coordinator that listens; `address` is set."""
        watched = self.start_coordinator(*arguments, listen=listen)
        line = watched.wait_for(r"listening on (\S+): ")
        self.address = line.group(1)
        return watched

    def worker(self, name: str, *arguments: str, **environment: str) -> Watched:
        watched = Watched(
            "worker.cli",
            ["--coordinator", self.address, "--name", name, *arguments],
            self.worker_folder,
            **environment,
        )
        self.started.append(watched)
        return watched

    def seeking_worker(self, name: str, *arguments: str) -> Watched:
        """A worker that is told no address."""
        return self._start("worker.cli", ["--name", name, *arguments])

    def theta(self, iteration: int = 6) -> bytes:
        """The bytes of theta in a checkpoint."""
        return (self.step(iteration) / "theta.safetensors").read_bytes()

    def step(self, iteration: int) -> Path:
        """The folder of a checkpoint."""
        return self.folder / "checkpoints" / "tiny" / "steps" / f"{iteration:08d}"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    for watched in made.started:
        if watched.process.poll() is None:
            watched.signal(signal.SIGKILL)
        watched.process.wait(timeout=PATIENCE_S)


@pytest.fixture(scope="session")
def serial_theta(tmp_path_factory: pytest.TempPathFactory):
    """Theta of the tiny run in one process, by its overrides."""
    from mlpeft.config import RunConfig
    from mlpeft.training.loop import train

    made: dict[tuple[str, ...], bytes] = {}

    def serial(*overrides: str) -> bytes:
        if overrides not in made:
            folder = tmp_path_factory.mktemp("serial")
            plain = [text.removeprefix("--set=") for text in overrides]
            plain.append(f"paths.checkpoint_dir={folder}")
            result = train(RunConfig.from_dict(CONFIG, plain))
            step = result.run_dir / "steps" / f"{result.iteration:08d}"
            made[overrides] = (step / "theta.safetensors").read_bytes()
        return made[overrides]

    return serial
