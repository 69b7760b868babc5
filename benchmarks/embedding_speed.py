"""Texts a second of one core, and the time for one: eager activations against fused.

Both embed the same texts in turn, so that a busy machine slows both. Times are of the
processor; of one text also by the clock.

    python -m benchmarks.embedding_speed
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from mlpeft import TextClassifier

# isort: split
import numpy as np

from benchmarks.full_way import read
from mlpeft.models.ops import gelu, gelu_forward

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = {"eager": gelu, "fused": gelu_forward}


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Of the processor, and by the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - clock


def main() -> None:
    """Print a row for each kind of activation and each kind of text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    fitted = TextClassifier.fit(["a b", "c d"], ["a", "b"], start="none")
    embed = fitted.adapter_.embed
    layers = embed._model.encoder.layers  # noqa: SLF001 - the parts that are compared
    texts = {
        name: read(name, "test")[0][: args.texts] for name in ("banking77", "clinc150")
    }
    rates: dict[tuple[str, str], list[float]] = {}
    single: dict[str, list[tuple[float, float]]] = {}
    for _ in range(args.rounds):
        for kind, activate in KINDS.items():
            for layer in layers:
                layer.activate = activate
                layer.attention.forward_only = kind == "fused"
            embed(["warm up"])
            for name, given in texts.items():
                took = seconds(lambda given=given: embed(given))[0]
                rates.setdefault((name, kind), []).append(len(given) / took)
            ones = texts["banking77"][:20]
            single.setdefault(kind, []).extend(
                seconds(lambda text=text: fitted.predict([text])) for text in ones
            )
    print("| | " + " | ".join(KINDS) + " |")
    print("| --- | --- | --- |")
    for name in texts:
        best = [max(rates[name, kind]) for kind in KINDS]
        print(f"| {name}, texts/s | " + " | ".join(f"{v:.0f}" for v in best) + " |")
    for place, what in enumerate(("processor", "clock")):
        ms = [1000 * np.median(single[kind], axis=0)[place] for kind in KINDS]
        print(f"| one text, {what}, ms | " + " | ".join(f"{v:.1f}" for v in ms) + " |")


if __name__ == "__main__":
    main()
