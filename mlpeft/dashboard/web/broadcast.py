"""Sends what changed to all who look, and looks only while somebody does."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from mlpeft.dashboard.monitor import Monitor

log = logging.getLogger("mlpeft.dashboard")

LOOK_S = 1.0
"""Seconds between two looks, in a cluster of `WORKERS_PER_LOOK` at most."""
WORKERS_PER_LOOK: Final = 100
"""A larger cluster is looked at less often, so that looking costs it no more."""
RETRY_MS: Final = 1000
"""After which a browser whose connection broke comes back."""
MOST_VIEWERS: Final = 64
BACKLOG: Final = 8
"""Messages that a viewer may be behind before it has to reconnect."""


class Broadcast:
    """Server-sent events of a monitor.

    Args:
        monitor: What is looked at.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._viewers: set[asyncio.Queue[str | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._last: dict[str, Any] = {}

    @property
    def viewers(self) -> int:
        """How many look."""
        return len(self._viewers)

    async def events(self) -> AsyncIterator[str]:
        """All that there is to show, and then what changes, for one viewer."""
        queue: asyncio.Queue[str | None] = asyncio.Queue(BACKLOG)
        self._viewers.add(queue)
        try:
            if self._task is None or self._task.done():
                self._last = {}
                self._task = asyncio.create_task(self._look_on())
            whole = await asyncio.to_thread(self._monitor.look, whole=True)
            # This viewer has them from now on, so it must hear if they leave, even if
            # that is before the next look.
            known = self._last.setdefault("workers", {})
            for worker in whole.get("workers", ()):
                known.setdefault(worker, None)
            yield f"retry: {RETRY_MS}\n\n{_event(whole | {'whole': True})}"
            while (text := await queue.get()) is not None:
                yield text
        finally:
            self._viewers.discard(queue)

    def close(self) -> None:
        """End all events."""
        for queue in self._viewers:
            _put(queue, None)

    async def _look_on(self) -> None:
        while True:
            crowd = len(self._last.get("workers", ())) / WORKERS_PER_LOOK
            await asyncio.sleep(LOOK_S * max(1.0, crowd))
            if not self._viewers:
                return
            try:
                shown = await asyncio.to_thread(self._monitor.look, whole=False)
            except Exception:
                log.exception("the dashboard cannot look")
                continue
            text = _event(changes(shown, self._last))
            for queue in tuple(self._viewers):
                _put(queue, text)


def _put(queue: asyncio.Queue[str | None], text: str | None) -> None:
    """Queue a message; a viewer that is too far behind is told to reconnect."""
    try:
        queue.put_nowait(text)
    except asyncio.QueueFull:
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)


def changes(shown: Mapping[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    """The parts that differ from the last ones; of workers, the tiles that do.

    Args:
        shown: From `Monitor.look`, which makes new values each time.
        last: What was shown before; changed in place.
    """
    changed = {
        key: value
        for key, value in shown.items()
        if key != "workers" and (key not in last or last[key] != value)
    }
    tiles, before = shown.get("workers", {}), last.get("workers", {})
    part: dict[str, Any] = {
        worker: tile for worker, tile in tiles.items() if before.get(worker) != tile
    }
    part |= {worker: None for worker in before if worker not in tiles}
    last.update(shown, workers=tiles)
    return changed | ({"workers": part} if part else {})


def _event(part: Mapping[str, Any]) -> str:
    return f"data: {_json({'now': round(time.time(), 2), **part})}\n\n"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
