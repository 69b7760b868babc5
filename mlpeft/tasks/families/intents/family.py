"""Intents: what does an utterance ask for? N-way K-shot episodes of labelled text.

Train, val and test have different intents, by a class split of the data set. A task is
a selection of num_classes intents and the order of their labels, determined by its
task_id. An episode samples utterances of each without replacement, so that support and
query sets are disjoint.

x has token ids, int32, padded to the length of the episode's longest utterance, rounded
up to a multiple of 8 so that compiled code is reused.
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
"""Default of input_dim; one utterance in a thousand is longer."""
LONGEST = 512
TASK_PARAMS = (*SOURCE_PARAMS, "tokenizer", "split", "label_names")


class Intents:
    """`intents`; x (n, length) int32 token ids.

    task_params: `dataset` and its settings (see the module `source`), `tokenizer`
    (folder of the pretrained model whose tokenizer.json is used; in a configuration
    default `model.weights`), `split`, `label_names` (whether the name of each intent,
    in words, is one more example of it in the support set; after Luo et al. 2021,
    "Don't Miss the Labels"; default no).

    Args:
        data_dir: Folder of the data set.
    """

    name = "intents"
    regression = False
    pooled = True
    per_class = True

    def __init__(self, data_dir: str | Path | None = None) -> None:
        self._data_dir = data_dir
        self._sample_names = lru_cache(maxsize=4096)(self._sample_names_uncached)

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task is invalid.

        Raises:
            ConfigError: With the problems of the task.
            DataError: If the data set or the tokenizer is missing or damaged.
        """
        problems = Problems(config, TASK_PARAMS)
        check_source(config.task_params, problems)
        problems.check_choice("split", SPLITS)
        problems.check_flag("label_names")
        if "tokenizer" in config.task_params:
            problems.check_string("tokenizer")
        else:
            problems.add(
                "task_params.tokenizer: name the folder of the pretrained model, or "
                "set model.weights"
            )
        if not BUCKET <= config.input_dim <= LONGEST:
            problems.add(
                f"input_dim: utterances are truncated to this many tokens, expected "
                f"{BUCKET} to {LONGEST}, got {config.input_dim}"
            )
        problems.raise_any()
        pool = self._pool(config)
        assigned = source_of(config.task_params, self._data_dir).splits is None
        check_supply(config, pool, problems, assigned=assigned)
        nameless = wordless(sorted(pool))
        if config.task_params.get("label_names", False) and nameless:
            problems.add(
                f"task_params.label_names: the label {nameless[0]!r} has no letters, "
                "so its name says nothing; remove label_names"
            )
        problems.raise_any()

    def sample(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """Sample an episode: x (n, length) int32, y (n,) int32.

        Examples cycle through the classes, so that every prefix is balanced. With
        `label_names` the names of all classes follow the examples in the support set.
        """
        pool = self._pool(config)
        names = self.class_names(config)
        ways, supports = config.num_classes, config.support_size
        name_examples = self._name_examples(config, names)
        order = rng.permutation(ways).astype(np.int32)
        pad = pool[names[0]].pad
        width = config.input_dim
        support_x = np.full((supports + len(name_examples), width), pad, np.int32)
        query_x = np.full((config.query_size, width), pad, np.int32)
        longest = 1
        for position, label in enumerate(order):
            tokens = pool[names[label]]
            rows, query_rows = (
                support_x[position:supports:ways],
                query_x[position::ways],
            )
            count = len(rows) + len(query_rows)
            indices = rng.permutation(len(tokens.rows))[:count]
            if len(indices):
                longest = max(longest, int(tokens.lengths[indices].max()))
            width = tokens.rows.shape[1]
            rows[:, :width] = tokens.rows[indices[: len(rows)]]
            query_rows[:, :width] = tokens.rows[indices[len(rows) :]]
            if name_examples:
                name = name_examples[label]
                longest = max(longest, len(name))
                support_x[supports + position, : len(name)] = name
        length = min(-(-longest // BUCKET) * BUCKET, config.input_dim)
        classes = np.arange(supports) % ways
        if name_examples:
            classes = np.concatenate([classes, np.arange(ways)])
        return Episode(
            support_x[:, :length],
            order[classes],
            query_x[:, :length],
            order[np.arange(config.query_size) % ways],
        )

    def pool_names(self, config: TaskConfig) -> list[str]:
        """All intents that tasks like this one select from."""
        return sorted(self._pool(config))

    def utterances(self, config: TaskConfig) -> tuple[np.ndarray, np.ndarray]:
        """All utterances of a task's split, including other intents.

        Returns:
            (n, length) int32 token ids, and (n,) int32 indices of the split's intents,
            which are sorted by name.
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
        """Tokens of the longest utterance that is not truncated."""
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
        return self._sample_names(
            config.task_id, config.num_classes, config.input_dim, frozen_params(config)
        )

    def _sample_names_uncached(
        self, task_id: str, num_classes: int, max_tokens: int, frozen: FrozenParams
    ) -> tuple[str, ...]:
        names = sorted(self._load(dict(frozen), max_tokens))
        return tuple(TaskRandom(task_id).sample(names, num_classes))

    def _name_examples(
        self, config: TaskConfig, labels: tuple[str, ...]
    ) -> tuple[np.ndarray, ...]:
        """Token ids of each label's name; empty without `label_names`."""
        if not config.task_params.get("label_names", False):
            return ()
        tokenizer = model_file(str(config.task_params["tokenizer"]), TOKENIZER)
        return name_tokens(labels, tokenizer, config.input_dim)

    def _pool(self, config: TaskConfig) -> dict[str, Tokens]:
        return self._load(config.task_params, config.input_dim)

    def _load(self, params: Mapping[str, Any], max_tokens: int) -> dict[str, Tokens]:
        tokenizer = model_file(str(params["tokenizer"]), TOKENIZER)
        split = params.get("split", SPLITS[0])
        pools = token_pools(source_of(params, self._data_dir), tokenizer, max_tokens)
        return pools[split]
