"""CUB: 200 species of birds from CUB_200_2011.tgz, 84 x 84, not cropped.

The splits are those of Chen et al., "A Closer Look at Few-shot Classification" (ICLR
2019): of the classes in order, every second one trains; of the others, every second one
validates and the rest test: 100, 50 and 50.
"""

from __future__ import annotations

import re
import tarfile
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from mlpeft.datasets.image_sets.image_file import ImageClass
from mlpeft.datasets.image_sets.pictures import MOST_BYTES, decode_picture
from mlpeft.errors import DataError
from mlpeft.files import file_digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

SIDE: Final = 84
MD5: Final = "97eceeb196236b17998738112f37df78"
"""Of the official archive, as its downloaders check it: against damage, not malice."""
EXPECTED: Final = "expected CUB_200_2011.tgz, the archive of the images"
_PICTURE: Final = re.compile(
    r"(?:.*/)?images/(?P<label>\d+\.[^/]+)/(?P<file>[^/]+)\.jpg"
)


def cub_classes(paths: Sequence[Path]) -> list[ImageClass]:
    """The classes of the archive; reads it once, 250 MB in memory.

    Raises:
        DataError: If it is another file, or damaged.
    """
    if len(paths) != 1:
        raise DataError(f"{EXPECTED}; got {len(paths)} files")
    digest = file_digest(paths[0], "md5")
    if digest != MD5:
        raise DataError(
            f"{paths[0]} has MD5 {digest}, expected {MD5}: damaged, or other; "
            f"{EXPECTED}"
        )
    found: dict[str, dict[str, npt.NDArray[np.uint8]]] = defaultdict(dict)
    try:
        with tarfile.open(paths[0], "r:*") as archive:
            for member in archive:
                match = _PICTURE.fullmatch(member.name)
                if match is None or not member.isfile():
                    continue
                if member.size > MOST_BYTES:
                    raise DataError(f"{member.name} is too large for a photo")
                file = archive.extractfile(member)
                content = b"" if file is None else file.read()
                picture = decode_picture(content, SIDE, member.name)
                found[match["label"]][match["file"]] = picture
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{paths[0]} is damaged: {error}; {EXPECTED}") from error
    return [
        ImageClass(label, _split(index), len(pictures), partial(_load, pictures))
        for index, (label, pictures) in enumerate(sorted(found.items()))
    ]


def _split(index: int) -> str:
    return "train" if index % 2 == 0 else "val" if index % 4 == 1 else "test"


def _load(pictures: dict[str, npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    return np.stack([pictures[name] for name in sorted(pictures)])
