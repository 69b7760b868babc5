"""Tasks of a user's own texts, from Python: a file or pairs, and no configuration file.

They are those of the families `intents` and `completions`, which draw from files. What
is in memory is therefore written to a private file that goes with the process.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpeft.config import RunConfig
from mlpeft.errors import DataError
from mlpeft.tasks.build import build_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlpeft.tasks.build import TaskSplits

_LABELLED = ("text", "label")
_COMPLETION = ("task", "prompt", "completion")


def text_tasks(
    examples: str | Path | Iterable[Sequence[str]],
    tokenizer: str | Path,
    *,
    seed: int = 0,
    task_params: Mapping[str, Any] | None = None,
    **settings: Any,
) -> TaskSplits:
    """Tasks that tell labels of texts apart, for a sentence encoder.

    Train, val and test have labels of their own, dealt 3 : 1 : 1 by their names unless
    `task_params` says otherwise. `.train.sample_episode()` draws an episode.

    Args:
        examples: A .jsonl or .csv file with `text` and `label`, or pairs of them.
        tokenizer: The encoder, as `load_encoder` was given it.
        seed: Of the tasks and the stream of episodes.
        task_params: Of the family `intents`, such as `split_shares`.
        **settings: Keys of `task_distribution`: `num_classes`, `k_shot`, ...

    Raises:
        ConfigError: Listing every problem, such as too few labels or texts.
        DataError: If the examples or the tokenizer cannot be used.
    """
    texts = {"dataset": _file_of(examples, _LABELLED)} | dict(task_params or {})
    return _tasks("intents", texts, tokenizer, seed, settings)


def completion_tasks(
    examples: str | Path | Iterable[Sequence[str]],
    tokenizer: str | Path,
    *,
    seed: int = 0,
    task_params: Mapping[str, Any] | None = None,
    **settings: Any,
) -> TaskSplits:
    """Tasks of prompts and completions, for a language model.

    A task is whatever the examples of one name share: a person, a style, a format.
    Train, val and test have tasks of their own. `.train.sample_episode()` draws an
    episode.

    Args:
        examples: A .jsonl file with `task`, `prompt` and `completion`, or triples.
        tokenizer: The model, as `load_language_model` was given it.
        seed: Of the tasks and the stream of episodes.
        task_params: Of the family `completions`, such as `template`.
        **settings: Keys of `task_distribution`: `k_shot`, `query_size`, ...

    Raises:
        ConfigError: Listing every problem, such as too few examples of a task.
        DataError: If the examples or the tokenizer cannot be used.
    """
    texts = {"path": _file_of(examples, _COMPLETION)} | dict(task_params or {})
    return _tasks("completions", texts, tokenizer, seed, settings)


def _tasks(
    family: str,
    task_params: Mapping[str, Any],
    tokenizer: str | Path,
    seed: int,
    settings: Mapping[str, Any],
) -> TaskSplits:
    section = {
        "task_families": [family],
        "task_params": {"tokenizer": str(tokenizer), **task_params},
    }
    tree = {"run": {"seed": seed}, "task_distribution": section | dict(settings)}
    return build_tasks(RunConfig.from_dict(tree))


def _file_of(
    examples: str | Path | Iterable[Sequence[str]], keys: tuple[str, ...]
) -> str:
    """The file of these examples; the same examples have the same file."""
    if isinstance(examples, str | Path):
        return str(examples)
    lines = []
    for row in examples:
        if isinstance(row, str) or len(row) != len(keys):
            raise DataError(
                f"{row!r} is not an example; expected ({', '.join(keys)}), or a file"
            )
        lines.append(json.dumps(dict(zip(keys, map(str, row), strict=True))))
    if not lines:
        raise DataError(f"no examples; give some ({', '.join(keys)}), or a file")
    text = "\n".join(lines) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = _folder() / f"{digest}.jsonl"
    file.write_text(text, encoding="utf-8")
    return str(file)


@functools.cache
def _folder() -> Path:
    """Readable by this user alone; removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="mlpeft-texts-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
