"""The adapters of a server by their ids: loaded, learned, improved, deleted."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpeft.adapters.classifier import Classifier
from mlpeft.adapters.starts import FROZEN, find_start, starts
from mlpeft.adapters.store import RECORD, load_adapter
from mlpeft.adapters.text_classifier import TextClassifier
from mlpeft.errors import DataError, MlpeftError
from mlpeft.serving.encoders import EncoderPool, QueuedEmbedder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from mlpeft.serving.compute import ComputeThread
    from mlpeft.serving.limits import Limits


class UnknownAdapterError(MlpeftError):
    """There is no adapter of that id."""


class ConflictError(MlpeftError):
    """What is asked for does not go with what there is."""


class FullError(MlpeftError):
    """As many requests to learn, or adapters, as there may be."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """An adapter in memory.

    Attributes:
        id: Its name.
        adapter: Predicts; its encoder is of the compute thread.
        fitted: What learns more examples; None: it was adapted by inner steps.
        stored: Whether the server wrote its folder, so that it may delete it.
        created: Unix time.
    """

    id: str
    adapter: Classifier
    fitted: TextClassifier | None = None
    stored: bool = False
    created: float = field(default_factory=time.time)

    @property
    def embedder(self) -> QueuedEmbedder:
        """The way to its encoder."""
        embedder = self.adapter.embed
        assert isinstance(embedder, QueuedEmbedder)  # noqa: S101 - of the pool
        return embedder


class Library:
    """Adapters by id, and the thread that learns.

    Args:
        compute: Embeds.
        limits: Of adapters and of requests to learn.
        start: What new adapters start from by default; None: the base as it is.
        base: In place of the starts' own base.
        store: Folder for adapters that the server makes; None: they end with it.
    """

    def __init__(
        self,
        compute: ComputeThread,
        limits: Limits,
        *,
        start: str | None = None,
        base: str | None = None,
        store: Path | None = None,
    ) -> None:
        self._pool = EncoderPool(compute)
        self._limits = limits
        self._sources = {name: name for name in (*starts(), FROZEN)}
        self._start = start or FROZEN
        if self._start not in self._sources:
            # Callers see the name of a folder, not where it is.
            source, name = self._start, Path(self._start).resolve().name
            self._start = f"{name}-run" if name in self._sources else name
            self._sources[self._start] = source
        self._base = base
        self._store = store
        self._entries: dict[str, Entry] = {}
        self._starts: dict[str, Classifier] = {}
        self._lock = threading.Lock()
        self._learner = ThreadPoolExecutor(1, "mlpeft-learn")
        self._learning = 0

    @property
    def start_names(self) -> list[str]:
        """What adapters may start from, the default first."""
        return list(dict.fromkeys([self._start, *self._sources]))

    # --- what there is ----------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> list[Entry]:
        """All adapters, in the order of their coming."""
        with self._lock:
            return list(self._entries.values())

    def get(self, id_: str | None) -> Entry:
        """An adapter.

        Args:
            id_: Its id; None: the only one.

        Raises:
            UnknownAdapterError: If there is none of that id, or there are several.
        """
        entries = self._entries
        if id_ is None and len(entries) == 1:
            return self.entries()[0]
        entry = entries.get(id_) if id_ is not None else None
        if entry is not None:
            return entry
        shown = ", ".join(list(entries)[:20]) or "none yet; POST /adapters makes one"
        given = f"no adapter {id_!r}" if id_ is not None else "no adapter was named"
        raise UnknownAdapterError(f"{given}; there are: {shown}")

    # --- loading ----------------------------------------------------------------------

    def load(self, folder: Path, id_: str, *, stored: bool = False) -> Entry:
        """Load an adapter's folder.

        Raises:
            FileNotFoundError, DataError: As `load_adapter`.
            ConflictError: If the id is taken.
            FullError: If there are too many.
        """
        adapter = load_adapter(folder, self._base)
        if not isinstance(adapter, Classifier):
            raise DataError(
                f"{folder} completes prompts, and this serves classifiers of texts; "
                "export it (mlpeft export) and serve it with mlx_lm.server"
            )
        fitted = None
        if "settings" in adapter.history:
            fitted = TextClassifier.load(folder, self._base)
            adapter = fitted.adapter_
        self._pool.attach(adapter)
        return self._add(Entry(id_, adapter, fitted, stored))

    def load_store(self) -> None:
        """Load what an earlier server made."""
        if self._store is None:
            return
        self._store.mkdir(parents=True, exist_ok=True)
        for record in sorted(self._store.glob(f"*/{RECORD}")):
            if not record.parent.name.startswith("."):
                self.load(record.parent, record.parent.name, stored=True)

    def load_start(self, name: str | None = None) -> Classifier:
        """The start of a name, with an encoder in memory.

        Args:
            name: One of `start_names`; None: the default.

        Raises:
            ConflictError: If there is no such start.
            ConfigError, DataError: If it cannot be read, or its base is missing.
        """
        name = self._start if name is None else name
        if name not in self._sources:
            raise ConflictError(
                f"start: got {name!r}, expected one of {', '.join(self.start_names)}"
            )
        if name not in self._starts:
            found = find_start(self._sources[name], self._base)
            adapter = Classifier(
                config=found.config, leaves=found.leaves, history=found.history
            )
            self._pool.attach(adapter)
            self._starts[name] = adapter
        return self._starts[name]

    # --- learning ---------------------------------------------------------------------

    def learn(
        self,
        id_: str | None,
        texts: Sequence[str],
        labels: Sequence[Any],
        unlabelled: Sequence[str] | None,
        settings: Mapping[str, Any],
    ) -> Future[Entry]:
        """Make an adapter of examples, in the thread that learns.

        Args:
            id_: Its id; None: a new one.
            texts: Of the examples.
            labels: One for each, or lists.
            unlabelled: More texts.
            settings: Of `TextClassifier`, with the name of a start.

        Raises:
            ConflictError: If the id is taken.
            FullError: If there are too many adapters or requests.
        """
        name = id_ or f"a-{secrets.token_hex(4)}"
        self._check_room(name)

        def make() -> Entry:
            start = self.load_start(settings.get("start"))
            fitted = TextClassifier(**{**settings, "start": start})
            fitted.fit(list(texts), list(labels), unlabelled=unlabelled)
            self._check_labels(fitted)
            return self._add(self._stored(Entry(name, fitted.adapter_, fitted)))

        return self._submit(make)

    def add_examples(
        self, id_: str, texts: Sequence[str], labels: Sequence[Any]
    ) -> Future[Entry]:
        """Fit an adapter anew with more examples; until then the old one answers.

        Raises:
            UnknownAdapterError: If there is none of that id.
            ConflictError: If it cannot learn.
            FullError: If there are too many requests.
        """
        if self.get(id_).fitted is None:
            raise ConflictError(
                f"the adapter {id_!r} was adapted by inner steps and keeps no "
                "examples; make another with POST /adapters"
            )

        def add() -> Entry:
            old = self.get(id_)
            fitted = copy(old.fitted)
            assert fitted is not None  # noqa: S101 - checked above
            fitted.add_examples(list(texts), list(labels))
            self._check_labels(fitted)
            entry = Entry(id_, fitted.adapter_, fitted, old.stored, old.created)
            if old.stored:
                entry = self._stored(entry)
            with self._lock:
                if id_ not in self._entries:
                    raise UnknownAdapterError(
                        f"the adapter {id_!r} was deleted meanwhile; make it again"
                    )
                self._entries[id_] = entry
            return entry

        return self._submit(add)

    def delete(self, id_: str) -> None:
        """Forget an adapter, and its folder if the server wrote it.

        Raises:
            UnknownAdapterError: If there is none of that id.
        """
        self.get(id_)
        with self._lock:
            entry = self._entries.pop(id_, None)
        if entry is not None and entry.stored and self._store is not None:
            shutil.rmtree(self._store / id_, ignore_errors=True)

    def close(self) -> None:
        """Let what learns end; drop what waits to."""
        self._learner.shutdown(wait=True, cancel_futures=True)

    # --- parts ------------------------------------------------------------------------

    def _submit(self, function: Callable[[], Entry]) -> Future[Entry]:
        with self._lock:
            if self._learning >= self._limits.learning:
                raise FullError(
                    f"{self._learning} requests to learn wait or run, expected at most "
                    f"{self._limits.learning}"
                )
            self._learning += 1
        future = self._learner.submit(function)
        future.add_done_callback(self._learned)
        return future

    def _learned(self, _: Future[Entry]) -> None:
        with self._lock:
            self._learning -= 1

    def _add(self, entry: Entry) -> Entry:
        with self._lock:
            self._check_room(entry.id)
            self._entries[entry.id] = entry
        return entry

    def _check_room(self, id_: str) -> None:
        if id_ in self._entries:
            raise ConflictError(
                f"there is an adapter {id_!r}; give another id, or delete it first"
            )
        if len(self._entries) >= self._limits.adapters:
            raise ConflictError(
                f"there are {len(self._entries)} adapters, as many as there may be; "
                "delete one, or start the server with --max-adapters"
            )

    def _check_labels(self, fitted: TextClassifier) -> None:
        if len(fitted.classes_) > self._limits.labels:
            raise DataError(
                f"got {len(fitted.classes_)} labels, expected at most "
                f"{self._limits.labels}; start the server with --max-labels"
            )

    def _stored(self, entry: Entry) -> Entry:
        """Write an adapter's folder, if there is a place for it."""
        if self._store is None or entry.fitted is None:
            return entry
        folder, new = self._store / entry.id, self._store / f".{entry.id}.new"
        shutil.rmtree(new, ignore_errors=True)
        entry.fitted.save(new)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
        return Entry(entry.id, entry.adapter, entry.fitted, True, entry.created)
