"""Vectors of float32 numbers in fewer bytes, rounded to the nearest or at random.

With a generator, what a vector comes back as has the vector as its mean; without, it is
as near as can be. `mlpeft.meta.compression` says when which is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from mlpeft.params import NumpyTree, ParamTree

Flat: TypeAlias = np.ndarray[tuple[int], np.dtype[Any]]
Rng: TypeAlias = np.random.Generator | None

BLOCK = 256
"""Numbers that share a step in int8: 1.6 % more bytes than one step for all."""
_LEVELS = np.float32(127)
_NAN = np.uint16(0x7FC0)


# --- bf16 -----------------------------------------------------------------------------


def to_bfloat16(flat: Flat, rng: Rng) -> Flat:
    """Upper halves of float32 numbers: rounded at random, or to the nearest even."""
    bits = flat.view(np.uint32)
    if rng is None:
        below = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    else:
        below = rng.integers(0, 1 << 16, flat.size, dtype=np.uint32)
    halves = ((bits + below) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(flat), _NAN, halves)


def from_bfloat16(halves: Flat) -> Flat:
    """What `to_bfloat16` made, as float32."""
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


# --- int8 -----------------------------------------------------------------------------


def to_int8(flat: Flat, rng: Rng) -> NumpyTree:
    """`x / step`, rounded, with the step of a block a 127th of its largest number.

    The step of a block with a NaN or an infinity is one, so that what is made of it is
    no number either, and is noticed.
    """
    blocks = -(-flat.size // BLOCK)
    rows = np.zeros((blocks, BLOCK), dtype=np.float32)
    rows.reshape(-1)[: flat.size] = flat
    step = np.abs(rows).max(axis=1, initial=0.0) / _LEVELS
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rows /= step[:, None]
    np.nan_to_num(rows, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    if rng is None:
        rows += np.float32(0.5)
    else:
        rows += rng.random(rows.shape, dtype=np.float32)
    np.floor(rows, out=rows)
    np.clip(rows, -_LEVELS, _LEVELS, out=rows)
    return {
        "packed/int8": rows.astype(np.int8).reshape(-1)[: flat.size],
        "packed/step": step,
    }


def from_int8(packed: ParamTree) -> Flat:
    """`level * step`."""
    levels, step = packed["packed/int8"], packed["packed/step"]
    with np.errstate(over="ignore", invalid="ignore"):
        flat: Flat = levels.astype(np.float32) * np.repeat(step, BLOCK)[: levels.size]
    return flat


# --- topk -----------------------------------------------------------------------------


def to_largest(flat: Flat, kept: int, rng: Rng) -> NumpyTree:
    """The largest numbers; with random numbers u, those with the largest `|x| / u`.

    Then numbers below `tau`, the largest ratio that is not kept, stand for `tau`: the
    chance of a number to be kept is `|x| / tau`, so the mean is right.
    """
    size = np.abs(flat)
    np.nan_to_num(size, copy=False, nan=np.inf, posinf=np.inf)
    rank = size
    if rng is not None:
        with np.errstate(over="ignore"):
            rank = size / (np.float32(1) - rng.random(flat.size, dtype=np.float32))
    order = np.argsort(-rank, kind="stable")
    index = np.sort(order[:kept])
    values = flat[index]
    if rng is not None and kept < flat.size:
        tau = rank[order[kept]]
        values = np.copysign(np.maximum(np.abs(values), tau), values)
    mask = np.zeros(flat.size, dtype=np.bool_)
    mask[index] = True
    return {
        "packed/kept": np.packbits(mask),
        "packed/value": to_bfloat16(values, rng),
    }


def from_largest(packed: ParamTree, size: int) -> Flat:
    """The numbers that were kept, and zeros.

    Args:
        packed: As many values as bits that are set.
        size: Numbers of the vector.
    """
    flat = np.zeros(size, dtype=np.float32)
    mask = np.unpackbits(packed["packed/kept"], count=size).astype(np.bool_)
    flat[mask] = from_bfloat16(packed["packed/value"])
    return flat
