"""Convert Omniglot's official archives to omniglot.npz.

The archives contain 105 x 105 one-bit PNGs, black on white, as
`images_background/Alphabet/characterNN/NNNN_DD.png`. Each becomes 28 x 28 grey values
(Pillow's LANCZOS), inverted, so that ink is 255.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.datasets.images import open_image
from mlpeft.errors import DataError
from mlpeft.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import numpy.typing as npt

ARCHIVES = ("images_background", "images_evaluation")
SIDE = 28
SOURCE_SIDE = 105
_ENTRY = re.compile(
    r"(?P<archive>images_background|images_evaluation)/(?P<alphabet>[^/]+)/"
    r"(?P<character>character\d+)/(?P<number>\d+)_(?P<drawing>\d+)\.png"
)
_MAX_PNG_BYTES = 100_000

Key = tuple[int, str, str, int]
"""A class: split, alphabet, character and Omniglot's number, in sorting order."""


def convert_archives(
    archives: Iterable[Path],
    target: Path,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write omniglot.npz from images_background.zip and images_evaluation.zip.

    Args:
        archives: The zip files, in any order.
        target: The file to write, atomically.
        progress: Called with the number of images done, and their total.

    Raises:
        DataError: If an archive is missing, damaged, or has other contents.
    """
    drawings = _read_drawings(archives, progress)
    counts = {len(images) for images in drawings.values()}
    if len(counts) != 1:
        raise DataError(
            f"the archives have between {min(counts)} and {max(counts)} drawings per "
            "class, expected the same number of each; are they complete?"
        )
    content = io.BytesIO()
    # The stubs expect a bool for a keyword that could be allow_pickle.
    np.savez_compressed(content, **_build_arrays(drawings))  # type: ignore[arg-type]
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, content.getvalue())


def _read_drawings(
    archives: Iterable[Path], progress: Callable[[int, int], None] | None
) -> dict[Key, dict[int, npt.NDArray[np.uint8]]]:
    """Read the images of every class, by the number of the drawing."""
    drawings: dict[Key, dict[int, npt.NDArray[np.uint8]]] = defaultdict(dict)
    done, total = 0, 0
    paths = list(archives)
    for path in paths:
        try:
            with zipfile.ZipFile(path) as archive:
                entries = [
                    (info, match)
                    for info in archive.infolist()
                    if (match := _ENTRY.fullmatch(info.filename))
                ]
                total += len(entries)
                for info, match in entries:
                    key = (
                        ARCHIVES.index(match["archive"]),
                        match["alphabet"],
                        match["character"],
                        int(match["number"]),
                    )
                    drawings[key][int(match["drawing"])] = _read_image(archive, info)
                    done += 1
                    if progress is not None:
                        progress(done, total)
        # RuntimeError: a member has a password.
        except (zipfile.BadZipFile, RuntimeError, EOFError) as error:
            raise DataError(f"{path} is damaged, or not a zip file: {error}") from error
    missing = [
        f"{name}.zip"
        for split, name in enumerate(ARCHIVES)
        if not any(key[0] == split for key in drawings)
    ]
    if missing:
        raise DataError(
            f"no image of {' and '.join(missing)} in {', '.join(map(str, paths))}; "
            "give both of Omniglot's archives (python/ in "
            "https://github.com/brendenlake/omniglot)"
        )
    return drawings


def _read_image(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo
) -> npt.NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "reading PNG files needs Pillow; run: pip install 'mlpeft[images]'"
        ) from error
    if info.file_size > _MAX_PNG_BYTES:
        raise DataError(
            f"{archive.filename}: {info.filename} has {info.file_size} bytes; expected "
            "a small drawing"
        )
    try:
        with open_image(io.BytesIO(archive.read(info)), formats=("PNG",)) as image:
            if image.size != (SOURCE_SIDE, SOURCE_SIDE):
                raise DataError(
                    f"{archive.filename}: {info.filename} is {image.size[0]} x "
                    f"{image.size[1]}, expected {SOURCE_SIDE} x {SOURCE_SIDE}"
                )
            small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, ValueError, zlib.error) as error:
        raise DataError(
            f"{archive.filename}: {info.filename} is not a PNG: {error}"
        ) from error
    return 255 - np.asarray(small)


def _build_arrays(
    drawings: Mapping[Key, Mapping[int, npt.NDArray[np.uint8]]],
) -> dict[str, npt.NDArray[Any]]:
    """All arrays of omniglot.npz; classes sorted by split, alphabet, character."""
    keys = sorted(drawings)
    alphabets = list(dict.fromkeys(alphabet for _, alphabet, _, _ in keys))
    class_alphabet = np.array([alphabets.index(key[1]) for key in keys], np.uint8)
    class_split = np.array([key[0] for key in keys], np.uint8)
    per_class = len(drawings[keys[0]])
    return {
        "images": np.stack(
            [drawings[key][number] for key in keys for number in sorted(drawings[key])]
        ),
        "class_id": np.repeat(np.arange(len(keys), dtype=np.int16), per_class),
        "alphabet_id": np.repeat(class_alphabet, per_class),
        "split": np.repeat(class_split, per_class),
        "drawing": np.array(
            [number for key in keys for number in sorted(drawings[key])], np.uint8
        ),
        "class_names": np.array([f"{key[1]}/{key[2]}" for key in keys]),
        "class_alphabet": class_alphabet,
        "class_split": class_split,
        "class_omniglot_number": np.array([key[3] for key in keys], np.int16),
        "alphabet_names": np.array(alphabets),
        "split_names": np.array(["background", "evaluation"]),
    }
