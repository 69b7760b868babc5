"""Completions: what would this person, product or format say to that prompt?

A task is one `task` of a file of prompts and completions (the module
`mlpeft.datasets.completions` says of what form), and an episode some of its examples
without replacement, so that no query is among the supports. Train, val and test have
different tasks.

x holds token numbers (n, length) int32: the prompt, put into the template, and then the
completion. y has at each place the token that comes next, and -1 where that is a part
of the prompt or padding: loss and exact match are those of completions, with the token
that ends them. The length is that of the episode's longest example rounded up to a
multiple of 8: compiled code is used again for episodes of one length.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlpeft.datasets.completions import CompletionTasks, read_completions
from mlpeft.datasets.split_assignment import SPLITS
from mlpeft.errors import ConfigError, nearest
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
    """`completions`; x (n, length) int32 token numbers, y (n, length) int32.

    task_params: `path` (the file), `template` (text with {prompt} in it; a line of its
    own if left open), `tokenizer` (the model whose tokenizer is used; in a
    configuration `model.weights` if left open), `task` (the name of one task; chosen by
    the task_id if left open), `split`.
    """

    name = "completions"
    regression = False
    pooled = True
    per_class = False

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task cannot be drawn.

        Raises:
            ConfigError: With the problems of the task.
            DataError: If the file or the tokenizer is missing or damaged.
        """
        problems = Problems(config, PARAMS, min_classes=1)
        problems.choice("split", SPLITS)
        problems.text("path")
        if "tokenizer" in config.task_params:
            problems.text("tokenizer")
        else:
            problems.found.append(
                "task_params.tokenizer: name the pretrained model, or set model.weights"
            )
        template = config.task_params.get("template", TEMPLATE)
        if not isinstance(template, str) or template.count(PROMPT) != 1:
            problems.found.append(
                f"task_params.template: expected a text with {PROMPT} in it once, got "
                f"{template!r}"
            )
        problems.done()
        self._check_supply(config, problems)
        problems.done()

    def _check_supply(self, config: TaskConfig, problems: Problems) -> None:
        """There are tasks, and of each the examples that an episode may need."""
        try:
            names = _names(config.task_params)
        except ConfigError as error:
            problems.found.extend(error.problems)
            return
        tasks = _of(config.task_params)
        poorest = min(names, key=lambda name: len(tasks[name].x))
        there, needed = len(tasks[poorest].x), config.support_size + config.query_size
        if needed > there:
            problems.found.append(
                f"support_size, query_size: {config.support_size} and "
                f"{config.query_size} need {needed} examples of a task, but "
                f"{poorest!r} has {there}; lower one of them"
            )
        longest = max(int(tasks[name].lengths.max()) for name in names)
        if longest > config.input_dim:
            problems.found.append(
                f"input_dim: an example has {longest} tokens, more than "
                f"{config.input_dim}; raise it, or leave it open"
            )

    def draw(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """A fresh episode: x (n, length) int32, y (n, length) int32."""
        task = _of(config.task_params)[self.task_name(config)]
        supports = config.support_size
        picked = rng.permutation(len(task.x))[: supports + config.query_size]
        x, y = task.rows(picked)
        return Episode(x[:supports], y[:supports], x[supports:], y[supports:])

    def task_name(self, config: TaskConfig) -> str:
        """The `task` of the file that this task is."""
        names = _names(config.task_params)
        return TaskRandom(config.task_id).sample(names, 1)[0]

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """Tokens of the longest example of any split."""
        if not {"path", "tokenizer"} <= set(task_params):
            return BUCKET
        return max(int(task.lengths.max()) for task in _of(task_params).values())

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


def _names(task_params: Mapping[str, Any]) -> Sequence[str]:
    """The tasks that may be drawn: those of the split, or the one that is named.

    Raises:
        ConfigError: If there is none.
    """
    file = _read(_path(task_params))
    if "task" in task_params:
        named = str(task_params["task"])
        if named not in file.examples:
            problem = (
                f"task_params.task: no task {named!r} in {_path(task_params)}; "
                f"{nearest(named, file.examples)}"
            )
            raise ConfigError([problem])
        return [named]
    split = task_params.get("split", SPLITS[0])
    if split not in file.splits:
        there = {name: len(names) for name, names in file.splits.items()}
        problem = (
            f"task_params.path: {_path(task_params)} has no tasks for {split}, only "
            f"{there}; add tasks, or give each line a split"
        )
        raise ConfigError([problem])
    return file.splits[split]


def _path(task_params: Mapping[str, Any]) -> Path:
    return own_file(str(task_params["path"]))


def _of(task_params: Mapping[str, Any]) -> dict[str, TokenisedTask]:
    return _tokenised(
        _path(task_params),
        task_params.get("template", TEMPLATE),
        tokenizer_file(str(task_params["tokenizer"])),
    )


def completion_assets(task_params: Mapping[str, Any]) -> tuple[Asset, ...]:
    """The file of completions, and the tokenizer's model if it is named."""
    named = (("path", AssetKind.FILE), ("tokenizer", AssetKind.MODEL))
    return tuple(
        Asset(str(task_params[name]), kind)
        for name, kind in named
        if name in task_params
    )


@lru_cache(maxsize=4)
def _read(path: Path) -> CompletionTasks:
    return read_completions(path)


@lru_cache(maxsize=4)
def _tokenised(path: Path, template: str, file: Path) -> dict[str, TokenisedTask]:
    """Every task of a file of completions, by a tokenizer; made once for a process."""
    tokenizer = read_tokenizer_file(file)
    return {
        name: tokenise(examples, template, tokenizer)
        for name, examples in _read(path).examples.items()
    }
