"""Images as people see them: depth, transparency, orientation; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mlpeft.datasets.images import read_image
from mlpeft.errors import DataError

Image = pytest.importorskip("PIL.Image")
ORIENTATION = 0x0112


def half_and_half(dtype, low, high):
    """A dark half on the left, a light one on the right."""
    pixels = np.full((8, 8), low, dtype)
    pixels[:, 4:] = high
    return pixels


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_keep_their_proportion(tmp_path, suffix):
    file = tmp_path / f"deep.{suffix}"
    Image.fromarray(half_and_half(np.uint16, 257 * 10, 257 * 200)).save(file)
    assert np.array_equal(read_image(file, 8), half_and_half(np.uint8, 10, 200))


def test_floats_from_0_to_1_are_grey_values(tmp_path):
    file = tmp_path / "deep.tif"
    Image.fromarray(half_and_half(np.float32, 0, 1)).save(file)
    assert np.array_equal(read_image(file, 8), half_and_half(np.uint8, 0, 255))


def test_values_of_an_unknown_depth_are_refused(tmp_path):
    file = tmp_path / "deep.tif"
    Image.fromarray(half_and_half(np.float32, -3, 7)).save(file)
    with pytest.raises(
        DataError, match=r"deep\.tif .*from -3 to 7, expected 0 to 1; s"
    ):
        read_image(file, 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(tmp_path, mode):
    file = tmp_path / "clear.png"
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4, 3] = 255
    image = Image.fromarray(pixels)
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    image.save(file)
    assert np.array_equal(read_image(file, 8), half_and_half(np.uint8, 0, 255))


def test_half_transparent_black_is_grey(tmp_path):
    file = tmp_path / "clear.png"
    Image.new("RGBA", (8, 8), (0, 0, 0, 128)).save(file)
    assert set(read_image(file, 8).ravel()) == {127}


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_a_photo_is_upright(tmp_path, orientation, turns):
    file = tmp_path / "photo.png"
    image = Image.fromarray(half_and_half(np.uint8, 0, 255))
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    image.save(file, exif=exif)
    upright = np.rot90(half_and_half(np.uint8, 0, 255), turns)
    assert np.array_equal(read_image(file, 8), upright)


def test_a_truncated_image_is_named(tmp_path):
    file = tmp_path / "half.png"
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(pixels).save(file)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"half\.png cannot be read as an image: "):
        read_image(file, 8)


def test_a_decompression_bomb_is_named(tmp_path, monkeypatch):
    file = tmp_path / "bomb.png"
    Image.new("L", (64, 64)).save(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"bomb\.png has too many pixels"):
        read_image(file, 8)


def test_a_picture_with_more_pixels_than_any_photo_is_refused_before_it_is_decoded(
    tmp_path, recwarn
):
    """10,000 x 10,000 white pixels in a PNG of some kilobytes."""
    path = tmp_path / "white.png"
    Image.new("1", (10_000, 10_000), 1).save(path)
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"too many pixels .* 10000 x 10000"):
        read_image(path, 28)
    assert not recwarn.list
