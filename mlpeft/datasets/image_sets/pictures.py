"""Encoded pictures as small colour squares, and as entries of a zip."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Final

import numpy as np

from mlpeft.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

MOST_BYTES: Final = 30_000_000
_FORMATS: Final = ("PNG", "JPEG")


def decode_picture(content: bytes, side: int, name: str) -> npt.NDArray[np.uint8]:
    """A PNG or JPEG file as (side, side, 3) uint8, resized with LANCZOS if need be.

    Args:
        content: The file's bytes.
        side: Height and width of the result.
        name: The file's name, for messages.

    Raises:
        DataError: If it is none, too large, or Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "reading images needs Pillow; run: pip install 'mlpeft[images]'"
        ) from error
    if len(content) > MOST_BYTES:
        raise DataError(f"{name} has {len(content)} bytes; expected a photo")
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            colour = image.convert("RGB")
            if colour.size != (side, side):
                colour = colour.resize((side, side), Image.Resampling.LANCZOS)
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} has too many pixels to be read safely") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{name} is not a PNG or JPEG image: {error}") from error
    return np.asarray(colour)


def read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a picture in a zip.

    Raises:
        DataError: If it is too large, or damaged.
    """
    if info.file_size > MOST_BYTES:
        raise DataError(
            f"{archive.filename}: {info.filename} has {info.file_size} bytes; expected "
            "a photo"
        )
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise DataError(
            f"{archive.filename}: {info.filename} is damaged: {error}"
        ) from error
