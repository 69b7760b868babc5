"""One .npz with the images of a data set, class after class, and its reader.

For C classes and N images in all:

    images        (N, height, width, 3) uint8, those of a class side by side
    class_names   (C,), sorted by split, then by name
    class_sizes   (C,) int64, the images of each class
    class_split   (C,) uint8; 0 train, 1 val, 2 test
    sha256        () the digest of all of these, from when the file was made

The images are stored uncompressed, so that the reader maps them into memory: data sets
of 17 GB are read on a machine with less, and processes share what is read.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from mlpeft.array_files import read_npz
from mlpeft.errors import DataError
from mlpeft.file_caches import cached_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SPLITS: Final = ("train", "val", "test")
CHANNELS: Final = 3
_IMAGES: Final = "images.npy"
_SMALL: Final = ("class_names", "class_sizes", "class_split", "sha256")
_LOCAL_HEADER: Final = 30
"""Bytes of a zip entry's header before its name."""


@dataclass(frozen=True, slots=True)
class ImageClass:
    """One class of a source.

    Attributes:
        name: Its name.
        split: One of `SPLITS`.
        count: How many images it has.
        load: Reads them, (count, height, width, 3) uint8.
    """

    name: str
    split: str
    count: int
    load: Callable[[], npt.NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class ImageArrays:
    """The arrays of a file.

    Attributes:
        images: (N, height, width, 3) uint8, mapped.
        class_names: (C,).
        class_sizes: (C,).
        class_split: (C,).
        sha256: Digest of the contents.
    """

    images: npt.NDArray[np.uint8]
    class_names: npt.NDArray[np.str_]
    class_sizes: npt.NDArray[np.integer]
    class_split: npt.NDArray[np.integer]
    sha256: str

    @property
    def about(self) -> str:
        """Images and classes, for people."""
        height, width = self.images.shape[1:3]
        counts = ", ".join(
            f"{name} {int((self.class_split == split).sum())}"
            for split, name in enumerate(SPLITS)
        )
        return f"{len(self.images):,} images of {height} x {width}; classes: {counts}"

    def by_class(self) -> Iterator[npt.NDArray[np.uint8]]:
        """The images of each class, as views."""
        ends = np.cumsum(self.class_sizes)
        for size, end in zip(self.class_sizes, ends, strict=True):
            yield self.images[end - size : end]


def write_images(
    target: Path,
    classes: Sequence[ImageClass],
    side: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a file, one class at a time in memory; atomically.

    Args:
        target: The file.
        classes: In any order.
        side: Height and width of an image.
        progress: Called with the number of images done, and their total.

    Raises:
        DataError: If a split has no classes, or a class other images than expected.
    """
    ordered = sorted(classes, key=lambda it: (SPLITS.index(it.split), it.name))
    missing = [split for split in SPLITS if all(it.split != split for it in ordered)]
    if missing:
        raise DataError(
            f"no classes for {', '.join(missing)}; give the files of all three splits"
        )
    total = sum(it.count for it in ordered)
    small: dict[str, npt.NDArray[Any]] = {
        "class_names": np.array([it.name for it in ordered]),
        "class_sizes": np.array([it.count for it in ordered], np.int64),
        "class_split": np.array([SPLITS.index(it.split) for it in ordered], np.uint8),
    }
    digest = _small_digest(small)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            with archive.open(_IMAGES, "w", force_zip64=True) as file:
                _write_header(file, (total, side, side, CHANNELS))
                done = 0
                for it in ordered:
                    images = np.ascontiguousarray(it.load())
                    _check_images(it, images, side)
                    digest.update(images.data)
                    file.write(images.tobytes())
                    done += it.count
                    if progress is not None:
                        progress(done, total)
            small["sha256"] = np.array(digest.hexdigest())
            for name, array in small.items():
                content = io.BytesIO()
                np.save(content, array, allow_pickle=False)
                archive.writestr(f"{name}.npy", content.getvalue())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@cached_read(maxsize=8)
def _read(path: Path, _: tuple[int, int]) -> ImageArrays:
    try:
        small = read_npz(path, _SMALL)
        images = _map_images(path)
    except ValueError as error:
        raise DataError(f"{path} cannot be read as images of classes: {error}") from (
            error
        )
    names, sizes, splits = (small[name] for name in _SMALL[:3])
    if not (
        names.ndim == 1
        and names.dtype.kind == "U"
        and sizes.shape == splits.shape == names.shape
        and len(names)
        and sizes.dtype.kind in "iu"
        and sizes.min() > 0
        and images.ndim == 4
        and images.dtype == np.uint8
        and images.shape[3] == CHANNELS
        and int(sizes.sum()) == len(images)
        and set(np.unique(splits)) <= set(range(len(SPLITS)))
    ):
        raise DataError(
            f"{path} is damaged: expected uint8 images (N, height, width, 3), and a "
            "name, a size and a split (0, 1 or 2) for each class; got images "
            f"{images.dtype} {images.shape}, names {names.shape}, sizes {sizes.shape}, "
            f"splits {splits.shape}; import it again"
        )
    return ImageArrays(images, names, sizes, splits, str(small["sha256"]))


def read_images(path: Path) -> ImageArrays:
    """Map a file's images and read its classes; once per process and file.

    Raises:
        DataError: If it is no such file, or its arrays are inconsistent.
    """
    status = path.stat()
    return _read(path.absolute(), (status.st_size, status.st_mtime_ns))


def check_digest(arrays: ImageArrays, path: Path) -> None:
    """Read all images and compare their digest with that from when the file was made.

    Raises:
        DataError: If it differs.
    """
    digest = _small_digest(
        {
            "class_names": arrays.class_names,
            "class_sizes": arrays.class_sizes,
            "class_split": arrays.class_split,
        }
    )
    for images in arrays.by_class():
        digest.update(images.data)
    if digest.hexdigest() != arrays.sha256:
        raise DataError(
            f"{path} is damaged: its contents have SHA-256 {digest.hexdigest()}, but "
            f"had {arrays.sha256} when it was made; import it again"
        )


def _small_digest(small: dict[str, npt.NDArray[Any]]) -> hashlib._Hash:
    digest = hashlib.sha256("\0".join(map(str, small["class_names"])).encode())
    for name in ("class_sizes", "class_split"):
        digest.update(small[name].astype("<i8").tobytes())
    return digest


def _check_images(it: ImageClass, images: npt.NDArray[Any], side: int) -> None:
    expected = (it.count, side, side, CHANNELS)
    if images.shape != expected or images.dtype != np.uint8:
        raise DataError(
            f"class {it.name!r} has images {images.dtype} {images.shape}, expected "
            f"uint8 {expected}"
        )


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    """The header of the .npy file of C-ordered bytes."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, header)


def _map_images(path: Path) -> npt.NDArray[np.uint8]:
    """The images, mapped; or in memory if somebody has compressed the file.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(_IMAGES)
        if entry.compress_type != zipfile.ZIP_STORED:
            return read_npz(path, ["images"])["images"]
        with path.open("rb") as file:
            file.seek(entry.header_offset)
            local = file.read(_LOCAL_HEADER)
            names = int.from_bytes(local[26:28], "little")
            extra = int.from_bytes(local[28:30], "little")
            file.seek(names + extra, io.SEEK_CUR)
            start = file.tell()
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, fortran, dtype = read(file)
            offset = file.tell()
        bytes_expected = int(np.prod(shape, dtype=np.float64)) + offset - start
        if fortran or dtype != np.uint8 or bytes_expected != entry.file_size:
            raise ValueError(f"images are {dtype} {shape} in {entry.file_size} bytes")
        return np.asarray(np.memmap(path, np.uint8, "r", offset, shape))
    except (KeyError, OSError, zipfile.BadZipFile, TypeError) as error:
        raise ValueError(str(error)) from error
