"""The labels of train, val and test with their texts, and a description of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mlpeft.datasets.intents import read_utterances
from mlpeft.datasets.split_assignment import SPLITS, assign_splits
from mlpeft.datasets.text_files import LabelledTexts, read_labelled
from mlpeft.errors import DataError, nearest
from mlpeft.file_caches import cached_read
from mlpeft.files import parse_json
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
    """Read the sorted labels of train, val and test in one class split.

    Args:
        path: The file.
        name: One of its class splits.

    Raises:
        DataError: If the file is damaged, has no such split, or has a label in two
            parts of it.
    """
    try:
        splits = parse_json(path.read_bytes())["splits"]
        names = [str(key) for key in splits]
        labels = {
            part: sorted(map(str, splits[name][key]))
            for part, key in _PARTS.items()
            if name in splits
        }
    except FileNotFoundError as error:
        raise DataError(f"no class splits at {path}") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as class splits ({error!r}); {_LAYOUT}"
        ) from error
    if not labels:
        raise DataError(f"{path} has no class split {name!r}; {nearest(name, names)}")
    for first, second in combinations(labels, 2):
        shared = sorted(set(labels[first]) & set(labels[second]))
        if shared:
            raise DataError(
                f"{path}, class split {name!r}: {shared[0]!r} is in {_PARTS[first]} "
                f"and in {_PARTS[second]}; a label may be in only one of them"
            )
    return labels


log = logging.getLogger("mlpeft.tasks")

_MAX_SHOWN = 5


@dataclass(frozen=True, slots=True, eq=False)
class IntentClasses:
    """The labels of each split, with their texts.

    Attributes:
        splits: Texts by label, sorted, by split.
        about: Their numbers, their splits and omissions, for people.
    """

    splits: dict[str, dict[str, list[str]]]
    about: str


@cached_read(maxsize=4)
def read_classes(source: IntentSource) -> IntentClasses:
    """Read the labels of each split, once per process.

    Raises:
        DataError: If a file is damaged, or the class splits have labels without texts.
    """
    labelled = (
        read_labelled(
            source.texts,
            source.keys,
            "; name them with task_params.text_key and label_key",
        )
        if source.own
        else LabelledTexts(read_utterances(source.texts))
    )
    texts = {
        label: texts
        for label, texts in labelled.texts.items()
        if len(texts) >= source.min_examples
    }
    if source.splits is None:
        labels = assign_splits(texts, source.shares, source.class_split)
    else:
        labels = read_class_split(source.splits, source.class_split)
        _check_labels(source, labels, labelled)
    splits = {
        split: {
            label: texts[label] for label in labels.get(split, ()) if label in texts
        }
        for split in SPLITS
    }
    classes = IntentClasses(splits, _describe(source, labelled, splits))
    if source.own:
        log.info("%s", classes.about)
    return classes


def describe_intents(
    task_params: Mapping[str, Any], data_dir: str | Path | None = None
) -> str:
    """Describe the labels and their splits for people, from checked task_params.

    Raises:
        DataError: As `read_classes`.
    """
    return read_classes(source_of(task_params, data_dir)).about


def _check_labels(
    source: IntentSource, labels_of: Mapping[str, list[str]], labelled: LabelledTexts
) -> None:
    """Every label of the class split must have texts."""
    split_labels = [label for labels in labels_of.values() for label in labels]
    unknown = [label for label in split_labels if label not in labelled.texts]
    if unknown:
        hint = nearest(unknown[0], labelled.texts)
        if "?" not in hint:
            hint = f"the texts have {shorten(list(labelled.texts))}"
        raise DataError(
            f"{source.splits}, class split {source.class_split!r} has "
            f"{len(unknown)} labels that no text of {source.texts} has: "
            f"{shorten([repr(label) for label in unknown])}; "
            f"{hint}"
        )


def _describe(
    source: IntentSource,
    labelled: LabelledTexts,
    splits: Mapping[str, Mapping[str, list[str]]],
) -> str:
    counts = " / ".join(str(len(splits[split])) for split in SPLITS)
    origin = (
        f"assigned by class_split {source.class_split}"
        if source.splits is None
        else f"class split {source.class_split} of {source.splits.name}"
    )
    parts = [
        f"{source.name}: {labelled.about}",
        f"{counts} labels for train, val and test ({origin})",
    ]
    few = sum(len(texts) < source.min_examples for texts in labelled.texts.values())
    rest = len(labelled.texts) - few - sum(map(len, splits.values()))
    omissions = [
        f"{count} ({reason})"
        for count, reason in (
            (few, f"fewer than {source.min_examples} texts"),
            (rest, "not in the class split"),
        )
        if count
    ]
    if omissions:
        parts.append(f"labels left out: {', '.join(omissions)}")
    return "; ".join(parts)


def shorten(names: Sequence[str]) -> str:
    """The first few names, and the number of the others."""
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(names[:_MAX_SHOWN]) + more


def check_supply(
    config: TaskConfig,
    pool: Mapping[str, Tokens],
    problems: Problems,
    *,
    assigned: bool,
) -> None:
    """Add a problem if a split has too few labels or texts.

    Args:
        config: The task to check.
        pool: The split's texts by label.
        problems: The problems to add to.
        assigned: Whether labels were assigned here, and so can be assigned otherwise.
    """
    if config.num_classes > len(pool):
        remedy = "; lower it"
        if assigned:
            remedy += ", give more labels, or change task_params.split_shares"
        problems.add(
            f"num_classes: asked for {config.num_classes}, but there are {len(pool)} "
            f"intents in this split{remedy}"
        )
    supports = -(-config.support_size // config.num_classes)
    queries = -(-config.query_size // config.num_classes)
    needed = supports + queries
    counts = {label: len(tokens.rows) for label, tokens in pool.items()}
    too_few = sorted(
        (label for label in counts if counts[label] < needed), key=counts.__getitem__
    )
    if too_few:
        examples = shorten([f"{label!r} has {counts[label]}" for label in too_few])
        problems.add(
            f"support_size, query_size: {config.support_size} and {config.query_size} "
            f"need {supports} + {queries} examples of a class, but {examples}; lower "
            "one of them, or leave such labels out with task_params.min_examples: "
            f"{needed}"
        )
