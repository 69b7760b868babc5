"""Conv4, the small convolutional network of few-shot image classification."""

from __future__ import annotations

import math

import mlx.core as mx
import mlx.nn as nn

from mlpeft.errors import ShapeError
from mlpeft.models.batch_norms import BatchNormed
from mlpeft.models.ops import conv3x3_stride2
from mlpeft.models.ops.linear import Linear


class ConvBlock(BatchNormed):
    """3x3 convolution of stride 2, batch norm, ReLU.

    The convolution has no bias: batch norm cancels it, and Adam would turn the rounding
    noise of its zero gradient into steps.

    Args:
        inputs: Channels of the input.
        filters: Channels of the output.
    """

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__(filters)
        limit = math.sqrt(6 / (9 * (inputs + filters)))
        self.weight = mx.random.uniform(-limit, limit, (filters, 3, 3, inputs))

    def __call__(self, x: mx.array) -> mx.array:
        """(n, h, w, inputs) -> (n, ceil(h / 2), ceil(w / 2), filters)."""
        return self.normalised(conv3x3_stride2(x, self.weight))


class PooledConvBlock(BatchNormed):
    """3x3 convolution, 2x2 max pooling, batch norm, ReLU.

    As in the mini-ImageNet network of the Reptile paper. Odd sizes are pooled as by
    TensorFlow's "same": the last row and column alone.

    Args:
        inputs: Channels of the input.
        filters: Channels of the output.
    """

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__(filters)
        limit = math.sqrt(6 / (9 * (inputs + filters)))
        self.weight = mx.random.uniform(-limit, limit, (filters, 3, 3, inputs))

    def __call__(self, x: mx.array) -> mx.array:
        """(n, h, w, inputs) -> (n, ceil(h / 2), ceil(w / 2), filters)."""
        h = mx.conv2d(x, self.weight, padding=1)
        return self.normalised(max_pool2x2(h))


def max_pool2x2(x: mx.array) -> mx.array:
    """The largest of each 2 x 2, (n, h, w, c) -> (n, ceil(h / 2), ceil(w / 2), c)."""
    n, height, width, channels = x.shape
    rows, columns = -(-height // 2), -(-width // 2)
    if height % 2 or width % 2:
        edges = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)]
        x = mx.pad(x, edges, constant_values=-math.inf)
    return x.reshape(n, rows, 2, columns, 2, channels).max(axis=(2, 4))


class Conv4(nn.Module):
    """Four convolutions and a linear layer: the networks of the Reptile paper.

    With strides (`ConvBlock`) it is that of Omniglot, with pooling (`PooledConvBlock`)
    and 32 filters that of mini-ImageNet.

    Batch norm uses the statistics of the current batch, in training and at test alike
    unless told otherwise (`meta_learning.batch_norm`), so predictions depend on the
    rest of the batch. `uses_batch_statistics` tells the evaluation, which has a switch
    for it (`model.transductive`).

    Args:
        num_classes: Outputs.
        image_size: Height and width of an image.
        channels: Channels of an image.
        filters: Filters of each convolution (the paper: 64).
        pooled: Whether it pools, in place of strides.

    References:
        Nichol, Achiam and Schulman, "On First-Order Meta-Learning Algorithms", 2018,
        arXiv 1803.02999, section 6.1.
    """

    uses_batch_statistics = True
    output_path = "head"

    def __init__(
        self,
        num_classes: int = 5,
        image_size: int = 28,
        channels: int = 1,
        filters: int = 64,
        *,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        self.image_shape = (image_size, image_size, channels)
        make_block = PooledConvBlock if pooled else ConvBlock
        self.blocks = [
            make_block(channels if block == 0 else filters, filters)
            for block in range(4)
        ]
        size = image_size
        for _ in range(4):
            size = math.ceil(size / 2)
        features = size * size * filters
        limit = math.sqrt(6 / (features + num_classes))
        self.head = Linear(features, num_classes)
        self.head.weight = mx.random.uniform(-limit, limit, (num_classes, features))
        self.head.bias = mx.zeros((num_classes,))

    def __call__(self, x: mx.array) -> mx.array:
        """Logits (n, num_classes) of images (n, height, width, channels).

        Raises:
            ShapeError: Naming both shapes if the images are of another size.
        """
        output: mx.array = self.head(self.embed(x))
        return output

    def embed(self, x: mx.array) -> mx.array:
        """The head's inputs (n, features); raises as `__call__`."""
        if tuple(x.shape[1:]) != self.image_shape:
            raise ShapeError(
                f"invalid shape: images {tuple(x.shape)} for a model of images "
                f"{self.image_shape}, expected (n, "
                f"{', '.join(map(str, self.image_shape))})"
            )
        for block in self.blocks:
            x = block(x)
        return x.reshape(x.shape[0], -1)
