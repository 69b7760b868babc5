"""Which start helps with intents that it was not trained on? On validation data alone.

Texts are the training texts of Banking77; labels are the intents that the last run of
the command line held out: if it was trained on both data sets, no start knows them. A
task has all of them. A head is fitted to some texts of each, and to the names, as
`TextClassifier` does it, and scored on other texts. Starts see the same tasks, so that
differences to the base as it is are paired. A start that ships is of both data sets.

    python -m benchmarks.judge_starts results/starts/*/intents
    python -m benchmarks.judge_starts intents
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.embedded import DIMS
from benchmarks.make_start import DATA_SETS, SPLITS, write_texts
from mlpeft import Classifier

# isort: split
import numpy as np

from mlpeft.adapters.starts import find_start, starts
from mlpeft.datasets.intents import intent_files
from mlpeft.datasets.rows import read_rows
from mlpeft.heads.auto import fit_head
from mlpeft.heads.examples import Examples
from mlpeft.tasks.families.intents.tokens import label_text

SHOTS = (1, 3, 10)
DEALS = 20
EACH = 60
"""Texts of each intent: those that a task does not learn from score it."""


def main() -> None:
    """Score the base as it is and each start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("starts", nargs="+", type=Path)
    args = parser.parse_args()
    texts = held_out(args.starts[-1])
    print(f"{len(texts)} intents of Banking77 that no start knows, {DEALS} deals")
    print("| start | " + " | ".join(f"{k} texts each" for k in SHOTS) + " |")
    print("| --- |" + " --- |" * len(SHOTS))
    base = None
    for start in ("none", *args.starts):
        x, names = embed(start, texts)
        rows = np.array([[score(x, names, k, d) for d in range(DEALS)] for k in SHOTS])
        base = rows if base is None else base
        cells = [
            f"{100 * row.mean():.1f} ({100 * (row - other).mean():+.1f} ± "
            f"{100 * 1.96 * (row - other).std(ddof=1) / DEALS**0.5:.1f})"
            for row, other in zip(rows, base, strict=True)
        ]
        print(f"| {start} | {' | '.join(cells)} |", flush=True)


def held_out(start: Path) -> dict[str, list[str]]:
    """Training texts of Banking77 by intent, of those that a start's run held out."""
    folder = start.parent
    if str(start) in starts():
        folder = Path("results/starts") / "-".join(DATA_SETS)
        write_texts(folder, list(DATA_SETS))
    splits = json.loads((folder / SPLITS).read_text())["splits"]["all"]
    names = set(splits["valid"]) | set(splits["test"])
    texts: dict[str, list[str]] = {}
    for row in read_rows(intent_files("banking77").utterances):
        if row.values["split"] == "train" and row.values["label"] in names:
            texts.setdefault(row.values["label"], []).append(row.values["text"])
    return {name: own[:EACH] for name, own in sorted(texts.items())}


def embed(
    start: str | Path, texts: dict[str, list[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of layers (intents, EACH, dims) of texts, (intents, dims) of names."""
    found = find_start(start)
    encoder = Classifier(config=found.config, leaves=found.leaves).embed
    x = encoder.features([text for own in texts.values() for text in own])
    names = encoder.features([label_text(name) for name in texts])
    return x.reshape(len(texts), EACH, -1), names


def score(x: np.ndarray, names: np.ndarray, shots: int, deal: int) -> float:
    """Accuracy after some texts of each intent."""
    rng = np.random.default_rng((deal, shots))
    chosen = np.array([rng.permutation(EACH) for _ in x])
    dealt = np.take_along_axis(x, chosen[:, :, None], axis=1)
    classes = len(x)
    support = np.concatenate([*dealt[:, :shots], names])
    y = np.concatenate([np.repeat(np.arange(classes), shots), np.arange(classes)])
    examples = Examples.of(support, y, classes, names=classes, **DIMS)
    queries = dealt[:, shots:].reshape(-1, dealt.shape[-1])
    found = fit_head(examples).head(queries).argmax(axis=1)
    return float((found.reshape(classes, -1) == np.arange(classes)[:, None]).mean())


if __name__ == "__main__":
    main()
