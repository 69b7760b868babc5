"""The source of labelled texts in task_params, and the split of its labels.

dataset                 clinc150, banking77, the path of your own file, or hf:OWNER/NAME
text_key, label_key     keys or columns of your own file, by default text and label
hub_config, hub_split   the part of a data set on the hub
min_examples            leave out labels with fewer texts
class_splits            path of a file of class splits (see `.classes`)
class_split             one of them; without a file, the name of an assignment
split_shares            shares of labels in train, val and test, without a file
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
    """Labelled texts and their class split; hashable.

    Attributes:
        name: The data set's name in task_params.
        texts: Its file.
        own: Whether it is the user's own, not in the catalogue.
        keys: The keys of text and label.
        splits: The file of class splits; None: labels are assigned to splits here.
        class_split: One of the class splits, or the name of an assignment.
        shares: Shares of the labels in train, val and test.
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
        """The files to read, by names that do not depend on their folders."""
        splits = {} if self.splits is None else {"class_splits": self.splits}
        if self.own:
            return {"dataset": self.texts} | splits
        return {path.name: path for path in (self.texts, *splits.values())}


def check_source(params: Mapping[str, Any], problems: Problems) -> None:
    """Add the problems of a source's task_params."""
    data_set = str(params.get("dataset", DATA_SETS[0]))
    in_catalogue, on_hub = data_set in DATA_SETS, data_set.startswith(HUB)
    if not in_catalogue and not on_hub and not is_pairs_file(data_set):
        problems.add(
            f"task_params.dataset: unknown data set {data_set!r}; "
            f"{nearest(data_set, DATA_SETS)}; your own file is a .jsonl, .json, "
            f".csv or .tsv, a data set on the Hugging Face hub {HUB}OWNER/NAME"
        )
    if data_set == HUB:
        problems.add(
            f"task_params.dataset: {HUB!r} names no data set; expected {HUB}OWNER/NAME"
        )
    for key in (*_KEYS, *_HUB_KEYS, "class_splits"):
        if key in params:
            problems.check_string(key)
    inapplicable = {"your own data": _KEYS if in_catalogue else ()}
    inapplicable["data on the hub"] = () if on_hub else _HUB_KEYS
    for sources, keys in inapplicable.items():
        problems.add(
            *(
                f"task_params.{key}: applies to {sources}, not to {data_set}; remove it"
                for key in keys
                if key in params
            )
        )
    problems.check_integer("min_examples", low=1)
    _check_class_split(params, problems, in_catalogue=in_catalogue)


def _check_class_split(
    params: Mapping[str, Any], problems: Problems, *, in_catalogue: bool
) -> None:
    shares = params.get("split_shares", SHARES)
    if not _are_shares(shares):
        problems.add(
            "task_params.split_shares: expected three numbers above 0, for train, val "
            f"and test, got {shares!r}"
        )
    from_file = "class_splits" in params
    if (in_catalogue or from_file) and "split_shares" in params:
        problems.add(
            "task_params.split_shares: class_splits already assigns labels to train, "
            "val and test; remove one of the two"
            if from_file
            else "task_params.split_shares: the data set has class splits; remove it"
        )
    class_split = _class_split(params)
    if in_catalogue and not from_file and class_split not in CLASS_SPLITS:
        problems.check_choice("class_split", CLASS_SPLITS)
    elif not isinstance(class_split, str) or not class_split:
        problems.check_string("class_split")


def source_of(
    params: Mapping[str, Any], data_dir: str | Path | None = None
) -> IntentSource:
    """The source of checked task_params.

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
        keys=TEXT_KEYS if name.startswith(HUB) else own_keys(params),
        splits=splits,
        class_split=str(_class_split(params)),
        shares=tuple(map(float, params.get("split_shares", SHARES))),
        min_examples=int(params.get("min_examples", 1)),
    )


def intent_assets(task_params: Mapping[str, Any]) -> tuple[Asset, ...]:
    """The files of texts and class splits, and the tokenizer if it is named."""
    name = str(task_params.get("dataset", DATA_SETS[0]))
    if name.startswith(HUB):
        assets = [_hub_asset(task_params)]
    elif is_pairs_file(name):
        assets = [Asset(name, AssetKind.FILE)]
    else:
        assets = [Asset(file, AssetKind.DATA) for file in intent_names(name)]
    kinds = {"class_splits": AssetKind.FILE, "tokenizer": AssetKind.MODEL}
    assets += [
        Asset(str(task_params[key]), kind)
        for key, kind in kinds.items()
        if key in task_params
    ]
    return tuple(assets)


def _hub_asset(params: Mapping[str, Any]) -> Asset:
    config, split = (str(params[key]) if key in params else None for key in _HUB_KEYS)
    name = str(params["dataset"])
    return Asset(name, AssetKind.HUB, HubTexts(name, config, split, own_keys(params)))


def own_keys(params: Mapping[str, Any]) -> Keys:
    """The keys or columns of text and label in the user's own file."""
    text, label = (
        str(params.get(key, default))
        for key, default in zip(_KEYS, TEXT_KEYS, strict=True)
    )
    return text, label


def _class_split(params: Mapping[str, Any]) -> Any:
    """The class split's name; YAML reads an unquoted 01 as the number 1."""
    value = params.get("class_split", CLASS_SPLITS[0])
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:02d}" if is_integer else value


def _are_shares(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != len(SPLITS):
        return False
    return all(
        isinstance(share, int | float)
        and not isinstance(share, bool)
        and 0 < share < math.inf
        for share in value
    )
