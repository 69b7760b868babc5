"""Tell of an operation whose gradient MLX lacks, in place of MLX's own error.

A user's model, or a kind of language model, may compute with an operation that MLX can
evaluate but not differentiate.
"""

from __future__ import annotations

import re

from mlpeft.errors import ConfigError

_UNNAMED = re.compile(r"\[Primitive::[vj][jm]p\] Not implemented for (?P<name>\w+)")
_NAMED = re.compile(
    r"\[(?P<name>\w+)[^\]]*\].*\b[vj]jp\b|\[(?P<of>\w+)::[vj]jp\]", re.IGNORECASE
)
"""MLX's messages, as of 0.32: "[gather_axis] Cannot calculate VJP with respect ..."."""


def without_gradient(error: Exception) -> ConfigError | None:
    """The error that names the operation; None if MLX's error is another one."""
    operation = _operation(str(error))
    if operation is None:
        return None
    return ConfigError(
        f"peft.method: MLX has no gradient of {operation}, through which the loss of "
        "this model depends on its trainable layers; adapt only layers after it "
        "(peft.keys, peft.num_layers), take another model, or, if it is your own, wrap "
        "the operation's indices or masks in mx.stop_gradient"
    )


def _operation(message: str) -> str | None:
    match = _UNNAMED.match(message) or _NAMED.match(message)
    if match is None:
        return None
    return next(name for name in match.groups() if name)
