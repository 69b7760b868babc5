"""Operations that MLX has not, or not in a form that vmaps and runs fast everywhere."""

from __future__ import annotations

import mlx.core as mx


def conv3x3_stride2(x: mx.array, weight: mx.array) -> mx.array:
    """3x3 convolution of stride 2 with "same" padding, no bias.

    Nine strided slices side by side make the patches, one matrix product does the rest:
    the same numbers as `mx.conv2d`, but its gradient vmaps (that of `mx.conv2d` does
    not) and is several times faster on the CPU backend.

    Args:
        x: (n, h, w, c) float32.
        weight: (filters, 3, 3, c), as in `mlx.nn.Conv2d`.

    Returns:
        (n, ceil(h / 2), ceil(w / 2), filters). Odd sizes are padded by one on both
        sides, even ones at the end, as TensorFlow's "same" does.
    """
    n, height, width, channels = x.shape
    filters = weight.shape[0]
    out_h, out_w = (height + 1) // 2, (width + 1) // 2
    pad_h = (1, 1) if height % 2 else (0, 1)
    pad_w = (1, 1) if width % 2 else (0, 1)
    padded = mx.pad(x, [(0, 0), pad_h, pad_w, (0, 0)])
    patches = mx.concatenate(
        [
            padded[:, i : i + 2 * out_h - 1 : 2, j : j + 2 * out_w - 1 : 2, :]
            for i in range(3)
            for j in range(3)
        ],
        axis=-1,
    )
    columns = patches.reshape(n * out_h * out_w, 9 * channels)
    product = columns @ weight.reshape(filters, 9 * channels).T
    return product.reshape(n, out_h, out_w, filters)


def batch_norm(
    x: mx.array, gamma: mx.array, beta: mx.array, eps: float = 1e-3
) -> mx.array:
    """`gamma (x - mean) / sqrt(var + eps) + beta` with the statistics of this batch.

    Args:
        x: (n, h, w, c); mean and (biased) variance are over n, h and w.
        gamma: (c,) scale.
        beta: (c,) shift.
        eps: Added to the variance (the paper's code: 1e-3).

    References:
        Ioffe and Szegedy, "Batch Normalization", 2015, arXiv 1502.03167, algorithm 1.
    """
    mean = mx.mean(x, axis=(0, 1, 2), keepdims=True)
    centred = x - mean
    var = mx.mean(mx.square(centred), axis=(0, 1, 2), keepdims=True)
    return centred * (mx.rsqrt(var + eps) * gamma) + beta
