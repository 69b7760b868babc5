"""Class splits: which labels are for training, validation and test.

A file of them is JSON:

    {"splits": {"01": {"train": [label, ...], "valid": [...], "test": [...]}, ...}}

No label may be in two lists of a split; labels in none of them are left out.
"""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING

from mlpeft.errors import DataError, nearest

if TYPE_CHECKING:
    from pathlib import Path

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
