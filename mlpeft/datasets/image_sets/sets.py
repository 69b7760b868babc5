"""The colour data sets by name: what to give, and how it is read."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.datasets.image_sets import cifar_fs, cub, mini_imagenet, tiered_imagenet
from mlpeft.datasets.image_sets.image_file import read_images, write_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mlpeft.datasets.image_sets.image_file import ImageClass


@dataclass(frozen=True, slots=True)
class ImageSet:
    """One data set.

    Attributes:
        name: Its name in commands, and its task family.
        side: Height and width of its images.
        classes: Reads the classes of the usual files.
        expected: Which these are.
    """

    name: str
    side: int
    classes: Callable[[Sequence[Path]], list[ImageClass]]
    expected: str

    @property
    def file(self) -> str:
        """Our file, in a data folder."""
        return f"{self.name}.npz"

    @property
    def remedy(self) -> str:
        """How to get it."""
        return f"run: mlpeft data import {self.name} FILES ({self.expected})"

    def convert(
        self,
        paths: Sequence[Path],
        target: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Write our file from the usual ones, or from one of ours.

        Raises:
            DataError: If they are not as expected.
        """
        if len(paths) == 1 and paths[0].name == self.file:
            read_images(paths[0])
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            shutil.copyfile(paths[0], partial)
            partial.replace(target)
            return
        write_images(target, self.classes(paths), self.side, progress)


IMAGE_SETS = {
    image_set.name: image_set
    for image_set in (
        ImageSet(
            "mini_imagenet",
            mini_imagenet.SIDE,
            mini_imagenet.mini_imagenet_classes,
            mini_imagenet.EXPECTED,
        ),
        ImageSet(
            "tiered_imagenet",
            tiered_imagenet.SIDE,
            tiered_imagenet.tiered_imagenet_classes,
            tiered_imagenet.EXPECTED,
        ),
        ImageSet(
            "cifar_fs", cifar_fs.SIDE, cifar_fs.cifar_fs_classes, cifar_fs.EXPECTED
        ),
        ImageSet("cub", cub.SIDE, cub.cub_classes, cub.EXPECTED),
    )
}
