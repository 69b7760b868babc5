"""Put a data set into the data folder: from local files, or from a server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mlpeft.datasets import omniglot
from mlpeft.datasets.download import Remote, download
from mlpeft.datasets.image_sets.sets import IMAGE_SETS
from mlpeft.datasets.omniglot_archives import ARCHIVES, convert_archives
from mlpeft.errors import DataError
from mlpeft.files import file_digest, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlpeft.datasets.catalogue import DataSet

    Progress = Callable[[str, int, int | None], None]
    """Called with a label, the amount done, and the total if known."""

DOWNLOADS = "omniglot.download"
"""Subfolder of a data folder for archives, until all are downloaded."""
_OFFICIAL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
OMNIGLOT_ARCHIVES = {
    "images_background": Remote(
        f"{_OFFICIAL}/images_background.zip", "68d2efa1b9178cc56df9314c21c6e718", "md5"
    ),
    "images_evaluation": Remote(
        f"{_OFFICIAL}/images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811", "md5"
    ),
}
"""The official archives. Their authors publish no digests; these MD5 sums are
those that torchvision checks. They guard against damage; the converted file is checked
as well."""


def fetch(
    data_set: DataSet,
    folder: Path,
    progress: Progress | None = None,
    remotes: Mapping[str, Remote] = OMNIGLOT_ARCHIVES,
) -> Path:
    """Download a data set from its official address and convert it to our file.

    Args:
        data_set: The data set.
        folder: The data folder.
        progress: See `Progress`.
        remotes: Omniglot's archives.

    Returns:
        The file.

    Raises:
        DataError: If it has no address, or the download fails.
    """
    if data_set.name != "omniglot":
        raise DataError(f"{data_set.name} cannot be fetched; {data_set.remedy}")
    archives = []
    for name in ARCHIVES:
        archive = folder / DOWNLOADS / f"{name}.zip"
        if not archive.is_file():
            try:
                download(remotes[name], archive, _labelled(progress, f"{name}.zip"))
            except DataError as error:
                zips = " ".join(f"{name}.zip" for name in ARCHIVES)
                raise DataError(
                    f"{error} (mlpeft data import omniglot {zips})"
                ) from error
        archives.append(archive)
    files = import_files(data_set, archives, folder, progress)
    shutil.rmtree(folder / DOWNLOADS)
    return files[0]


def import_files(
    data_set: DataSet,
    paths: Sequence[Path],
    folder: Path,
    progress: Progress | None = None,
) -> list[Path]:
    """Check files of a data set and copy them into the data folder.

    Args:
        data_set: The data set.
        paths: For omniglot the official zips, or an omniglot.npz; for colour data sets
            their usual files (`ImageSet.expected`); for others those in the catalogue.
        folder: The data folder.
        progress: See `Progress`.

    Returns:
        The files.

    Raises:
        FileNotFoundError: If a path is no file.
        DataError: If a file is not as expected; then nothing is copied.
    """
    image_set = IMAGE_SETS.get(data_set.name)
    for path in paths:
        if not path.is_file() and not (image_set and path.is_dir()):
            raise FileNotFoundError(f"no file at {path.absolute()}")
    if image_set is not None:
        target = folder / image_set.file
        image_set.convert(paths, target, _labelled(progress, target.name))
        return [target]
    if data_set.name == "omniglot":
        return [_import_omniglot(paths, folder / omniglot.FILE, progress)]
    contents: dict[str, bytes] = {}
    for path in paths:
        for file in data_set.files:
            if file.path.rpartition("/")[2] == path.name:
                digest = file_digest(path)
                if digest != file.sha256:
                    raise DataError(
                        f"{path} has SHA-256 {digest}, expected {file.sha256}: "
                        "damaged, or another version"
                    )
                contents[file.path] = path.read_bytes()
                break
        else:
            names = ", ".join(file.path.rpartition("/")[2] for file in data_set.files)
            hint = f"it has {names}" if names else data_set.remedy
            raise DataError(f"{path.name} is not a file of {data_set.name}; {hint}")
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, content)
    return [folder / name for name in contents]


def _import_omniglot(
    paths: Sequence[Path], target: Path, progress: Progress | None
) -> Path:
    if len(paths) == 1 and paths[0].suffix == ".npz":
        omniglot.read_omniglot(paths[0])
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, paths[0].read_bytes())
    else:
        convert_archives(paths, target, _labelled(progress, target.name))
        omniglot.read_omniglot(target)
    return target


def _labelled(
    progress: Progress | None, label: str
) -> Callable[[int, int | None], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(label, done, total)
