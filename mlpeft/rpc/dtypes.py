"""Which dtypes may travel, by MLX's names, and what NumPy makes of them.

All are little-endian on the wire. NumPy has no bfloat16; its bytes travel as they are
and come out as `BFLOAT16`, a record of one field, so that nobody computes with them by
mistake. `leaf["bfloat16"]` is the uint16 words for `mx.array(...).view(mx.bfloat16)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpeft.errors import LocalProtocolError, RemoteProtocolError

Dtype = np.dtype[Any]

BFLOAT16: Dtype = np.dtype([("bfloat16", "<u2")])
"""NumPy's stand-in for a bfloat16."""

_BY_NAME: dict[str, Dtype] = {
    "bool": np.dtype("?"),
    "int8": np.dtype("i1"),
    "uint8": np.dtype("u1"),
    "int16": np.dtype("<i2"),
    "uint16": np.dtype("<u2"),
    "int32": np.dtype("<i4"),
    "uint32": np.dtype("<u4"),
    "int64": np.dtype("<i8"),
    "uint64": np.dtype("<u8"),
    "float16": np.dtype("<f2"),
    "bfloat16": BFLOAT16,
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}
_BY_DTYPE = {dtype: name for name, dtype in _BY_NAME.items()}


def wire_name(dtype: Dtype) -> str:
    """The name under which a dtype travels.

    Raises:
        LocalProtocolError: If it may not travel.
    """
    name = _BY_DTYPE.get(dtype.newbyteorder("<"))
    if name is None:
        raise LocalProtocolError(
            f"arrays of dtype {dtype} do not travel; send one of {', '.join(_BY_NAME)}"
        )
    return name


def numpy_dtype(name: str) -> Dtype:
    """The NumPy dtype of what travels under a name.

    Raises:
        RemoteProtocolError: If nothing does.
    """
    dtype = _BY_NAME.get(name)
    if dtype is None:
        raise RemoteProtocolError(
            f"unknown dtype {name[:40]!r}; known are {', '.join(_BY_NAME)}"
        )
    return dtype
