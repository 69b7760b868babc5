"""The one thread that computes: it embeds the texts of waiting requests together.

Encoder and arrays of MLX live in this thread alone. Whatever else a request takes, a
head's product and softmax, is NumPy and small.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mlpeft.errors import MlpeftError
from mlpeft.platform import wait_for_thread_end

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from mlpeft.serving.encoders import Encoder

T = TypeVar("T")
BATCH_TEXTS: Final = 128
"""Texts from which on no more requests join a batch: those in it would wait longer."""


class BusyError(MlpeftError):
    """More texts wait than may."""


class StoppedError(MlpeftError):
    """The server is stopping."""

    def __init__(self) -> None:
        super().__init__("the server is stopping; send it to another one, or later")


@dataclass(slots=True, eq=False)
class _Job:
    """What waits: texts for an encoder, or a function to call."""

    encoder: Encoder | None = None
    texts: Sequence[str] = ()
    function: Callable[[], Any] = lambda: None
    future: Future[Any] = field(default_factory=Future)


class ComputeThread:
    """Embeds texts in the order of their coming, those of one encoder together.

    Args:
        most_waiting: Texts that may wait.
        observe: Called after each batch with its requests, texts and seconds.
    """

    def __init__(
        self,
        most_waiting: int,
        observe: Callable[[int, int, float], None] = lambda *_: None,
    ) -> None:
        self._most_waiting = most_waiting
        self._observe = observe
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._waiting = 0
        self._closing = False
        self._native_id: int | None = None
        self._thread = threading.Thread(
            target=self._run, name="mlpeft-compute", daemon=True
        )
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Texts that wait."""
        return self._waiting

    def embed(
        self, encoder: Encoder, texts: Sequence[str], *, bounded: bool = True
    ) -> Future[np.ndarray]:
        """(n, dims) unit vectors of texts, in their order.

        Args:
            encoder: Embeds them.
            texts: Any number.
            bounded: Whether they are refused if too many wait.

        Raises:
            BusyError: If too many texts wait.
            StoppedError: After `close`.
        """
        if (
            bounded
            and self._waiting
            and self._waiting + len(texts) > self._most_waiting
        ):
            raise BusyError(
                f"{self._waiting} texts wait and {len(texts)} more came, expected at "
                f"most {self._most_waiting}"
            )
        return self._put(_Job(encoder, texts))

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Call a function in the thread.

        Raises:
            StoppedError: After `close`.
        """
        return self._put(_Job(function=function))

    def close(self) -> None:
        """Drop what waits, finish what runs, end the thread. May be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        if self._native_id is not None:
            wait_for_thread_end(self._native_id)

    def _put(self, job: _Job) -> Future[Any]:
        with self._changed:
            if self._closing:
                raise StoppedError
            self._jobs.append(job)
            self._waiting += len(job.texts)
            self._changed.notify()
        return job.future

    def _run(self) -> None:
        self._native_id = threading.get_native_id()
        while jobs := self._take():
            if jobs[0].encoder is None:
                self._answer(jobs, jobs[0].function)
            else:
                self._embed(jobs[0].encoder, jobs)
        for job in self._jobs:
            job.future.set_exception(StoppedError())

    def _take(self) -> list[_Job]:
        """The first job, and those behind it that its batch has room for."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closing)
            if self._closing:
                return []
            first = self._jobs.popleft()
            taken, size = [first], len(first.texts)
            if first.encoder is not None:
                for job in list(self._jobs):
                    if size >= BATCH_TEXTS:
                        break
                    if job.encoder is first.encoder:
                        self._jobs.remove(job)
                        taken.append(job)
                        size += len(job.texts)
            self._waiting -= size
            return taken

    def _embed(self, encoder: Encoder, jobs: list[_Job]) -> None:
        texts = [text for job in jobs for text in job.texts]
        began = time.perf_counter()

        def split() -> list[np.ndarray]:
            vectors, rows, end = encoder(texts), [], 0
            for job in jobs:
                rows.append(vectors[end : end + len(job.texts)])
                end += len(job.texts)
            return rows

        self._answer(jobs, split, each=True)
        self._observe(len(jobs), len(texts), time.perf_counter() - began)

    @staticmethod
    def _answer(
        jobs: list[_Job], function: Callable[[], Any], *, each: bool = False
    ) -> None:
        """Set the result of a function, or what it raises, or of each job its own."""
        waiting = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - raised where the result is awaited
            for job in waiting:
                job.future.set_exception(error)
            return
        results = dict(zip(map(id, jobs), result, strict=True)) if each else {}
        for job in waiting:
            job.future.set_result(results[id(job)] if each else result)
