"""Fewer bytes for what travels: fewer bits, fewer numbers, or factors of matrices.

What a task changed is small beside theta, so it is the displacement that is compressed,
all leaves as one vector in the order of their names:

    bf16      2 bytes a number: its upper half
    int8      1 byte a number, and a float32 for each BLOCK of them: the size of a step
    topk      a bit a number, and 2 bytes for each that is kept
    powersgd  4 bytes a number of two narrow factors of each matrix

Compression is a rule of the run, not of the wire: one process rounds as a cluster does,
and ends in the same bytes.

An update goes from whichever worker has the shard, and what it lost stays there: a
residual that belonged to the shard's position would have to follow it to the next
worker, in as many bytes as were saved. So updates have no memory. They are rounded at
random, up or down so that the mean is right (QSGD), and topk draws what it keeps so
that the mean is right (priority sampling); errors of shards and rounds average out. The
random numbers follow from the run's seed and the shard's position: whoever computes a
shard, and however often, returns the same bytes.

Theta's own steps come from one place, which does remember: what a step lost is added to
the next (error feedback), and that residual is part of the checkpoint. They are rounded
to the nearest, and topk keeps the largest.

powersgd has no right mean: what its factors do not reach is lost to an update, and
another part of it in every shard and round, since each starts elsewhere. So does every
step of theta: from the same start the factors would never reach what they left.

Carried state of the inner optimiser is sent as it is: moments bear no rounding to 0.

References:
    Alistarh, Grubic, Li, Tomioka and Vojnovic, "QSGD", 2017, arXiv 1610.02132.
    Duffield, Lund and Thorup, "Priority sampling for estimation of arbitrary subset
    sums", Journal of the ACM 54(6), 2007.
    Karimireddy, Rebjock, Stich and Jaggi, "Error Feedback Fixes SignSGD and other
    Gradient Compression Schemes", 2019, arXiv 1901.09847.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from mlpeft import params
from mlpeft.errors import ParamMismatch
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.meta.low_rank import factors_schema, from_factors, to_factors
from mlpeft.meta.rounding import (
    BLOCK,
    from_bfloat16,
    from_int8,
    from_largest,
    to_bfloat16,
    to_int8,
    to_largest,
)
from mlpeft.meta.state import carried
from mlpeft.seeds import Purpose, generator
from mlpeft.work import Displacement

if TYPE_CHECKING:
    from mlpeft.config import RunConfig
    from mlpeft.config.cluster import CompressionName
    from mlpeft.meta.low_rank import Shapes
    from mlpeft.meta.rounding import Flat, Rng
    from mlpeft.params import NumpyTree, ParamTree, Schema
    from mlpeft.work import Shard, ShardUpdate

NAME_SHOWN = 80
"""Characters of a name from the network that a refusal shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How a run's updates and steps of theta are compressed.

    Attributes:
        name: "bf16", "int8", "topk" or "powersgd".
        topk: Share of the numbers that topk keeps.
        rank: Columns of powersgd's factors.
        seed: The run's.
        displacement: What a shard's mean is, seen from theta.
    """

    name: CompressionName
    topk: float = 0.1
    rank: int = 4
    seed: int = 0
    displacement: Displacement = Displacement.FROM_THETA

    @classmethod
    def from_config(cls, config: RunConfig) -> Self | None:
        """The compression of a run; None: there is none."""
        cluster = config.cluster
        if cluster.compression == "none":
            return None
        return cls(
            name=cluster.compression,
            topk=cluster.topk,
            rank=cluster.powersgd_rank,
            seed=config.run.seed,
            displacement=ALGORITHMS[config.meta_learning.algorithm].displacement,
        )

    # --- updates ----------------------------------------------------------------------

    def compress(
        self, meta: ParamTree, shard: Shard, update: ShardUpdate
    ) -> ShardUpdate:
        """A training shard's update, rounded, with what is to be sent in its place.

        Args:
            meta: The meta-state that it started from, NumPy float32 leaves.
            shard: Whose position decides what is rounded up.
            update: As it was computed.
        """
        rng = generator(self.seed, Purpose.COMPRESS, shard.round, shard.index)
        names = _theta_names(meta)
        count = np.float32(update.count)
        change = _flat({name: update.total[name] / count for name in names})
        if self.displacement is Displacement.FROM_THETA:
            change -= _flat({name: meta[name] for name in names})
        packed = self._pack(change, _shapes(meta), rng)
        packed |= {name: update.total[name] for name in sorted(carried(meta))}
        return replace(update, total=self._total(meta, packed, update), packed=packed)

    def restore(self, meta: ParamTree, update: ShardUpdate) -> ShardUpdate:
        """An update whose `total` is what was sent in its place.

        Args:
            meta: The meta-state that it started from.
            update: As it came; nothing of it is trusted.

        Raises:
            ParamMismatch: If that is not what this compression makes for this theta. It
                may hold any numbers, NaN among them.
        """
        packed = update.total
        expected = self.schema(params.schema(meta))
        unexpected = sorted(packed.keys() - expected.keys())
        if unexpected:  # `check_schema` would look for the nearest of ours, for long
            raise ParamMismatch(
                f"its packed sum: leaf {unexpected[0][:NAME_SHOWN]!r} is not expected"
            )
        params.check_schema(expected, packed, "its packed sum")
        if update.count < 1:
            raise ParamMismatch(f"it counts {update.count} tasks, expected 1 or more")
        if self.name == "topk":
            kept = int(np.unpackbits(packed["packed/kept"]).sum())
            if kept != packed["packed/value"].size:
                raise ParamMismatch(
                    f"its packed sum keeps {kept} numbers and has "
                    f"{packed['packed/value'].size}"
                )
            size = sum(map(math.prod, _shapes(meta)))
            if np.unpackbits(packed["packed/kept"])[size:].any():
                raise ParamMismatch(f"its packed sum keeps numbers beyond {size}")
        return replace(update, total=self._total(meta, packed, update))

    def _total(
        self, meta: ParamTree, packed: NumpyTree, update: ShardUpdate
    ) -> NumpyTree:
        """`count (theta + change)`, or `count change` of a gradient."""
        names, count = _theta_names(meta), np.float32(update.count)
        with np.errstate(over="ignore", invalid="ignore"):
            change = self._unpack(packed, _shapes(meta))
            if self.displacement is Displacement.FROM_THETA:
                change += _flat({name: meta[name] for name in names})
            change *= count
        total = _leaves(change, {name: meta[name] for name in names})
        total |= {name: packed[name] for name in carried(meta)}
        return {name: total[name] for name in sorted(total)}

    # --- steps of theta ---------------------------------------------------------------

    def step(
        self, theta: NumpyTree, change: NumpyTree, residual: NumpyTree, done: int
    ) -> tuple[NumpyTree, NumpyTree, NumpyTree]:
        """A step of theta that fits into fewer bytes.

        Args:
            theta: Before it.
            change: What the outer optimiser takes from theta.
            residual: What the steps before lost; {}: nothing.
            done: Steps before this one.

        Returns:
            (packed step, change that it stands for, residual).
        """
        wanted = _flat(change)
        if residual:
            wanted += _flat(residual)
        packed = self._pack(wanted, _shapes(theta), None, done)
        taken = self._unpack(packed, _shapes(theta))
        return packed, _leaves(taken, theta), _leaves(wanted - taken, theta)

    def follow(self, meta: ParamTree, step: ParamTree) -> NumpyTree:
        """The next meta-state, of the one before and a packed step.

        Args:
            meta: Before it.
            step: Of `step`, and the carried state after it.

        Raises:
            ParamMismatch: If it is no step from this meta-state.
        """
        expected = self.schema(params.schema(meta))
        params.check_schema(expected, step, "the step of theta")
        theta = {name: meta[name] for name in _theta_names(meta)}
        change = _leaves(self._unpack(step, _shapes(meta)), theta)
        new = params.subtract(theta, change)
        new |= {name: step[name] for name in carried(meta)}
        return {name: new[name] for name in sorted(new)}

    # --- the four ways ----------------------------------------------------------------

    def schema(self, schema: Schema) -> Schema:
        """Leaves, shapes and dtypes of what is sent in place of a tree of this schema.

        Args:
            schema: Of the meta-state.
        """
        state = carried(schema)
        shapes = [schema[name][0] for name in sorted(schema) if name not in state]
        size = sum(map(math.prod, shapes))
        whole = {name: schema[name] for name in state}
        match self.name:
            case "bf16":
                packed: Schema = {"packed/bf16": ((size,), "uint16")}
            case "int8":
                packed = {
                    "packed/int8": ((size,), "int8"),
                    "packed/step": ((-(-size // BLOCK),), "float32"),
                }
            case "powersgd":
                packed = factors_schema(shapes, self.rank)
            case _:
                packed = {
                    "packed/kept": ((-(-size // 8),), "uint8"),
                    "packed/value": ((self._kept(size),), "uint16"),
                }
        return packed | whole

    def _kept(self, size: int) -> int:
        """How many of so many numbers topk keeps."""
        return min(size, max(1, round(self.topk * size)))

    def _pack(self, flat: Flat, shapes: Shapes, rng: Rng, step: int = 0) -> NumpyTree:
        match self.name:
            case "bf16":
                return {"packed/bf16": to_bfloat16(flat, rng)}
            case "int8":
                return to_int8(flat, rng)
            case "powersgd":
                start = rng or generator(self.seed, Purpose.COMPRESS_STEP, step)
                return to_factors(flat, shapes, self.rank, start)
            case _:
                return to_largest(flat, self._kept(flat.size), rng)

    def _unpack(self, packed: ParamTree, shapes: Shapes) -> Flat:
        match self.name:
            case "bf16":
                return from_bfloat16(packed["packed/bf16"])
            case "int8":
                return from_int8(packed)
            case "powersgd":
                return from_factors(packed, shapes, self.rank)
            case _:
                return from_largest(packed, sum(map(math.prod, shapes)))


# --- one vector of all leaves ---------------------------------------------------------


def _theta_names(meta: ParamTree) -> list[str]:
    state = carried(meta)
    return [name for name in sorted(meta) if name not in state]


def _shapes(meta: ParamTree) -> list[tuple[int, ...]]:
    return [meta[name].shape for name in _theta_names(meta)]


def _flat(tree: ParamTree) -> Flat:
    """All leaves in the order of their names, copied into one float32 vector."""
    if not tree:
        return np.zeros(0, dtype=np.float32)
    leaves = [
        np.asarray(tree[name], dtype=np.float32).reshape(-1) for name in sorted(tree)
    ]
    return np.concatenate(leaves)


def _leaves(flat: Flat, like: ParamTree) -> NumpyTree:
    """The leaves of a vector, with the names and shapes of `like`."""
    tree, start = {}, 0
    for name in sorted(like):
        end = start + like[name].size
        tree[name] = flat[start:end].reshape(like[name].shape)
        start = end
    return tree
