"""The registry of task families, by `task_family`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mlpeft.datasets.digits import TABLE as DIGITS
from mlpeft.datasets.folders import DATA_DIR_VARIABLE
from mlpeft.datasets.omniglot import FILE as OMNIGLOT
from mlpeft.errors import ConfigError, nearest
from mlpeft.file_caches import cached_read
from mlpeft.files import AssetOverrides, asset_overrides
from mlpeft.tasks.assets import Asset, AssetKind
from mlpeft.tasks.families import custom
from mlpeft.tasks.families.classification import (
    PATTERNS,
    LinearClassification,
    NonlinearClassification,
)
from mlpeft.tasks.families.completions import (
    Completions,
    completion_assets,
    describe_completions,
)
from mlpeft.tasks.families.custom import Custom
from mlpeft.tasks.families.digits import Digits, describe_digits
from mlpeft.tasks.families.folder import Folder, describe_folder, folder_assets
from mlpeft.tasks.families.image_sets import (
    describe_image_set,
    image_set_assets,
    image_set_family,
)
from mlpeft.tasks.families.intents.classes import describe_intents
from mlpeft.tasks.families.intents.family import TASK_PARAMS, Intents
from mlpeft.tasks.families.intents.source import intent_assets
from mlpeft.tasks.families.omniglot import Omniglot, describe_omniglot
from mlpeft.tasks.families.sinusoid import Sinusoid

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping
    from pathlib import Path
    from typing import Any

    from mlpeft.tasks.episode import Family

_POOL = "split, rotations, classes"


def _no_assets(_: Mapping[str, Any]) -> tuple[Asset, ...]:
    """For families that need no files."""
    return ()


def _no_description(_: Mapping[str, Any], __: str | Path | None) -> str:
    """For families without a description of their data."""
    return ""


@dataclass(frozen=True, slots=True)
class FamilyEntry:
    """A family in the registry.

    Attributes:
        about: What its tasks are.
        task_params: The names of its task_params.
        make: Builds it from a data folder.
        assets: The files that it reads, from the task_params.
        describe: A description of its data for people, from checked task_params and a
            data folder.
    """

    about: str
    task_params: str
    make: Callable[[str | None], Family]
    assets: Callable[[Mapping[str, Any]], tuple[Asset, ...]] = _no_assets
    describe: Callable[[Mapping[str, Any], str | Path | None], str] = _no_description


def _image_set(name: str, about: str) -> FamilyEntry:
    """The entry of a colour data set."""
    return FamilyEntry(
        about,
        _POOL,
        partial(image_set_family, name),
        lambda _: image_set_assets(name),
        lambda _, data_dir: describe_image_set(name, data_dir),
    )


FAMILIES = {
    "linear_classification": FamilyEntry(
        "sectors that meet in one point, in any number of classes and dimensions",
        "rotation_angle, translation, noise",
        lambda _: LinearClassification(),
    ),
    "nonlinear_classification": FamilyEntry(
        f"patterns that no line separates: {', '.join(PATTERNS)}",
        "rotation_angle, translation, noise, pattern",
        lambda _: NonlinearClassification(),
    ),
    "sinusoid": FamilyEntry(
        "regression of amplitude sin(x + phase), num_classes outputs",
        "amplitude, phase",
        lambda _: Sinusoid(),
    ),
    "omniglot": FamilyEntry(
        "handwritten characters of 45 or 50 alphabets, 28 x 28",
        _POOL,
        Omniglot,
        lambda _: (Asset(OMNIGLOT, AssetKind.DATA),),
        describe_omniglot,
    ),
    "mini_imagenet": _image_set(
        "mini_imagenet", "photos of 100 classes of ImageNet, 84 x 84"
    ),
    "tiered_imagenet": _image_set(
        "tiered_imagenet", "photos of 608 classes of ImageNet, 84 x 84"
    ),
    "cifar_fs": _image_set("cifar_fs", "photos of CIFAR-100's classes, 32 x 32"),
    "cub": _image_set("cub", "photos of 200 species of birds, 84 x 84"),
    "digits": FamilyEntry(
        "handwritten digits, 8 x 8, without a download",
        _POOL,
        lambda _: Digits(),
        lambda _: (Asset(DIGITS, AssetKind.PACKAGED),),
        describe_digits,
    ),
    "folder": FamilyEntry(
        "your own images: a folder with a folder for each class",
        f"path, size, {_POOL}",
        lambda _: Folder(),
        folder_assets,
        describe_folder,
    ),
    "intents": FamilyEntry(
        "what an utterance asks for: CLINC150, Banking77 or texts of your own",
        ", ".join(TASK_PARAMS),
        Intents,
        intent_assets,
        describe_intents,
    ),
    "completions": FamilyEntry(
        "completions of a prompt: your own prompts and completions, by task",
        "path, template, tokenizer, task, split",
        lambda _: Completions(),
        completion_assets,
        describe_completions,
    ),
    "custom": FamilyEntry(
        "your own Python function, classification",
        "entry_point, input_shape, and your own",
        lambda _: Custom("custom", regression=False),
    ),
    "custom_regression": FamilyEntry(
        "your own Python function, regression",
        "entry_point, input_shape, and your own",
        lambda _: Custom("custom_regression", regression=True),
    ),
}


def get_family(name: str, data_dir: str | Path | None = None) -> Family:
    """The family with this name; built once per name and data folder.

    Args:
        name: A `task_family`.
        data_dir: Folder of its data, see `mlpeft.datasets.folders`.

    Raises:
        ConfigError: If there is none, with the nearest name.
    """
    if name not in FAMILIES:
        raise ConfigError(
            [f"task_family: unknown family {name!r}; {nearest(str(name), FAMILIES)}"]
        )
    # The variable and the overrides are in the key, so that changes take effect.
    folder = None if data_dir is None else str(data_dir)
    return _make(name, (folder, os.getenv(DATA_DIR_VARIABLE)), asset_overrides())


def admit(
    families: Iterable[str],
    task_params: Mapping[str, Any],
    allow_modules: Container[str] | None,
) -> None:
    """Let this process import the user's module in task_params, if it is allowed.

    Args:
        families: The task_family names in use.
        task_params: Settings of the tasks.
        allow_modules: Modules that may be imported; None: any.
    """
    module = custom.module_of(task_params)
    is_custom = any(name.startswith("custom") for name in families)
    if is_custom and module and (allow_modules is None or module in allow_modules):
        custom.allow(module)


@cached_read(maxsize=32)
def _make(
    name: str,
    folders: tuple[str | None, str | None],
    files: AssetOverrides,  # noqa: ARG001 - part of the key
) -> Family:
    return FAMILIES[name].make(folders[0])
