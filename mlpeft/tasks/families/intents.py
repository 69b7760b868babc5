"""Intents: what does an utterance ask for? N-way K-shot episodes of labelled text.

Train, val and test have different intents, as a class split of the data set says. A
task is a choice of num_classes intents and the order of their labels, fixed by its
task_id; an episode draws utterances of each without replacement, so that no query is
among the supports.

x holds token numbers, int32, padded to the length of the episode's longest utterance
rounded up to a multiple of 8: compiled code is used again for episodes of one length.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.datasets.assets import Asset, AssetKind
from mlpeft.datasets.digest import file_sha256
from mlpeft.datasets.intents import (
    CLASS_SPLITS,
    DATA_SETS,
    IntentFiles,
    intent_files,
    intent_names,
    read_class_split,
    read_utterances,
)
from mlpeft.datasets.label_names import label_text, wordless
from mlpeft.datasets.pretrained import model_file
from mlpeft.datasets.tokens import TOKENIZER, Tokeniser, Tokens
from mlpeft.tasks.check import Problems
from mlpeft.tasks.draws import TaskChance
from mlpeft.tasks.episode import Episode, frozen_params

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.tasks.episode import FrozenParams, TaskConfig

BUCKET = 8
MAX_TOKENS = 64
"""input_dim where it is left open; one utterance in a thousand is longer."""
LONGEST = 512
SPLITS = ("train", "val", "test")
TASK_PARAMS = ("dataset", "class_split", "tokenizer", "split", "label_names")


class Intents:
    """`intents`; x (n, length) int32 token numbers.

    task_params: `dataset` (clinc150 or banking77), `class_split` (01 to 05),
    `tokenizer` (folder of the pretrained model whose tokenizer.json is used; in a
    configuration `model.weights` if left open), `split`, `label_names` (whether the
    name of each intent, in words, is one more example of it in the support set; after
    Luo et al. 2021, "Don't Miss the Labels"; default no).

    Args:
        data_dir: Where the data set may lie.
    """

    name = "intents"
    regression = False
    pooled = True
    per_class = True

    def __init__(self, data_dir: str | Path | None = None) -> None:
        self._data_dir = data_dir
        self._choose = lru_cache(maxsize=4096)(self._choose_anew)

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task cannot be drawn.

        Raises:
            ConfigError: With the problems of the task.
            DataError: If the data set or the tokenizer is missing or damaged.
        """
        problems = Problems(config, TASK_PARAMS)
        problems.choice("dataset", DATA_SETS)
        if _class_split(config.task_params) not in CLASS_SPLITS:
            problems.choice("class_split", CLASS_SPLITS)
        problems.choice("split", SPLITS)
        problems.flag("label_names")
        if "tokenizer" in config.task_params:
            problems.text("tokenizer")
        else:
            problems.found.append(
                "task_params.tokenizer: name the folder of the pretrained model, or "
                "set model.weights"
            )
        if not BUCKET <= config.input_dim <= LONGEST:
            problems.found.append(
                f"input_dim: intents are cut to so many tokens, {BUCKET} to {LONGEST}; "
                f"got {config.input_dim}"
            )
        problems.done()
        pool = self._pool(config)
        _check_supply(config, pool, problems)
        silent = wordless(sorted(pool))
        if config.task_params.get("label_names", False) and silent:
            problems.found.append(
                f"task_params.label_names: the label {silent[0]!r} has no letters, so "
                "that its name says nothing; leave label_names out"
            )
        problems.done()

    def draw(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """A fresh episode: x (n, length) int32, y (n,) int32.

        Examples come in turn, one of each class after the other, so that every prefix
        is balanced as far as it divides. With `label_names` the names of all classes
        follow the support set's examples.
        """
        pool = self._pool(config)
        names = self.class_names(config)
        ways, supports = config.num_classes, config.support_size
        spoken = self._names(config, names)
        order = rng.permutation(ways).astype(np.int32)
        sizes = {"support": supports + len(spoken), "query": config.query_size}
        pad = pool[names[0]].pad
        parts = {
            name: np.full((count, config.input_dim), pad, np.int32)
            for name, count in sizes.items()
        }
        longest = 1
        for place, label in enumerate(order):
            tokens = pool[names[label]]
            slots = [parts["support"][place:supports:ways], parts["query"][place::ways]]
            picked = rng.permutation(len(tokens.rows))[: sum(map(len, slots))]
            if len(picked):
                longest = max(longest, int(tokens.lengths[picked].max()))
            width = tokens.rows.shape[1]
            slots[0][:, :width] = tokens.rows[picked[: len(slots[0])]]
            slots[1][:, :width] = tokens.rows[picked[len(slots[0]) :]]
            if spoken:
                name = spoken[label]
                longest = max(longest, len(name))
                parts["support"][supports + place, : len(name)] = name
        length = min(-(-longest // BUCKET) * BUCKET, config.input_dim)
        return Episode(
            parts["support"][:, :length],
            order[_turns(supports, ways, named=bool(spoken))],
            parts["query"][:, :length],
            order[np.arange(config.query_size) % ways],
        )

    def utterances(self, config: TaskConfig) -> tuple[np.ndarray, np.ndarray]:
        """All utterances of a task's split, whatever its intents.

        Returns:
            (n, length) int32 token numbers, and (n,) int32: which of the split's
            intents, in the order of their names.
        """
        pool = self._pool(config)
        names = sorted(pool)
        width = max(pool[name].rows.shape[1] for name in names)
        rows = [
            np.pad(
                pool[name].rows,
                ((0, 0), (0, width - pool[name].rows.shape[1])),
                constant_values=pool[name].pad,
            )
            for name in names
        ]
        labels = [np.full(len(part), n, np.int32) for n, part in enumerate(rows)]
        return np.concatenate(rows), np.concatenate(labels)

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """Tokens of the longest utterance that is not cut."""
        return MAX_TOKENS

    def input_shape(self, config: TaskConfig) -> tuple[int, ...]:
        """(tokens,) of the longest possible utterance; most episodes are shorter."""
        return (config.input_dim,)

    def digests(self, config: TaskConfig) -> dict[str, str]:
        """SHA-256 of the utterances, the class splits and the tokenizer."""
        files = self._files(config.task_params)
        tokenizer = model_file(str(config.task_params["tokenizer"]), TOKENIZER)
        return {
            path.name: file_sha256(path)
            for path in (files.utterances, files.splits, tokenizer)
        }

    def class_names(self, config: TaskConfig) -> tuple[str, ...]:
        """The task's intents, in the order of their labels."""
        return self._choose(
            config.task_id, config.num_classes, config.input_dim, frozen_params(config)
        )

    def _choose_anew(
        self, task_id: str, num_classes: int, max_tokens: int, frozen: FrozenParams
    ) -> tuple[str, ...]:
        names = sorted(self._load(dict(frozen), max_tokens))
        return tuple(TaskChance(task_id).sample(names, num_classes))

    def _names(
        self, config: TaskConfig, labels: tuple[str, ...]
    ) -> tuple[np.ndarray, ...]:
        """Token numbers of each label's name; nothing if they are no examples."""
        if not config.task_params.get("label_names", False):
            return ()
        tokenizer = model_file(str(config.task_params["tokenizer"]), TOKENIZER)
        return _name_tokens(labels, tokenizer, config.input_dim)

    def _pool(self, config: TaskConfig) -> dict[str, Tokens]:
        return self._load(config.task_params, config.input_dim)

    def _load(self, params: Mapping[str, Any], max_tokens: int) -> dict[str, Tokens]:
        files = self._files(params)
        tokenizer = model_file(str(params["tokenizer"]), TOKENIZER)
        split = params.get("split", SPLITS[0])
        return _pools(files, _class_split(params), tokenizer, max_tokens)[split]

    def _files(self, params: Mapping[str, Any]) -> IntentFiles:
        return intent_files(params.get("dataset", DATA_SETS[0]), self._data_dir)


def intent_assets(task_params: Mapping[str, Any]) -> tuple[Asset, ...]:
    """The files of the data set, and the tokenizer if it is named."""
    names = intent_names(str(task_params.get("dataset", DATA_SETS[0])))
    found = tuple(Asset(name, AssetKind.DATA) for name in names)
    tokenizer = task_params.get("tokenizer")
    if tokenizer is None:
        return found
    return (*found, Asset(str(tokenizer), AssetKind.MODEL))


def _class_split(params: Mapping[str, Any]) -> Any:
    """The class split's name; YAML reads an unquoted 01 as the number 1."""
    value = params.get("class_split", CLASS_SPLITS[0])
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:02d}" if whole else value


def _turns(supports: int, ways: int, *, named: bool) -> np.ndarray:
    """Whose turn it is at each place of a support set."""
    turns = np.arange(supports) % ways
    return np.concatenate([turns, np.arange(ways)]) if named else turns


@lru_cache(maxsize=4096)
def _name_tokens(
    labels: tuple[str, ...], tokenizer: Path, max_tokens: int
) -> tuple[np.ndarray, ...]:
    tokens = _tokeniser(tokenizer, max_tokens)([label_text(label) for label in labels])
    return tuple(
        row[:length] for row, length in zip(tokens.rows, tokens.lengths, strict=True)
    )


@lru_cache(maxsize=4)
def _tokeniser(tokenizer: Path, max_tokens: int) -> Tokeniser:
    return Tokeniser(tokenizer, max_tokens)


@lru_cache(maxsize=4)
def _pools(
    files: IntentFiles, class_split: str, tokenizer: Path, max_tokens: int
) -> dict[str, dict[str, Tokens]]:
    """Tokenised utterances by split and intent; made once for a process."""
    texts = read_utterances(files.utterances)
    tokenise = _tokeniser(tokenizer, max_tokens)
    tokens = {label: tokenise(texts[label]) for label in texts}
    labels = read_class_split(files.splits, class_split)
    return {
        split: {label: tokens[label] for label in labels[split]} for split in SPLITS
    }


def _check_supply(
    config: TaskConfig, pool: Mapping[str, Tokens], problems: Problems
) -> None:
    """There are enough intents, and of each the utterances that an episode may need."""
    if config.num_classes > len(pool):
        problems.found.append(
            f"num_classes: asked for {config.num_classes}, but there are {len(pool)} "
            "intents in this split; lower it"
        )
    supports = -(-config.support_size // config.num_classes)
    queries = -(-config.query_size // config.num_classes)
    poorest = min(pool, key=lambda label: len(pool[label].rows))
    there = len(pool[poorest].rows)
    if supports + queries > there:
        problems.found.append(
            f"support_size, query_size: {config.support_size} and {config.query_size} "
            f"need {supports} + {queries} examples of a class, but {poorest!r} has "
            f"{there}; lower one of them"
        )
