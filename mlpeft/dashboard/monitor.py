"""Looks at a source and at run folders, and says what is to be shown."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from mlpeft.dashboard import attention, charts, view
from mlpeft.dashboard.attention import LOST_S
from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.dashboard.charts import ChartRequest
    from mlpeft.dashboard.log_tail import LogTail
    from mlpeft.dashboard.run_folder import RunFolder
    from mlpeft.dashboard.sources import Source
    from mlpeft.transport.rpc.control_codec import Action


class Monitor:
    """All that a dashboard knows. `look` and `chart` may be called from any thread.

    Args:
        source: The coordinator; None: folders alone.
        folders: Run folders; the first is that of the run that is shown, the others are
            compared with it.
        log: Its log; None: there is none.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        source: Source | None,
        folders: Sequence[RunFolder] = (),
        log: LogTail | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.source = source
        self.folders = list(folders)
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = 0.0
        self._bars = 0
        self._lines = 0

    def look(self, *, whole: bool) -> dict[str, Any]:
        """What is to be shown now.

        Args:
            whole: Whether all bars and log lines are wanted, not only those that are
                new since the last look that was not whole.
        """
        with self._lock:
            return self._look(whole)

    def _look(self, whole: bool) -> dict[str, Any]:
        now = self._clock()
        for folder in self.folders:
            folder.read()
        shown: dict[str, Any] = {
            "charts": [folder.measured.version for folder in self.folders],
            "runs": view.runs(self.folders) if len(self.folders) > 1 else [],
            "log": self._new_lines(whole),
        }
        if self.source is None:
            return shown | self._folder_alone(now)
        return shown | self._cluster(now, whole)

    def _new_lines(self, whole: bool) -> list[Any]:
        if self._log is None:
            return []
        self._log.read()
        since = 0 if whole else self._lines
        if not whole:
            self._lines = self._log.number
        return [line for line in self._log.lines if line["n"] > since]

    def _folder_alone(self, now: float) -> dict[str, Any]:
        run = view.run_of_folder(self.folders[0], now)
        return {
            "run": run,
            "question": {"text": "", "level": "good"},
            "source": {"cluster": False, "gone": "", "gone_s": 0},
        }

    def _cluster(self, now: float, whole: bool) -> dict[str, Any]:
        if self.source is None:
            raise AssertionError
        look = self.source.look(0 if whole else self._bars)
        if not whole:
            self._bars = look.number
        if not look.gone:
            self._seen = now
        source = {
            "cluster": True,
            "gone": look.gone,
            "gone_s": round(now - self._seen) if look.gone and self._seen else 0,
            "sampled": self.source.sampled,
        }
        overview = look.overview
        if overview is None:
            run = {"name": "", "state": "waits for a coordinator", "level": "warning"}
            waiting = {"text": look.gone, "level": "warning"}
            return {"run": run, "question": waiting, "source": source}
        folder = self.folders[0] if self.folders else None
        config = folder.config if folder else None
        lost_after = config.cluster.lost_after_s if config else LOST_S
        tiles = view.workers(overview, lost_after)
        worst = max((tile["level"] for tile in tiles.values()), default=0)
        run = view.run_of_cluster(overview, folder, now)
        if look.gone:
            run |= {"state": "no answer", "level": "problem"}
        question = {
            "text": attention.question(overview.cluster),
            "level": "warning" if worst >= 3 or not tiles else "good",
        }
        names = [tile["name"] for tile in tiles.values()]
        return {
            "run": run,
            "question": question,
            "source": source,
            "workers": tiles,
            "departed": view.left(look.departures, names),
            "bars": view.bars(look.bars),
        }

    def chart(self, request: ChartRequest) -> str:
        """A chart as SVG.

        Raises:
            KeyError: If there is no such chart.
        """
        with self._lock:
            return charts.draw(request, self.folders)

    def control(self, action: Action, worker: str, who: str) -> str:
        """Steer the coordinator; what happens now.

        Raises:
            MlpeftError: If it refuses, or there is none.
        """
        if self.source is None:
            raise MlpeftError("this page shows folders: there is nothing to steer")
        return self.source.control(action, worker, who)
