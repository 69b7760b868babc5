"""A coordinator and its workers: real processes, started and started again here."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Final

from mlpeft.errors import MlpeftError
from mlpeft.runtime.chaos.processes import ChildProcess, private_environment
from mlpeft.runtime.chaos.proxy import CuttableProxy
from mlpeft.training import checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.config import RunConfig

LISTENS_S: Final = 60.0
"""How long a coordinator may take until it listens."""
STOPPED: Final = 130
"""Exit code of a coordinator that was asked to end."""


class Training:
    """The processes of one run after another.

    Each run has the same configuration and a folder of its own. When one is done the
    next begins; the workers stay.

    Args:
        config: Of the runs.
        workers: Worker processes.
        folder: Private; everything is written here.
    """

    def __init__(self, config: RunConfig, workers: int, folder: Path) -> None:
        self.problems: list[str] = []
        self.runs: list[str] = []
        self.started: list[ChildProcess] = []
        self._config = config
        self._folder = folder
        self._environment = private_environment(folder)
        self._port = _free_port()
        self.proxy = CuttableProxy(self._port)
        self.coordinator = self._first_coordinator()
        self.workers = [self._worker(slot) for slot in range(workers)]

    @property
    def address(self) -> str:
        """The coordinator's, without the proxy."""
        return f"127.0.0.1:{self._port}"

    def run_dir(self, name: str) -> Path:
        """The folder of a run."""
        return self._folder / "checkpoints" / name

    def steps(self, name: str) -> list[int]:
        """Meta-iterations of the run's checkpoints, oldest first."""
        return [int(path.name) for path in checkpoint.step_folders(self.run_dir(name))]

    def has_steps(self) -> bool:
        """Whether the newest run has anything on disk."""
        return bool(self.steps(self.runs[-1]))

    def is_done(self, name: str) -> bool:
        """Whether the run has all its meta-iterations."""
        wanted = self._config.meta_learning.num_meta_iterations
        return self.steps(name)[-1:] == [wanted]

    # --- starting ---------------------------------------------------------------------

    def _start(self, name: str, module: str, arguments: list[str]) -> ChildProcess:
        process = ChildProcess(name, module, arguments, self._environment)
        self.started.append(process)
        return process

    def _first_coordinator(self) -> ChildProcess:
        """The coordinator of the next run."""
        self.runs.append(f"chaos-{len(self.runs) + 1}")
        process = self._coordinator()
        if not process.wait_until_ready(LISTENS_S):
            raise MlpeftError(f"it does not listen: {process.story()}")
        return process

    def _coordinator(self) -> ChildProcess:
        config = self._folder / "chaos.yaml"
        arguments = ["--config", str(config), "--set", f"run.name={self.runs[-1]}"]
        listen = ["--listen", self.address, "--insecure", "--no-discovery"]
        return self._start("coordinator", "coordinator.cli", [*arguments, *listen])

    def _worker(self, slot: int) -> ChildProcess:
        name = f"worker-{slot + 1}"
        address = f"127.0.0.1:{self.proxy.port}"
        arguments = ["--coordinator", address, "--insecure", "--name", name]
        return self._start(name, "worker.cli", arguments)

    def start_coordinator_again(self) -> None:
        """The same command as before."""
        self.coordinator = self._coordinator()

    def start_worker_again(self, slot: int) -> None:
        """Another worker of the same name."""
        self.workers[slot] = self._worker(slot)

    # --- watching ---------------------------------------------------------------------

    def look(self, *, coordinator_may_end: bool, workers_may_end: set[int]) -> None:
        """Begin the next run if one is done; note processes that ended by themselves.

        Args:
            coordinator_may_end: Whether it was struck.
            workers_may_end: Those that were struck, by number.
        """
        if not coordinator_may_end and self.coordinator.exit_code is not None:
            if self.coordinator.exit_code == 0 or self.is_done(self.runs[-1]):
                self.coordinator = self._first_coordinator()
            else:
                self.problems.append(self.coordinator.story())
                self.start_coordinator_again()
        for slot, worker in enumerate(self.workers):
            if slot not in workers_may_end and worker.exit_code is not None:
                self.problems.append(worker.story())
                self.start_worker_again(slot)

    # --- ending -----------------------------------------------------------------------

    def end(self) -> int:
        """Ask all to end; processes that are left although all should be gone."""
        for process in [self.coordinator, *self.workers]:
            if not process.end():
                self.problems.append(f"{process.name} did not end when asked to")
        code = self.coordinator.exit_code
        if code not in (0, STOPPED, -signal.SIGTERM):
            self.problems.append(self.coordinator.story())
        return sum(process.left_behind() for process in self.started)

    def close(self) -> None:
        """End whatever is left, in whatever state."""
        for process in self.started:
            if process.exit_code is None:
                process.kill()
            process.sweep()
        self.proxy.close()


def _free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port
