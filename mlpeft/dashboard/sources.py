"""Where a dashboard's picture of the cluster comes from."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mlpeft.dashboard.sampling import ClusterHistory
from mlpeft.errors import MlpeftError
from mlpeft.transport.rpc import channel, control_codec, status_codec
from mlpeft.transport.rpc.control_codec import Action, ControlRequest

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.cluster.overview import Overview
    from mlpeft.dashboard.recorder import Departure, Recorder
    from mlpeft.dashboard.timeline import Bar
    from mlpeft.runtime.coordinator.executor import Runtime
    from mlpeft.transport.security.identity import Identity


@dataclass(frozen=True, slots=True)
class Look:
    """What a source shows at one moment.

    Attributes:
        overview: The newest picture; None: there was none yet.
        gone: Why no coordinator answers now; "" if one does.
        bars: Of the timeline, those that changed since the number that was asked for.
        number: Of the newest change.
        departures: Workers that left, the newest last.
    """

    overview: Overview | None
    gone: str = ""
    bars: tuple[Bar, ...] = ()
    number: int = 0
    departures: tuple[Departure, ...] = field(default_factory=tuple)


class Source(Protocol):
    """A coordinator, seen from here."""

    sampled: bool
    """Whether shards between two looks are missed."""

    def look(self, since: int) -> Look:
        """How things are, and the bars that changed after a number."""
        ...

    def control(self, action: Action, worker: str, who: str) -> str:
        """Ask for something; what happens now.

        Raises:
            MlpeftError: If it is refused, or nobody answers.
        """
        ...


class OwnCoordinator:
    """The coordinator of this process.

    Args:
        runtime: Started.
        recorder: Its driver's observer.
    """

    sampled = False

    def __init__(self, runtime: Runtime, recorder: Recorder) -> None:
        self._runtime = runtime
        self._recorder = recorder

    def look(self, since: int) -> Look:
        """See `Source.look`."""
        overview = self._runtime.overview()
        recorder = self._recorder
        with recorder.lock:
            return Look(
                overview,
                bars=tuple(recorder.timeline.changed_since(since)),
                number=recorder.timeline.number,
                departures=tuple(recorder.departures),
            )

    def control(self, action: Action, worker: str, who: str) -> str:
        """See `Source.control`."""
        return self._runtime.control(ControlRequest(action, worker), who)


class RemoteCoordinator:
    """A coordinator that answers the Status call.

    Args:
        coordinator: host:port; None: found as by `mlpeft status`.
        run: Name of the run to look for.
        folder: Of the identity, if one was named.
        insecure: Whether to talk in the clear.
    """

    sampled = True

    def __init__(
        self,
        coordinator: str | None,
        run: str | None,
        folder: Path | None,
        insecure: bool,
    ) -> None:
        self._where = (coordinator, run, folder, insecure)
        self._chosen: tuple[str, Identity | None] | None = None
        self._history = ClusterHistory()

    def find(self) -> Identity | None:
        """Find the coordinator; the identity to show, None: in the clear.

        Raises:
            MlpeftError: If there is none, or it refuses.
        """
        from mlpeft.runtime.client import find

        coordinator, run, folder, insecure = self._where
        self._chosen = find(coordinator, folder, insecure=insecure, run=run)
        return self._chosen[1]

    def look(self, since: int) -> Look:
        """See `Source.look`."""
        from mlpeft.runtime.client import CoordinatorGoneError

        gone = ""
        try:
            overview = status_codec.decode_overview(self._ask(channel.STATUS, b""))
        except CoordinatorGoneError as error:
            address = self._chosen[0] if self._chosen else ""
            gone = f"no coordinator answers at {address}" if address else str(error)
            self._chosen = None  # it may come back with TLS, or elsewhere
        except MlpeftError as error:
            gone = str(error)
        else:
            self._history.take(overview, time.time())
        history = self._history
        return Look(
            history.last,
            gone,
            tuple(history.timeline.changed_since(since)),
            history.timeline.number,
            tuple(history.departures),
        )

    def _ask(self, method: str, question: bytes) -> bytes:
        from mlpeft.runtime.client import ask

        if self._chosen is None:
            self.find()
        if self._chosen is None:
            raise AssertionError
        return ask(*self._chosen, method, question)

    def control(self, action: Action, worker: str, who: str) -> str:
        """See `Source.control`."""
        del who  # the certificate says it
        request = control_codec.encode_request(ControlRequest(action, worker))
        answer = self._ask(channel.CONTROL, request)
        with contextlib.suppress(UnicodeDecodeError):
            return control_codec.decode_response(answer)
        return ""
