"""Tasks of the user's own texts, from a file or from pairs, without a configuration.

They use the families `intents` and `completions`, which read files. Texts in memory are
therefore written to a private file, which is removed when the process exits.
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
    """Build tasks that classify texts by their labels, for a sentence encoder.

    Train, val and test have disjoint labels, assigned 3 : 1 : 1 by name unless
    `task_params` sets another split. `.train.sample_episode()` samples an episode.

    Args:
        examples: A .jsonl or .csv file with `text` and `label`, or pairs of them.
        tokenizer: The `weights` of `load_encoder`.
        seed: Seed of the tasks and the stream of episodes.
        task_params: Settings of the family `intents`, such as `split_shares`.
        **settings: Keys of `task_distribution`: `num_classes`, `k_shot`, ...

    Raises:
        ConfigError: Listing every problem, such as too few labels or texts.
        DataError: If the examples or the tokenizer cannot be used.
    """
    params = {"dataset": _write_examples(examples, _LABELLED)} | dict(task_params or {})
    return _build("intents", params, tokenizer, seed, settings)


def completion_tasks(
    examples: str | Path | Iterable[Sequence[str]],
    tokenizer: str | Path,
    *,
    seed: int = 0,
    task_params: Mapping[str, Any] | None = None,
    **settings: Any,
) -> TaskSplits:
    """Build tasks of prompts and completions, for a language model.

    A task consists of the examples with one name: a person, a style, a format. Train,
    val and test have different tasks. `.train.sample_episode()` samples an episode.

    Args:
        examples: A .jsonl file with `task`, `prompt` and `completion`, or triples.
        tokenizer: The `weights` of `load_language_model`.
        seed: Seed of the tasks and the stream of episodes.
        task_params: Settings of the family `completions`, such as `template`.
        **settings: Keys of `task_distribution`: `k_shot`, `query_size`, ...

    Raises:
        ConfigError: Listing every problem, such as too few examples of a task.
        DataError: If the examples or the tokenizer cannot be used.
    """
    params = {"path": _write_examples(examples, _COMPLETION)} | dict(task_params or {})
    return _build("completions", params, tokenizer, seed, settings)


def _build(
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


def _write_examples(
    examples: str | Path | Iterable[Sequence[str]], keys: tuple[str, ...]
) -> str:
    """Write examples to a file named by their digest; a path is returned unchanged."""
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
    """A folder that only this user can read; removed when the process exits."""
    folder = Path(tempfile.mkdtemp(prefix="mlpeft-texts-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
