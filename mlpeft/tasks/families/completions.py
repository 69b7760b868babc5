"""Completions: how would this person, product or format answer that prompt?

A task is one `task` of a file of prompts and completions (for its format see
`mlpeft.datasets.completions`). An episode samples its examples without replacement, so
that support and query sets are disjoint. Train, val and test have different tasks.

x has token ids (n, length) int32: the prompt, put into the template, followed by the
completion. y has the next token at each position, and -1 where that is part of the
prompt or padding, so loss and exact match count the completion and its end token only.
The length is that of the episode's longest example, rounded up to a multiple of 8 so
that compiled code is reused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlpeft.datasets.completions import CompletionTasks, read_completions
from mlpeft.datasets.split_assignment import SPLITS
from mlpeft.errors import ConfigError, nearest
from mlpeft.file_caches import cached_read
from mlpeft.files import file_sha256
from mlpeft.models.pretrained.tokenizers import read_tokenizer_file, tokenizer_file
from mlpeft.tasks.assets import Asset, AssetKind, own_file
from mlpeft.tasks.check import Problems
from mlpeft.tasks.episode import Episode
from mlpeft.tasks.families.completion_tokens import (
    BUCKET,
    PROMPT,
    TEMPLATE,
    TokenisedTask,
    tokenise,
)
from mlpeft.tasks.sampling import TaskRandom

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from mlpeft.tasks.episode import TaskConfig

PARAMS = ("path", "template", "tokenizer", "task", "split")


class Completions:
    """`completions`; x (n, length) int32 token ids, y (n, length) int32.

    task_params: `path` (the file), `template` (text with {prompt} in it; default
    {prompt} and a line break), `tokenizer` (the model whose tokenizer is used; in a
    configuration default `model.weights`), `task` (the name of a task; default one
    determined by the task_id), `split`.
    """

    name = "completions"
    regression = False
    pooled = True
    per_class = False

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task is invalid.

        Raises:
            ConfigError: With the problems of the task.
            DataError: If the file or the tokenizer is missing or damaged.
        """
        problems = Problems(config, PARAMS, min_classes=1)
        problems.check_choice("split", SPLITS)
        problems.check_string("path")
        if "tokenizer" in config.task_params:
            problems.check_string("tokenizer")
        else:
            problems.add(
                "task_params.tokenizer: name the pretrained model, or set model.weights"
            )
        template = config.task_params.get("template", TEMPLATE)
        if not isinstance(template, str) or template.count(PROMPT) != 1:
            problems.add(
                f"task_params.template: expected a string with {PROMPT} in it once, "
                f"got {template!r}"
            )
        problems.raise_any()
        self._check_supply(config, problems)
        problems.raise_any()

    def _check_supply(self, config: TaskConfig, problems: Problems) -> None:
        """Every task must have the examples that an episode may need."""
        try:
            names = _task_names(config.task_params)
        except ConfigError as error:
            problems.add(*error.problems)
            return
        tasks = _tokenised_tasks(config.task_params)
        smallest = min(names, key=lambda name: len(tasks[name].x))
        available = len(tasks[smallest].x)
        needed = config.support_size + config.query_size
        if needed > available:
            problems.add(
                f"support_size, query_size: {config.support_size} and "
                f"{config.query_size} need {needed} examples of a task, but "
                f"{smallest!r} has {available}; lower one of them"
            )
        longest = max(int(tasks[name].lengths.max()) for name in names)
        if longest > config.input_dim:
            problems.add(
                f"input_dim: an example has {longest} tokens, more than "
                f"{config.input_dim}; raise it, or remove it"
            )

    def sample(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """Sample an episode: x (n, length) int32, y (n, length) int32."""
        task = _tokenised_tasks(config.task_params)[self.task_name(config)]
        supports = config.support_size
        indices = rng.permutation(len(task.x))[: supports + config.query_size]
        x, y = task.rows(indices)
        return Episode(x[:supports], y[:supports], x[supports:], y[supports:])

    def task_name(self, config: TaskConfig) -> str:
        """The `task` in the file."""
        names = _task_names(config.task_params)
        return TaskRandom(config.task_id).sample(names, 1)[0]

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """Tokens of the longest example in any split."""
        if not {"path", "tokenizer"} <= set(task_params):
            return BUCKET
        tasks = _tokenised_tasks(task_params).values()
        return max(int(task.lengths.max()) for task in tasks)

    def input_shape(self, config: TaskConfig) -> tuple[int, ...]:
        """(tokens,) of the longest possible example; most episodes are shorter."""
        return (config.input_dim,)

    def digests(self, config: TaskConfig) -> dict[str, str]:
        """SHA-256 of the file and of the tokenizer."""
        tokenizer = tokenizer_file(str(config.task_params["tokenizer"]))
        return {
            path.name: file_sha256(path)
            for path in (_path(config.task_params), tokenizer)
        }


def completion_assets(task_params: Mapping[str, Any]) -> tuple[Asset, ...]:
    """The file of completions, and the tokenizer's model if it is named."""
    kinds = {"path": AssetKind.FILE, "tokenizer": AssetKind.MODEL}
    return tuple(
        Asset(str(task_params[name]), kind)
        for name, kind in kinds.items()
        if name in task_params
    )


def describe_completions(task_params: Mapping[str, Any], _: str | Path | None) -> str:
    """How many tasks and examples the file has."""
    return _read(_path(task_params)).about


def _task_names(task_params: Mapping[str, Any]) -> Sequence[str]:
    """The tasks to sample from: those of the split, or the named one.

    Raises:
        ConfigError: If there is none.
    """
    file = _read(_path(task_params))
    if "task" in task_params:
        task = str(task_params["task"])
        if task not in file.examples:
            problem = (
                f"task_params.task: no task {task!r} in {_path(task_params)}; "
                f"{nearest(task, file.examples)}"
            )
            raise ConfigError([problem])
        return [task]
    split = task_params.get("split", SPLITS[0])
    if split not in file.splits:
        counts = {name: len(tasks) for name, tasks in file.splits.items()}
        problem = (
            f"task_params.path: {_path(task_params)} has no tasks for {split}, only "
            f"{counts}; add tasks, or give each line a split"
        )
        raise ConfigError([problem])
    return file.splits[split]


def _path(task_params: Mapping[str, Any]) -> Path:
    return own_file(str(task_params["path"]))


def _tokenised_tasks(task_params: Mapping[str, Any]) -> dict[str, TokenisedTask]:
    return _tokenise_file(
        _path(task_params),
        task_params.get("template", TEMPLATE),
        tokenizer_file(str(task_params["tokenizer"])),
    )


@cached_read(maxsize=4)
def _read(path: Path) -> CompletionTasks:
    return read_completions(path)


@cached_read(maxsize=4)
def _tokenise_file(
    path: Path, template: str, tokenizer: Path
) -> dict[str, TokenisedTask]:
    """Tokenise every task of a file of completions, once per process."""
    language_tokenizer = read_tokenizer_file(tokenizer)
    return {
        name: tokenise(examples, template, language_tokenizer)
        for name, examples in _read(path).examples.items()
    }
