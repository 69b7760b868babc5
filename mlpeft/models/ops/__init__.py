"""Operations whose gradients and vectorisation are written out by hand.

Autodiff and `mx.vmap` are right but wordy: a vmapped step of a small perceptron is 311
primitives, of which 125 compute something, and its weight gradients come out as
transposed views, which every kernel after them walks element by element. On the CPU
backend a primitive costs microseconds to launch, on Metal a kernel launch. The
operations here keep to a rule: few primitives, contiguous results, the same numbers.
Each is differentiable any number of times, and all but convolution and attention vmap.
"""

from mlpeft.models.ops.activations import gelu, relu, tanh
from mlpeft.models.ops.attention import attention
from mlpeft.models.ops.conv import conv3x3_stride2
from mlpeft.models.ops.cross_entropy import cross_entropy
from mlpeft.models.ops.linear import linear
from mlpeft.models.ops.norm import batch_norm, batch_norm_relu

__all__ = [
    "attention",
    "batch_norm",
    "batch_norm_relu",
    "conv3x3_stride2",
    "cross_entropy",
    "gelu",
    "linear",
    "relu",
    "tanh",
]
