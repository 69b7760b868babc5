"""Where data sets lie: the folders that are searched, in order.

1. the folder that a command was given with `--data-dir`,
2. the environment variable MLPEFT_DATA_DIR,
3. the configuration's `paths.data_dir`,
4. `../shared/data` beside the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

from mlpeft.errors import DataError
from mlpeft.files import override_of

DATA_DIR_VARIABLE = "MLPEFT_DATA_DIR"
DEFAULT_DATA_DIR = Path("data")
_CHECKOUT = Path(__file__).resolve().parents[2]


def data_folders(
    data_dir: str | Path | None = None, given: Path | None = None
) -> tuple[Path, ...]:
    """The folders in which data sets are looked for, the first one first.

    Args:
        data_dir: The configuration's; None: `data`.
        given: What a command was given; it comes before everything.
    """
    named = os.environ.get(DATA_DIR_VARIABLE)
    folders = [] if given is None else [given.expanduser()]
    if named:
        folders.append(Path(named).expanduser())
    folders.append(
        Path(DEFAULT_DATA_DIR if data_dir is None else data_dir).expanduser()
    )
    folders.append(_CHECKOUT.parent / "shared" / "data")
    return tuple(dict.fromkeys(folder.absolute() for folder in folders))


def find(
    file: str,
    data_dir: str | Path | None = None,
    remedy: str = "",
    given: Path | None = None,
) -> Path:
    """The file that was provided under this name, or the folders' first.

    Args:
        file: Path inside a data folder.
        data_dir: See `data_folders`.
        remedy: What to do when there is none, for the message.
        given: See `data_folders`.

    Raises:
        DataError: If no folder has it, naming all that were looked at.
    """
    provided = override_of(file)
    if provided is not None:
        return provided
    folders = data_folders(data_dir, given)
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    looked = ", ".join(map(str, folders))
    hint = f"; {remedy}" if remedy else ""
    raise DataError(
        f"data file {file!r} is not there (looked in {looked}){hint}, or point "
        f"{DATA_DIR_VARIABLE} or paths.data_dir at the folder that has it"
    )


def target_folder(data_dir: str | Path | None = None) -> Path:
    """The folder that new data sets are put into: the first of those searched."""
    return data_folders(data_dir)[0]
