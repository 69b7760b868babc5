"""One image file as a small grey square, as a person sees it.

Its depth, transparency and orientation count: 16-bit values keep their proportion,
what is transparent lies on white, and a photo that its camera turned is upright.
"""

from __future__ import annotations

import warnings
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlpeft.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

MOST_PIXELS = 64_000_000
"""Phones take photos of 50 million; each pixel takes some 16 bytes while it is read."""
DEEP = 65535
"""White in a grey image of 16 bits."""


def read_image(file: Path, size: int) -> npt.NDArray[np.uint8]:
    """Read an image as grey values (size, size); 255 is white.

    Args:
        file: A file in one of Pillow's formats.
        size: Height and width, in pixels.

    Raises:
        DataError: If it is damaged, too large, of an unknown depth, or Pillow is
            missing; the message names the file.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise DataError(
            "reading images needs Pillow; run: pip install 'mlpeft[images]'"
        ) from error
    try:
        with open_image(file) as image:
            image.load()
            grey = ImageOps.exif_transpose(_grey(image))
            return np.asarray(grey.resize((size, size), Image.Resampling.LANCZOS))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{file} cannot be read as an image: {error}") from error


def open_image(
    file: Path | IO[bytes], formats: tuple[str, ...] | None = None
) -> Image.Image:
    """Open an image, whose size is known by its header, and decode nothing.

    Args:
        file: The file.
        formats: Of Pillow; None: all.

    Raises:
        DataError: If it has more than `MOST_PIXELS`.
        OSError, SyntaxError, ValueError: If it is damaged.
    """
    from PIL import Image

    name = getattr(file, "name", "the image")
    try:
        with warnings.catch_warnings():  # its limit is another than ours
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=formats)
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{name} has too many pixels to be read safely: {error}; make it smaller"
        ) from error
    width, height = image.size
    if width * height > MOST_PIXELS:
        image.close()
        raise DataError(
            f"{name} has too many pixels to be read safely: {width} x {height}, at "
            f"most {MOST_PIXELS} in all; make it smaller"
        )
    return image


def _grey(image: Image.Image) -> Image.Image:
    """The image in 8-bit grey (L), on white, with its Exif data."""
    from PIL import Image

    if image.mode[0] in "IF":
        grey = Image.fromarray(_shallow(image))
    elif image.has_transparency_data:
        opaque = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        grey = Image.alpha_composite(white, opaque).convert("L")
    else:
        grey = image.convert("L")
    # `exif_transpose` looks for the orientation in these.
    grey.info["exif"] = image.getexif().tobytes()
    return grey


def _shallow(image: Image.Image) -> npt.NDArray[np.uint8]:
    """The 8-bit values of a grey image of more bits.

    Raises:
        ValueError: If its values do not tell which of them is white.
    """
    values: npt.NDArray[Any] = np.asarray(image).astype(np.float64)
    # Pillow before 11 opens PNG images of 16 bits in the mode for 32.
    white = 1.0 if image.mode == "F" else DEEP
    if not (values.min() >= 0 and values.max() <= white):
        raise ValueError(
            f"grey values from {values.min():g} to {values.max():g}, expected 0 to "
            f"{white:g}; save it with 8 or 16 bits"
        )
    shallow = np.rint(values * (255 / white)).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        shallow[values == clear] = 255
    return shallow
