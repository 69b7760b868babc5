"""A user's examples as the support set of an episode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mlpeft.adapters.adapter import TextTokenizer
from mlpeft.adapters.completer import template_of, tokenizer_of
from mlpeft.datasets.completions import Example
from mlpeft.datasets.text_files import read_pairs
from mlpeft.errors import ConfigError, DataError
from mlpeft.models.pretrained.tokenizers import read_language_tokenizer
from mlpeft.tasks.families.completion_tokens import tokenise
from mlpeft.tasks.families.intents.source import own_keys
from mlpeft.tasks.families.intents.tokens import label_text, wordless

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlpeft.config import RunConfig

    Pairs: TypeAlias = Iterable[Sequence[str]]

KEYS = {"encoder": ("text", "label"), "causal_lm": ("prompt", "completion")}
"""The fields of an example, by backbone."""


@dataclass(frozen=True, slots=True)
class Support:
    """Examples as arrays.

    Attributes:
        config: The run, with one class per label.
        x: (n, length) token ids.
        y: (n,) label indices, or (n, length) next tokens.
        labels: Name of each label; empty for completions.
        named: Whether the last rows are the labels' names.
    """

    config: RunConfig
    x: np.ndarray
    y: np.ndarray
    labels: tuple[str, ...] = ()
    named: bool = False

    @property
    def examples(self) -> int:
        """The number of the user's examples, without label names."""
        return len(self.x) - (len(self.labels) if self.named else 0)


def read_support(
    config: RunConfig, examples: str | Path | Pairs, *, label_names: bool | None = None
) -> Support:
    """Turn examples into the support set of a run's model.

    Args:
        config: The run.
        examples: A file of examples (`mlpeft.datasets.rows`), or pairs: (text, label)
            for an encoder, (prompt, completion) for a language model. A file may have
            the text_key and label_key of the run's tasks.
        label_names: Whether each label's name is one more example of it; None: as in
            the run's tasks.

    Raises:
        ConfigError: If the run's model does not read text, or its head is part of theta
            and made for another number of labels.
        DataError: If the examples cannot be used, or the base is missing.
    """
    backbone = config.model.backbone
    if backbone not in KEYS:
        raise ConfigError(
            f"model.backbone: adapt needs a model of texts, got {backbone!r}; give a "
            "run with backbone encoder or causal_lm, such as that of "
            "configs/intents.yaml"
        )
    if isinstance(examples, (str, Path)):
        keys = KEYS[backbone]
        is_label = backbone == "encoder"
        own = own_keys(config.task_distribution.task_params) if is_label else keys
        pairs = read_pairs(examples, own, labels=is_label, or_keys=keys)
    else:
        pairs = [(str(text), str(answer)) for text, answer in examples]
    if not pairs:
        raise DataError("no examples; give at least one")
    if backbone != "encoder":
        if label_names:
            raise ConfigError(
                "label_names: completions have no labels; leave label_names out"
            )
        return _completion_support(config, pairs)
    if label_names is None:
        params = config.task_distribution.task_params
        label_names = bool(params.get("label_names", False))
    return _label_support(config, pairs, label_names=label_names)


def _label_support(
    config: RunConfig, pairs: Sequence[tuple[str, str]], *, label_names: bool
) -> Support:
    labels = tuple(dict.fromkeys(label for _, label in pairs))
    num_classes = config.task_distribution.num_classes
    if config.model.head == "learned" and len(labels) != num_classes:
        raise ConfigError(
            f"model.head: the learned head has {num_classes} labels, the examples "
            f"have {len(labels)}; give as many labels, or train with head prototype"
        )
    if len(labels) < 2:
        raise DataError(
            f"expected examples of at least two labels, got {len(pairs)} of "
            f"{len(labels)}; add examples of another label"
        )
    run = config.with_changes(task_distribution={"num_classes": len(labels)})
    if label_names:
        if unnamed := wordless(labels):
            raise DataError(
                f"the label {unnamed[0]!r} has no letters, so its name cannot be an "
                "example; name labels in words, or give --no-label-names"
            )
        pairs = [*pairs, *((label_text(label), label) for label in labels)]
    x = TextTokenizer(run)([text for text, _ in pairs])
    y = np.array([labels.index(label) for _, label in pairs], np.int32)
    return Support(run, x, y, labels, named=label_names)


def _completion_support(config: RunConfig, pairs: Sequence[tuple[str, str]]) -> Support:
    tokenizer = read_language_tokenizer(tokenizer_of(config))
    examples = [Example(*pair) for pair in pairs]
    tokens = tokenise(examples, template_of(config), tokenizer)
    return Support(config, tokens.x, tokens.y)
