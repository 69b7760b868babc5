"""Where a trained start fails: which classes it confuses, and its worst tasks.

Analysed on the first test episodes and kept in failures.json, since it takes a while.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlpeft.files import parse_json_object
from mlpeft.models.pretrained.source import model_file
from mlpeft.models.pretrained.tokenizers import TOKENIZER
from mlpeft.tasks.families import get_family
from mlpeft.training.plan import test_shards
from mlpeft.training.run_files import write_whole
from mlpeft.training.runner import ShardRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlpeft.tasks.build import Tasks
    from mlpeft.tasks.episode import Episode, TaskConfig
    from mlpeft.training.trained import Trained

FILE: Final = "failures.json"
EPISODES: Final = 60
WORST_TASKS: Final = 5
EXAMPLES: Final = 12
MOST_TEXT: Final = 160


def read(path: Path, trained: Trained, episodes: int) -> dict[str, Any] | None:
    """The analysis in a folder; None: there is none of this checkpoint."""
    try:
        record = parse_json_object((path / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    same = record.get("iteration") == trained.iteration
    return record if same and record.get("episodes") == episodes else None


def analyse(
    trained: Trained,
    episodes: int = EPISODES,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any] | None:
    """Predict the queries of test episodes, and count what was taken for what.

    Args:
        trained: The start.
        episodes: How many.
        progress: Called with the number of episodes done.

    Returns:
        Plain values: `pairs` of (class, taken for, count, queries of the class),
        `classes` with their accuracy, `tasks` that went worst, `examples` of queries
        that went wrong; None: the tasks have no classes.
    """
    runner = ShardRunner.from_config(trained.config)
    tasks = runner.tasks.test
    if runner.tasks.regression:
        return None
    seen = _Seen()
    done = 0
    for shard in test_shards(runner.config, runner.tasks, episodes):
        drawn = [tasks.episode(spec.task_id, spec.seed) for spec in shard.tasks]
        if any(np.ndim(episode.query_y) != 1 for episode in drawn):
            return None
        predicted = runner.predictions(trained.meta, shard)
        for spec, episode, guesses in zip(shard.tasks, drawn, predicted, strict=True):
            config = tasks.config(spec.task_id)
            seen.add(config, _names(tasks, config), episode, guesses)
        done += len(shard.tasks)
        progress(done)
    return {"iteration": trained.iteration, "episodes": episodes} | seen.record()


def save(path: Path, record: dict[str, Any]) -> None:
    """Keep an analysis in a run's folder.

    Raises:
        CheckpointError: If it cannot be written.
    """
    write_whole(path / FILE, json.dumps(record, indent=1) + "\n")


class _Seen:
    """What was taken for what, over episodes."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._queries: Counter[str] = Counter()
        self._tasks: list[dict[str, Any]] = []
        self._examples: list[dict[str, Any]] = []

    def add(
        self,
        config: TaskConfig,
        names: tuple[str, ...],
        episode: Episode,
        guesses: np.ndarray,
    ) -> None:
        """Take in one episode."""
        truth = np.asarray(episode.query_y)
        for label, guess in zip(truth.tolist(), guesses.tolist(), strict=True):
            self._queries[names[label]] += 1
            self._pairs[names[label], names[guess]] += 1
        wrong = np.flatnonzero(truth != guesses)
        accuracy = 1.0 - len(wrong) / max(len(truth), 1)
        self._tasks.append({"classes": list(names), "accuracy": accuracy})
        for index in wrong[:2].tolist():
            if len(self._examples) < 4 * EXAMPLES:
                shown = _shown(config, np.asarray(episode.query_x)[index])
                if shown is not None:
                    labels = names[int(truth[index])], names[int(guesses[index])]
                    self._examples.append(
                        {"class": labels[0], "taken_for": labels[1]} | shown
                    )

    def record(self) -> dict[str, Any]:
        """Plain values."""
        classes = [
            {
                "name": name,
                "accuracy": self._pairs[name, name] / count,
                "queries": count,
            }
            for name, count in self._queries.items()
        ]
        pairs = [
            [truth, guess, count, self._queries[truth]]
            for (truth, guess), count in self._pairs.most_common()
        ]
        return {
            "classes": sorted(classes, key=lambda each: float(each["accuracy"])),
            "pairs": pairs,
            "tasks": sorted(self._tasks, key=lambda t: t["accuracy"])[:WORST_TASKS],
            "examples": self._examples[:: max(1, len(self._examples) // EXAMPLES)][
                :EXAMPLES
            ],
        }


def _names(tasks: Tasks, config: TaskConfig) -> tuple[str, ...]:
    """What the classes of a task are called."""
    family = get_family(config.task_family, tasks.data_dir)
    named = getattr(family, "class_names", None)
    if named is None:
        return tuple(f"class {label}" for label in range(config.num_classes))
    return tuple(map(str, named(config)))


def _shown(config: TaskConfig, x: np.ndarray) -> dict[str, str] | None:
    """A query for people: its text, or its picture; None: it is numbers."""
    if np.issubdtype(x.dtype, np.integer):
        text = _decoded(config, x)
        return {"text": text[:MOST_TEXT]} if text else None
    if x.ndim == 3 and x.shape[-1] in (1, 3):
        pixels = np.clip(np.rint(x * 255), 0, 255).astype(np.uint8)
        return {"image": base64.b64encode(png(pixels)).decode()}
    return None


def _decoded(config: TaskConfig, ids: np.ndarray) -> str:
    """The text of token ids."""
    from tokenizers import Tokenizer

    file = model_file(str(config.task_params["tokenizer"]), TOKENIZER)
    tokenizer = Tokenizer.from_file(str(file))
    return str(tokenizer.decode(ids.tolist(), skip_special_tokens=True))


def png(pixels: np.ndarray) -> bytes:
    """A picture as PNG.

    Args:
        pixels: (height, width, 1 or 3) uint8.
    """
    height, width, channels = pixels.shape
    kind = {1: 0, 3: 2}[channels]

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return (
            struct.pack(">I", len(content))
            + checked
            + struct.pack(">I", zlib.crc32(checked))
        )

    rows = b"".join(b"\x00" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )
