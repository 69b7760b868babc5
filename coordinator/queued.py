"""A coordinator's turn in a queue, which `mlpeft queue run` started it for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from coordinator.session import EndpointError
from mlpeft.commands.entry import text_of
from mlpeft.errors import MlpeftError
from mlpeft.platform.process import end_with_input
from mlpeft.queue.ending import Ending
from mlpeft.queue.store import Queue
from mlpeft.transport.security.folders import SecurityError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlpeft.training.loop import TrainResult


class Turn:
    """One run's turn. The process ends with the one that runs the queue.

    Args:
        config: The run's configuration, in the queue's folder.
    """

    def __init__(self, config: Path) -> None:
        end_with_input()
        self._queue = Queue(config.parent)
        self._end_file = self._queue.end_file(int(config.stem))
        self.again = f"mlpeft queue run --queue {config.parent}"
        """The command that goes on with the run."""

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Write down what goes wrong, for the process that runs the queue."""
        try:
            yield
        except (EndpointError, SecurityError) as error:
            Ending("failed", str(error), of_machine=True).write(self._end_file)
            raise
        except MlpeftError as error:
            Ending("failed", str(error)).write(self._end_file)
            raise
        except OSError as error:
            Ending("failed", text_of(error)).write(self._end_file)
            raise
        except MemoryError:
            Ending("failed", "not enough memory").write(self._end_file)
            raise

    def done(self, result: TrainResult) -> None:
        """Write down how the run ended."""
        Ending(result.reason).write(self._end_file)

    def following(self) -> str:
        """What comes next, for workers that are told the end of this run."""
        try:
            waiting = self._queue.waiting()
        except MlpeftError:
            return ""
        return f"; run {waiting[0].name} follows" if waiting else "; the queue is empty"
