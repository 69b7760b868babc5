"""The 3x3 convolution of stride 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx

from mlpeft.models.ops.transforms import differentiable

if TYPE_CHECKING:
    from collections.abc import Sequence


def conv3x3_stride2(x: mx.array, weight: mx.array) -> mx.array:
    """3x3 convolution of stride 2 with "same" padding, no bias.

    One copy collects the patches and one matrix product does the rest, in the gradients
    too: the same values as `mx.conv2d`, several times faster on the CPU backend. Like
    the gradient of `mx.conv2d` it does not vmap.

    Args:
        x: (n, h, w, c) float32.
        weight: (filters, 3, 3, c), as in `mlx.nn.Conv2d`.

    Returns:
        (n, ceil(h / 2), ceil(w / 2), filters). Odd sizes are padded by one on both
        sides, even sizes at the end, as by TensorFlow's "same".
    """
    return _CONV(x, weight)


def _conv(x: mx.array, weight: mx.array) -> mx.array:
    n, height, width, _ = x.shape
    filters = weight.shape[0]
    product = _patches(x) @ weight.reshape(filters, -1).T
    return product.reshape(n, (height + 1) // 2, (width + 1) // 2, filters)


def _conv_vjp(
    primals: Sequence[mx.array], dy: mx.array, _: mx.array
) -> tuple[mx.array, mx.array]:
    x, weight = primals
    rows = dy.reshape(-1, dy.shape[-1])
    # The same patches as in the forward pass: mx.compile computes them once.
    dweight = (rows.T @ _patches(x)).reshape(weight.shape)
    return _input_gradient(x, weight, dy), dweight


def _input_gradient(x: mx.array, weight: mx.array, dy: mx.array) -> mx.array:
    """The gradient as a 2x2 convolution of dy whose outputs are 2x2 blocks of pixels.

    Pixel 2k + a of the padded image, a in {0, 1}, contributes to the outputs k - i, i
    in {0, 1}, through the taps 2i + a, tap 3 being zero; likewise along the width. The
    zero taps cost 16/9 of the arithmetic, less than adding nine overlapping images.
    """
    _, height, width, channels = x.shape
    n, rows, columns, _ = dy.shape
    windows = _windows(dy, size=2, stride=1, low=(1, 1), high=(0, 0))
    blocks = (windows @ _block_taps(weight)).reshape(n, rows, columns, 2, 2, channels)
    pixels = blocks.swapaxes(2, 3).reshape(n, 2 * rows, 2 * columns, channels)
    low_h, low_w = height % 2, width % 2
    return pixels[:, low_h : low_h + height, low_w : low_w + width]


def _block_taps(weight: mx.array) -> mx.array:
    """(f, 3, 3, c) -> (4 f, 4 c): maps a window of dy to a block of pixels.

    Tap 2i + a becomes i, a; a window begins with the earlier output, i = 1.
    """
    filters, _, _, channels = weight.shape
    taps = mx.pad(weight, [(0, 0), (0, 1), (0, 1), (0, 0)])
    taps = taps.reshape(filters, 2, 2, 2, 2, channels)[:, ::-1, :, ::-1]
    taps = taps.transpose(1, 3, 0, 2, 4, 5)  # f, i, a, j, b, c -> i, j, f, a, b, c
    return taps.reshape(4 * filters, 4 * channels)


def _patches(x: mx.array) -> mx.array:
    """(n, h, w, c) -> (n out_h out_w, 9 c), in the order of the taps."""
    low = (x.shape[1] % 2, x.shape[2] % 2)
    return _windows(x, size=3, stride=2, low=low, high=(1, 1))


def _windows(
    x: mx.array, *, size: int, stride: int, low: tuple[int, int], high: tuple[int, int]
) -> mx.array:
    """All windows of padded images, each as one row.

    A strided view and one copy: the pixels of a window's line are contiguous.

    Args:
        x: (n, h, w, c).
        size: Height and width of a window.
        stride: Pixels from one window to the next.
        low: Zeros before height and width.
        high: Zeros after height and width.

    Returns:
        (windows of all images, size size c).
    """
    padded = mx.pad(x, [(0, 0), (low[0], high[0]), (low[1], high[1]), (0, 0)])
    n, height, width, channels = padded.shape
    rows, columns = ((side - size) // stride + 1 for side in (height, width))
    line = width * channels
    view = mx.as_strided(
        padded,
        (n, rows, columns, size, size * channels),
        (height * line, stride * line, stride * channels, line, 1),
    )
    return view.reshape(n * rows * columns, size * size * channels)


def _plain_conv(x: mx.array, weight: mx.array) -> mx.array:
    low_h, low_w = x.shape[1] % 2, x.shape[2] % 2
    padded = mx.pad(x, [(0, 0), (low_h, 1), (low_w, 1), (0, 0)])
    return mx.conv2d(padded, weight, stride=2)


_CONV = differentiable(_conv, _conv_vjp, _plain_conv)
