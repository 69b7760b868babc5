"""What task_params say of labelled texts: where they are, and who gets which labels.

dataset        clinc150, banking77, or the path of a file of your own
text_key, label_key         its keys or columns, where they are not text and label
min_examples   leave out labels with fewer texts
class_splits   path of a file of class splits (`mlpeft.tasks.families.intents.classes`)
class_split    which of them
split_shares, split_seed    how labels are dealt to train, val and test without one
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlpeft.datasets.hub_texts import HUB, HubTexts
from mlpeft.datasets.intents import (
    CLASS_SPLITS,
    DATA_SETS,
    intent_files,
    intent_names,
)
from mlpeft.datasets.split_assignment import SHARES, SPLITS
from mlpeft.datasets.text_files import TEXT_KEYS, is_pairs_file
from mlpeft.errors import nearest
from mlpeft.tasks.assets import Asset, AssetKind, hub_file, own_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.datasets.text_files import Keys
    from mlpeft.tasks.check import Problems

SOURCE_PARAMS = (
    "dataset",
    "text_key",
    "label_key",
    "hub_config",
    "hub_split",
    "min_examples",
    "class_splits",
    "class_split",
    "split_shares",
)
_KEYS = ("text_key", "label_key")
_HUB_KEYS = ("hub_config", "hub_split")


@dataclass(frozen=True, slots=True)
class IntentSource:
    """Labelled texts and their class split; can be a key of a cache.

    Attributes:
        name: The data set, as it was given.
        texts: Its file.
        own: Whether it is the user's own, and no data set that mlpeft knows.
        keys: The keys of text and label.
        splits: The file of class splits; None: labels are dealt.
        class_split: Which of them, or which deal.
        shares: How labels are dealt.
        min_examples: Labels with fewer texts are left out.
    """

    name: str
    texts: Path
    own: bool
    keys: Keys
    splits: Path | None
    class_split: str
    shares: tuple[float, ...]
    min_examples: int

    def files(self) -> dict[str, Path]:
        """The files that are read, by names that do not hang on where they lie."""
        splits = {} if self.splits is None else {"class_splits": self.splits}
        if self.own:
            return {"dataset": self.texts} | splits
        return {path.name: path for path in (self.texts, *splits.values())}


def check_source(params: Mapping[str, Any], problems: Problems) -> None:
    """Add what is wrong with the task_params of a source."""
    data_set = str(params.get("dataset", DATA_SETS[0]))
    known, on_hub = data_set in DATA_SETS, data_set.startswith(HUB)
    if not known and not on_hub and not is_pairs_file(data_set):
        problems.found.append(
            f"task_params.dataset: {data_set!r} is not one; "
            f"{nearest(data_set, DATA_SETS)} A file of your own is a .jsonl or a .csv, "
            f"a data set of the Hugging Face hub {HUB}OWNER/NAME"
        )
    if data_set == HUB:
        problems.found.append(
            f"task_params.dataset: {HUB!r} names no data set; expected {HUB}OWNER/NAME"
        )
    for key in (*_KEYS, *_HUB_KEYS, "class_splits"):
        if key in params:
            problems.text(key)
    of_others = {"data of your own": _KEYS if known else ()}
    of_others["data of the hub"] = () if on_hub else _HUB_KEYS
    for whose, keys in of_others.items():
        problems.found += [
            f"task_params.{key}: is for {whose}, not {data_set}; remove it"
            for key in keys
            if key in params
        ]
    problems.whole("min_examples", low=1)
    _check_class_split(params, problems, known=known)


def _check_class_split(
    params: Mapping[str, Any], problems: Problems, *, known: bool
) -> None:
    shares = params.get("split_shares", SHARES)
    if not _are_shares(shares):
        problems.found.append(
            "task_params.split_shares: expected three numbers above 0, for train, val "
            f"and test, got {shares!r}"
        )
    from_file = "class_splits" in params
    if (known or from_file) and "split_shares" in params:
        problems.found.append(
            "task_params.split_shares: a file of class splits says which labels train, "
            "val and test have; remove one of the two"
            if from_file
            else "task_params.split_shares: the data set has class splits; remove it"
        )
    class_split = _class_split(params)
    if known and not from_file and class_split not in CLASS_SPLITS:
        problems.choice("class_split", CLASS_SPLITS)
    elif not isinstance(class_split, str) or not class_split:
        problems.text("class_split")


def source_of(
    params: Mapping[str, Any], data_dir: str | Path | None = None
) -> IntentSource:
    """The source that checked task_params name.

    Raises:
        DataError: If one of its files is missing.
    """
    name = str(params.get("dataset", DATA_SETS[0]))
    own = name not in DATA_SETS
    splits = None
    if name.startswith(HUB):
        texts = hub_file(_hub_asset(params))
    elif own:
        texts = own_file(name)
    else:
        texts, splits = (files := intent_files(name, data_dir)).utterances, files.splits
    if "class_splits" in params:
        splits = own_file(str(params["class_splits"]))
    return IntentSource(
        name=name,
        texts=texts,
        own=own,
        keys=TEXT_KEYS if name.startswith(HUB) else _keys(params),
        splits=splits,
        class_split=str(_class_split(params)),
        shares=tuple(map(float, params.get("split_shares", SHARES))),
        min_examples=int(params.get("min_examples", 1)),
    )


def intent_assets(task_params: Mapping[str, Any]) -> tuple[Asset, ...]:
    """The files of texts and class splits, and the tokenizer if it is named."""
    name = str(task_params.get("dataset", DATA_SETS[0]))
    if name.startswith(HUB):
        found = [_hub_asset(task_params)]
    elif is_pairs_file(name):
        found = [Asset(name, AssetKind.FILE)]
    else:
        found = [Asset(file, AssetKind.DATA) for file in intent_names(name)]
    named = (("class_splits", AssetKind.FILE), ("tokenizer", AssetKind.MODEL))
    found += [
        Asset(str(task_params[key]), kind) for key, kind in named if key in task_params
    ]
    return tuple(found)


def _hub_asset(params: Mapping[str, Any]) -> Asset:
    config, split = (str(params[key]) if key in params else None for key in _HUB_KEYS)
    name = str(params["dataset"])
    return Asset(name, AssetKind.HUB, HubTexts(name, config, split, _keys(params)))


def _keys(params: Mapping[str, Any]) -> Keys:
    text, label = (
        str(params.get(key, usual)) for key, usual in zip(_KEYS, TEXT_KEYS, strict=True)
    )
    return text, label


def _class_split(params: Mapping[str, Any]) -> Any:
    """The class split's name; YAML reads an unquoted 01 as the number 1."""
    value = params.get("class_split", CLASS_SPLITS[0])
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:02d}" if whole else value


def _are_shares(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != len(SPLITS):
        return False
    return all(
        isinstance(share, int | float)
        and not isinstance(share, bool)
        and 0 < share < math.inf
        for share in value
    )
