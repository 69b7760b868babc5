"""The folders that are searched for data sets.

In this order:

1. the option `--data-dir` of a command,
2. the environment variable MLPEFT_DATA_DIR,
3. the configuration's `paths.data_dir`,
4. `../shared/data` beside the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

from mlpeft.errors import DataError
from mlpeft.files import override_of
from mlpeft.platform.home import expanded

DATA_DIR_VARIABLE = "MLPEFT_DATA_DIR"
DEFAULT_DATA_DIR = Path("data")
_CHECKOUT = Path(__file__).resolve().parents[2]


def data_folders(
    data_dir: str | Path | None = None, first: Path | None = None
) -> tuple[Path, ...]:
    """The folders that are searched for data sets, in order.

    Args:
        data_dir: The configuration's; None: `data`.
        first: A folder to search before all others, from a command's option.
    """
    variable = os.environ.get(DATA_DIR_VARIABLE)
    folders = [] if first is None else [expanded(first)]
    if variable:
        folders.append(expanded(variable))
    folders.append(expanded(DEFAULT_DATA_DIR if data_dir is None else data_dir))
    folders.append(_CHECKOUT.parent / "shared" / "data")
    return tuple(dict.fromkeys(folder.absolute() for folder in folders))


def find(
    file: str,
    data_dir: str | Path | None = None,
    remedy: str = "",
    first: Path | None = None,
) -> Path:
    """The asset override of a data file, or the first folder's that has it.

    Args:
        file: Path in a data folder.
        data_dir: See `data_folders`.
        remedy: How to get it, for the message.
        first: See `data_folders`.

    Raises:
        DataError: If no folder has it, naming all that were searched.
    """
    override = override_of(file)
    if override is not None:
        return override
    folders = data_folders(data_dir, first)
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    searched = ", ".join(map(str, folders))
    hint = f"; {remedy}" if remedy else ""
    raise DataError(
        f"data file {file!r} not found (searched {searched}){hint}, or set "
        f"{DATA_DIR_VARIABLE} or paths.data_dir to the folder that has it"
    )


def target_folder(data_dir: str | Path | None = None) -> Path:
    """The folder for new data sets: the first of those searched."""
    return data_folders(data_dir)[0]
