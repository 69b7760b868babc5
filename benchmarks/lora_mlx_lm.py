"""How fast is an inner step of LoRA in a language model, beside mlx-lm's own training?

Both take a step of Adam from the same leaves on the same tokens: SmolLM2-135M-Instruct
in float32, LoRA of rank 8 on query and value of all its layers or of the
last. mlx-lm's is the compiled step of `mlx_lm.tuner.trainer`, with its loss and layers;
ours is compiled, too, with what frozen layers make of a text remembered, and logits
where tokens count alone, as in all inner loops. The losses before the first step and
before the second, which the first one's gradients decide, must agree. Each side is a
process of one thread, and they take turns of a step or more; the median step of all
turns is shown, in CPU time, which says more than the clock on a machine that others
use, too. Peak memory is MLX's, weights included. The floor is the
arithmetic that a step of ours cannot avoid, at the speed of MLX's matrix products of
these sizes, measured after the turns.

    python -m benchmarks.lora_mlx_lm
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks.base_dtype import WORDS
from benchmarks.lora import LOSSES_AGREE, Peer

SIDES = ("ours", "mlx-lm")
DIMS, KEY_DIMS, INNER, VOCABULARY = 576, 192, 1536, 49_152
"""SmolLM2-135M's: hidden states, keys and values, MLP, words."""
SHAPES = [(DIMS, DIMS)] * 2 + [(DIMS, KEY_DIMS)] * 2 + [(DIMS, INNER)] * 3
"""Sizes of the linear layers in one of its layers."""


class Batch(NamedTuple):
    """Token ids on disk.

    Attributes:
        file: Where they are: `tokens` (n, length + 1), of which the first `prompt + 1`
            of a row have no loss.
        counted: Tokens with a loss.
        tokens: Tokens that are put in.
    """

    file: Path
    counted: int
    tokens: int


def main() -> None:
    """Print one table: layers that adapt by tokens that count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[30, 8])
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn, or more")
    args = parser.parse_args()
    columns = ["layers", "tokens", "with a loss", "ours", "MB", "mlx-lm", "MB"]
    columns += ["ours / mlx-lm", "floor"]
    print("|", " | ".join(columns), "|")
    print("| ---: " * len(columns) + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        batches = [
            write_batch(Path(folder), (args.sequences, args.tokens), prompt)
            for prompt in (0, args.tokens // 2)
        ]
        for layers in args.layers:
            for batch in batches:
                _row(args, layers, batch)


def write_batch(folder: Path, shape: tuple[int, int], prompt: int) -> Batch:
    """Random words, with one more in each row than is put in, to be predicted."""
    count, length = shape
    tokens = np.random.default_rng(0).integers(0, WORDS, (count, length + 1))
    file = folder / f"{prompt}.npz"
    np.savez(file, tokens=tokens.astype(np.int32), prompt=prompt)
    return Batch(file, count * (length - prompt), count * length)


def _row(args: argparse.Namespace, layers: int, batch: Batch) -> None:
    given = {"threads": 1, "layers": layers}
    with ExitStack() as stack:
        # Started anew for each row, so that a peak is the row's own.
        sides = [
            stack.enter_context(
                Peer(Path(sys.executable), "lora_mlx_lm_side", given | {"side": side})
            )
            for side in SIDES
        ]
        check_losses([side.ask(episode=str(batch.file)) for side in sides])
        turns: list[list[float]] = [[] for _ in sides]
        for _ in range(args.turns):
            for side, taken in zip(sides, turns, strict=True):
                taken.append(median(side.ask(seconds=args.seconds)["cpu_ms"]))
        speed = sides[0].ask(products=batch.tokens)["flops_s"]
    ratios = [one / other for one, other in zip(*turns, strict=True)]
    cells = [f"{layers}", f"{batch.tokens}", f"{batch.counted}"]
    for side, taken in zip(sides, turns, strict=True):
        cells += [f"{median(taken) / 1e3:.2f} s", f"{side.peak_mb:,.0f}"]
    ratio = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    floor = f"{flops(batch, layers) / speed:.2f} s"
    print(f"| {' | '.join([*cells, ratio, floor])} |", flush=True)


def check_losses(answers: list[dict[str, float]]) -> None:
    """End unless the sides' losses agree before and after a step.

    Args:
        answers: Of each side, see `step_server.py`.
    """
    for when in ("loss", "next"):
        losses = [answer[when] for answer in answers]
        if max(losses) - min(losses) > LOSSES_AGREE:
            raise SystemExit(f"the sides compute other things: {when} {losses}")


def flops(batch: Batch, layers: int) -> float:
    """Floating point operations of the linear layers that a step cannot avoid.

    A forward pass of the layers that adapt, and as much for the gradient of the
    activations, but for query, key and value of the first, below which nothing adapts;
    both of the head, where tokens have a loss.
    """
    forward = layers * sum(one * other for one, other in SHAPES)
    spared = DIMS * (DIMS + 2 * KEY_DIMS)
    head = batch.counted * DIMS * VOCABULARY
    return 2.0 * (batch.tokens * (2 * forward - spared) + 2 * head)


if __name__ == "__main__":
    main()
