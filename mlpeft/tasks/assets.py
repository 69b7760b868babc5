"""Assets: the files and folders that a run needs beside its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from mlpeft.datasets.folders import find
from mlpeft.datasets.hub_texts import HUB_FILE, HubTexts, hub_texts_file
from mlpeft.errors import DataError
from mlpeft.files import override_of
from mlpeft.models.pretrained.source import model_path

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


class AssetKind(StrEnum):
    """What an asset is, and so where it is looked for."""

    DATA = "data"
    """A file in a data folder; named by its path in there."""
    MODEL = "model"
    """A pretrained model's folder or file; named as `model.weights` names it."""
    IMAGES = "images"
    """A folder of images; named by its path."""
    FILE = "file"
    """A file of the user's own; named by its path."""
    HUB = "hub"
    """A data set of the Hugging Face hub, as a file; named as `dataset` names it."""
    PACKAGED = "packaged"
    """A file that an installed package may bring; named PACKAGE/PATH."""


SUFFIXES = {
    AssetKind.DATA: (".npz", ".gz", ".json", ".jsonl"),
    AssetKind.MODEL: (".safetensors", ".gguf", ".json", ".txt", ".model", ".jinja"),
    AssetKind.IMAGES: (*IMAGES, ".npy"),
    AssetKind.FILE: (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".json"),
    AssetKind.HUB: (".jsonl",),
    AssetKind.PACKAGED: (".csv.gz",),
}
"""What the files of an asset may end in: data only, nothing that runs."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file or a folder that a run needs.

    Attributes:
        name: As the configuration or the family names it.
        kind: What it is.
        asked: Of a data set of the hub: what to ask for.
    """

    name: str
    kind: AssetKind
    asked: HubTexts | None = None

    @property
    def file_name(self) -> str:
        """What the file is called where only its bytes are known, such as a cache."""
        return HUB_FILE if self.asked else self.name.rpartition("/")[2]

    def locate(
        self, data_dir: str | Path | None = None, *, download: bool = True
    ) -> Path:
        """The file or folder on this machine.

        Args:
            data_dir: The configuration's, see `mlpeft.datasets.folders`.
            download: Whether it may come from a hub to be on this machine.

        Raises:
            DataError: If it is not here.
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


def images_folder(where: str) -> Path:
    """The folder of images of this path.

    Raises:
        DataError: If there is none.
    """
    folder = override_of(where) or Path(where).expanduser().absolute()
    if not folder.is_dir():
        raise DataError(
            f"no folder at {folder}; set task_params.path to the folder that your "
            "class folders are in"
        )
    return folder


def own_file(where: str) -> Path:
    """The file of the user's own of this path.

    Raises:
        DataError: If there is none.
    """
    file = override_of(where) or Path(where).expanduser().absolute()
    if not file.is_file():
        raise DataError(f"no file at {file}; mend its path in task_params")
    return file


def hub_file(asset: Asset, *, download: bool = True) -> Path:
    """The file of a data set of the hub.

    Args:
        asset: Which one.
        download: False: only one that was provided will do.

    Raises:
        DataError: If it cannot be had.
    """
    file = override_of(asset.name)
    if file is not None:
        return file
    if asset.asked is None or not download:
        raise DataError(f"{asset.name} is not on this machine")
    return hub_texts_file(asset.asked)


def packaged_file(name: str) -> Path:
    """A file that an installed package brings; the package is not imported.

    Args:
        name: PACKAGE/PATH.

    Raises:
        DataError: If the package is not installed, or has no such file.
    """
    package, _, _ = name.partition("/")
    spec = find_spec(package)
    places = (spec and spec.submodule_search_locations) or ()
    for place in places:
        file = Path(place).parent / name
        if file.is_file():
            return file
    raise DataError(f"no installed package brings {name}")
