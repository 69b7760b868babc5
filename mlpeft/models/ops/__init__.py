"""Operations with hand-written gradients and vectorisation.

Autodiff and `mx.vmap` are correct but verbose: a vmapped step of a small perceptron is
311 primitives, of which only 125 compute something. Its weight gradients come out as
transposed views, which every later kernel reads element by element. A primitive costs
microseconds on the CPU backend, a kernel launch on Metal. The operations here use few
primitives and give contiguous results with the same values. Each is differentiable any
number of times, and all but convolution and attention vmap.
"""

from mlpeft.models.ops.activations import gelu, gelu_forward, relu, tanh
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
    "gelu_forward",
    "linear",
    "relu",
    "tanh",
]
