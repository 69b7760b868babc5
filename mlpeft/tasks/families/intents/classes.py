"""The labels of train, val and test, with their texts; and what was left out."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mlpeft.datasets.intents import read_utterances
from mlpeft.datasets.split_assignment import SPLITS, assign_splits
from mlpeft.datasets.text_files import LabelledTexts, read_labelled
from mlpeft.errors import DataError, nearest
from mlpeft.tasks.families.intents.source import source_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlpeft.models.pretrained.tokenizers import Tokens
    from mlpeft.tasks.check import Problems
    from mlpeft.tasks.episode import TaskConfig
    from mlpeft.tasks.families.intents.source import IntentSource

_PARTS = {"train": "train", "val": "valid", "test": "test"}
_LAYOUT = (
    'expected JSON like {"splits": {"01": {"train": [label, ...], "valid": [...], '
    '"test": [...]}}}'
)


def read_class_split(path: Path, name: str) -> dict[str, list[str]]:
    """The labels of train, val and test in one class split, sorted.

    Args:
        path: The file.
        name: Which of its class splits.

    Raises:
        DataError: If the file is damaged, has no such split, or one that puts a label
            in two places.
    """
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
        names = [str(known) for known in splits]
        found = {
            part: sorted(map(str, splits[name][theirs]))
            for part, theirs in _PARTS.items()
            if name in splits
        }
    except FileNotFoundError as error:
        raise DataError(f"no class splits at {path}") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as class splits ({error!r}); {_LAYOUT}"
        ) from error
    if not found:
        raise DataError(f"{path} has no class split {name!r}; {nearest(name, names)}")
    for one, other in combinations(found, 2):
        both = sorted(set(found[one]) & set(found[other]))
        if both:
            raise DataError(
                f"{path}, class split {name!r}: {both[0]!r} is in {_PARTS[one]} and in "
                f"{_PARTS[other]}; a label may be in one of them"
            )
    return found


log = logging.getLogger("mlpeft.tasks")

_MOST_TOLD = 5


@dataclass(frozen=True, slots=True, eq=False)
class IntentClasses:
    """The labels of each split, with their texts.

    Attributes:
        splits: Texts by label, sorted, by split.
        about: How many there are, who got them and what was left out, for people.
    """

    splits: dict[str, dict[str, list[str]]]
    about: str


@lru_cache(maxsize=4)
def read_classes(source: IntentSource) -> IntentClasses:
    """The labels of each split, read once for a process.

    Raises:
        DataError: If a file is damaged, or the class splits name labels that the texts
            do not have.
    """
    labelled = (
        read_labelled(
            source.texts,
            source.keys,
            "; say which they are with task_params.text_key and label_key",
        )
        if source.own
        else LabelledTexts(read_utterances(source.texts))
    )
    enough = {
        label: texts
        for label, texts in labelled.texts.items()
        if len(texts) >= source.min_examples
    }
    if source.splits is None:
        lists = assign_splits(enough, source.shares, source.class_split)
    else:
        lists = read_class_split(source.splits, source.class_split)
        _check_known(source, lists, labelled)
    splits = {
        split: {
            label: enough[label] for label in lists.get(split, ()) if label in enough
        }
        for split in SPLITS
    }
    classes = IntentClasses(splits, _about(source, labelled, splits))
    if source.own:
        log.info("%s", classes.about)
    return classes


def describe_intents(
    task_params: Mapping[str, Any], data_dir: str | Path | None = None
) -> str:
    """What labels there are and who gets them, for people; of checked task_params.

    Raises:
        DataError: As `read_classes`.
    """
    return read_classes(source_of(task_params, data_dir)).about


def _check_known(
    source: IntentSource, lists: Mapping[str, list[str]], labelled: LabelledTexts
) -> None:
    named = [label for labels in lists.values() for label in labels]
    unknown = [label for label in named if label not in labelled.texts]
    if unknown:
        near = nearest(unknown[0], labelled.texts)
        if "?" not in near:
            near = f"the texts have {listed(list(labelled.texts))}"
        raise DataError(
            f"{source.splits}, class split {source.class_split!r} has "
            f"{len(unknown)} labels that no text of {source.texts} has: "
            f"{listed([repr(label) for label in unknown])}; "
            f"{near}"
        )


def _about(
    source: IntentSource,
    labelled: LabelledTexts,
    splits: Mapping[str, Mapping[str, list[str]]],
) -> str:
    counts = " / ".join(str(len(splits[split])) for split in SPLITS)
    how = (
        f"dealt by class_split {source.class_split}"
        if source.splits is None
        else f"class split {source.class_split} of {source.splits.name}"
    )
    told = [
        f"{source.name}: {labelled.about}",
        f"{counts} labels for train, val and test ({how})",
    ]
    few = sum(len(some) < source.min_examples for some in labelled.texts.values())
    rest = len(labelled.texts) - few - sum(map(len, splits.values()))
    left_out = [
        f"{count} ({why})"
        for count, why in (
            (few, f"fewer than {source.min_examples} texts"),
            (rest, "not in the class split"),
        )
        if count
    ]
    if left_out:
        told.append(f"labels left out: {', '.join(left_out)}")
    return "; ".join(told)


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return ", ".join(names[:_MOST_TOLD]) + more


def check_supply(
    config: TaskConfig, pool: Mapping[str, Tokens], problems: Problems, *, dealt: bool
) -> None:
    """Add what a split lacks.

    Args:
        config: The task that is to be drawn.
        pool: The split's texts by label.
        problems: Is added to.
        dealt: Whether labels were dealt, and so can be dealt otherwise.
    """
    if config.num_classes > len(pool):
        other = "; lower it"
        if dealt:
            other += ", give more labels, or deal otherwise (task_params.split_shares)"
        problems.found.append(
            f"num_classes: asked for {config.num_classes}, but there are {len(pool)} "
            f"intents in this split{other}"
        )
    supports = -(-config.support_size // config.num_classes)
    queries = -(-config.query_size // config.num_classes)
    needed = supports + queries
    there = {label: len(tokens.rows) for label, tokens in pool.items()}
    poor = sorted(
        (label for label in there if there[label] < needed), key=there.__getitem__
    )
    if poor:
        told = listed([f"{label!r} has {there[label]}" for label in poor])
        problems.found.append(
            f"support_size, query_size: {config.support_size} and {config.query_size} "
            f"need {supports} + {queries} examples of a class, but {told}; lower one "
            "of them, or leave such labels out with task_params.min_examples: "
            f"{needed}"
        )
