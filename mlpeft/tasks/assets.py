"""Assets: the files and folders that a run needs besides its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from mlpeft.datasets.folders import find
from mlpeft.datasets.hub_texts import HUB_FILE, HubTexts, hub_texts_file
from mlpeft.datasets.rows import COMPRESSED, FORMATS
from mlpeft.errors import DataError
from mlpeft.files import override_of
from mlpeft.models.pretrained.source import model_path
from mlpeft.platform.home import expanded

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


class AssetKind(StrEnum):
    """The kind of an asset, which decides where it is searched."""

    DATA = "data"
    """A file in a data folder; its name is its path there."""
    MODEL = "model"
    """A pretrained model's folder or file; its name is that in `model.weights`."""
    IMAGES = "images"
    """A folder of images; its name is its path."""
    FILE = "file"
    """A user's own file; its name is its path."""
    HUB = "hub"
    """A data set on the Hugging Face hub, as a file; its name is that in `dataset`."""
    PACKAGED = "packaged"
    """A file of an installed package; its name is PACKAGE/PATH."""


SUFFIXES = {
    AssetKind.DATA: (".npz", ".gz", ".json", ".jsonl"),
    AssetKind.MODEL: (".safetensors", ".gguf", ".json", ".txt", ".model", ".jinja"),
    AssetKind.IMAGES: (*IMAGES, ".npy"),
    AssetKind.FILE: (
        *FORMATS,
        *(suffix + COMPRESSED for suffix in FORMATS),
    ),
    AssetKind.HUB: (".jsonl",),
    AssetKind.PACKAGED: (".csv.gz",),
}
"""Allowed suffixes of an asset's files: data only, nothing executable."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file or a folder that a run needs.

    Attributes:
        name: Its name in the configuration or the family.
        kind: Its kind.
        selection: For a data set on the hub: the texts to read.
    """

    name: str
    kind: AssetKind
    selection: HubTexts | None = None

    @property
    def file_name(self) -> str:
        """The file's name where its path is unknown, such as in a cache."""
        return HUB_FILE if self.selection else self.name.rpartition("/")[2]

    def locate(
        self, data_dir: str | Path | None = None, *, download: bool = True
    ) -> Path:
        """The file or folder on this machine.

        Args:
            data_dir: The configuration's, see `mlpeft.datasets.folders`.
            download: Whether it may be downloaded from the hub.

        Raises:
            DataError: If it is not found.
        """
        match self.kind:
            case AssetKind.DATA:
                return find(self.name, data_dir)
            case AssetKind.MODEL:
                return model_path(self.name, download=download)
            case AssetKind.IMAGES:
                return images_folder(self.name)
            case AssetKind.FILE:
                return own_file(self.name)
            case AssetKind.HUB:
                return hub_file(self, download=download)
            case AssetKind.PACKAGED:
                return packaged_file(self.name)


def images_folder(path: str) -> Path:
    """The folder of images at this path.

    Raises:
        DataError: If there is none.
    """
    folder = override_of(path) or expanded(path).absolute()
    if not folder.is_dir():
        raise DataError(
            f"no folder at {folder}; set task_params.path to the folder that contains "
            "your class folders"
        )
    return folder


def own_file(path: str) -> Path:
    """The user's own file at this path.

    Raises:
        DataError: If there is none.
    """
    file = override_of(path) or expanded(path).absolute()
    if not file.is_file():
        raise DataError(f"no file at {file}; correct its path in task_params")
    return file


def hub_file(asset: Asset, *, download: bool = True) -> Path:
    """The file of a data set on the hub.

    Args:
        asset: The data set.
        download: Whether to read the hub; False: only an asset override.

    Raises:
        DataError: If it is not found.
    """
    file = override_of(asset.name)
    if file is not None:
        return file
    if asset.selection is None or not download:
        raise DataError(f"{asset.name} is not on this machine")
    return hub_texts_file(asset.selection)


def packaged_file(name: str) -> Path:
    """A file of an installed package; the package is not imported.

    Args:
        name: PACKAGE/PATH.

    Raises:
        DataError: If the package is not installed, or has no such file.
    """
    package, _, _ = name.partition("/")
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder).parent / name
        if file.is_file():
            return file
    raise DataError(f"no installed package has {name}")
