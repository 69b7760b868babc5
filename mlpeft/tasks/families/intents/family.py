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

from mlpeft.datasets.split_assignment import SPLITS
from mlpeft.files import file_sha256
from mlpeft.models.pretrained.source import model_file
from mlpeft.models.pretrained.tokenizers import TOKENIZER
from mlpeft.tasks.check import Problems
from mlpeft.tasks.episode import Episode, frozen_params
from mlpeft.tasks.families.intents.classes import check_supply
from mlpeft.tasks.families.intents.source import SOURCE_PARAMS, check_source, source_of
from mlpeft.tasks.families.intents.tokens import name_tokens, token_pools, wordless
from mlpeft.tasks.sampling import TaskRandom

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.models.pretrained.tokenizers import Tokens
    from mlpeft.tasks.episode import FrozenParams, TaskConfig

BUCKET = 8
MAX_TOKENS = 64
"""input_dim where it is left open; one utterance in a thousand is longer."""
LONGEST = 512
TASK_PARAMS = (*SOURCE_PARAMS, "tokenizer", "split", "label_names")


class Intents:
    """`intents`; x (n, length) int32 token numbers.

    task_params: `dataset` and what belongs to it (module `source`
    has them), `tokenizer` (folder of the pretrained model whose tokenizer.json is used;
    in a configuration `model.weights` if left open), `split`, `label_names` (whether
    the name of each intent, in words, is one more example of it in the support set;
    after Luo et al. 2021, "Don't Miss the Labels"; default no).

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
        check_source(config.task_params, problems)
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
        dealt = source_of(config.task_params, self._data_dir).splits is None
        check_supply(config, pool, problems, dealt=dealt)
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
        tokenizer = model_file(str(config.task_params["tokenizer"]), TOKENIZER)
        files = source_of(config.task_params, self._data_dir).files()
        files[tokenizer.name] = tokenizer
        return {name: file_sha256(path) for name, path in files.items()}

    def class_names(self, config: TaskConfig) -> tuple[str, ...]:
        """The task's intents, in the order of their labels."""
        return self._choose(
            config.task_id, config.num_classes, config.input_dim, frozen_params(config)
        )

    def _choose_anew(
        self, task_id: str, num_classes: int, max_tokens: int, frozen: FrozenParams
    ) -> tuple[str, ...]:
        names = sorted(self._load(dict(frozen), max_tokens))
        return tuple(TaskRandom(task_id).sample(names, num_classes))

    def _names(
        self, config: TaskConfig, labels: tuple[str, ...]
    ) -> tuple[np.ndarray, ...]:
        """Token numbers of each label's name; nothing if they are no examples."""
        if not config.task_params.get("label_names", False):
            return ()
        tokenizer = model_file(str(config.task_params["tokenizer"]), TOKENIZER)
        return name_tokens(labels, tokenizer, config.input_dim)

    def _pool(self, config: TaskConfig) -> dict[str, Tokens]:
        return self._load(config.task_params, config.input_dim)

    def _load(self, params: Mapping[str, Any], max_tokens: int) -> dict[str, Tokens]:
        tokenizer = model_file(str(params["tokenizer"]), TOKENIZER)
        split = params.get("split", SPLITS[0])
        return token_pools(source_of(params, self._data_dir), tokenizer, max_tokens)[
            split
        ]


def _turns(supports: int, ways: int, *, named: bool) -> np.ndarray:
    """Whose turn it is at each place of a support set."""
    turns = np.arange(supports) % ways
    return np.concatenate([turns, np.arange(ways)]) if named else turns
