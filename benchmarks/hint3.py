"""HINT3: real users' questions to two shops' bots, half of them out of scope.

The classifier, its head and the logit of "none of these" are made from the training
file alone. Shown beside the Matthews correlation with it is the best over all logits,
which one would need the test for. What is done is kept under `--out`.

    python -m benchmarks.hint3
    python -m benchmarks.hint3 --start none --head ridge
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

from mlpeft import TextClassifier

# isort: split
import numpy as np

from mlpeft.datasets.folders import find

BOTS = ("curekart", "powerplay11")
PARTS = ("train", "subset_train")
OUTSIDE = "NO_NODES_DETECTED"


def main() -> None:
    """Score what is not there yet, and print all that is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", default="none")
    parser.add_argument("--base", help="an encoder; the start's own if left out")
    parser.add_argument("--head", default="auto")
    parser.add_argument("--out", type=Path, default=Path("results/hint3"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print("| bot, training | in-scope | MCC | best MCC | fit |")
    print("| --- | --- | --- | --- | --- |")
    for bot in BOTS:
        for part in PARTS:
            encoder = "-".join(Path(x).name for x in (args.start, args.base) if x)
            file = args.out / f"{bot}-{part}-{encoder}-{args.head}.json"
            if not file.is_file():
                fitted = TextClassifier(
                    start=args.start,
                    base=args.base,
                    head=args.head,
                    reject_below="auto",
                )
                file.write_text(json.dumps(score(bot, part, fitted)))
            row = json.loads(file.read_text())
            print(
                f"| {bot}, {part} | {100 * row['in_scope']:.1f} | {row['mcc']:.3f} "
                f"| {row['best_mcc']:.3f} "
                f"| {row['fit_cpu_s']:.1f} s, {row['head']} |",
                flush=True,
            )


def score(bot: str, part: str, fitted: TextClassifier) -> dict[str, object]:
    """Fit to a training file and score the bot's test."""
    texts, labels = read(f"{bot}_{part}")
    began = time.process_time()
    fitted.fit(texts, labels)
    seconds = time.process_time() - began
    queries, truth = read(f"{bot}_test")
    began = time.process_time()
    shares = fitted.predict_proba(queries)
    per_text = (time.process_time() - began) / len(queries)
    labels, none = shares[:, :-1], shares[:, -1]
    best, score_ = fitted.classes_[labels.argmax(axis=1)], labels.max(axis=1)
    score_ = score_ / (score_ + none)
    known = truth != OUTSIDE

    def mcc(threshold: float) -> float:
        return matthews(truth, np.where(score_ < threshold, OUTSIDE, best))

    return {
        "in_scope": float((best == truth)[known].mean()),
        "mcc": mcc(0.5),
        "best_mcc": max(mcc(t) for t in np.quantile(score_, np.linspace(0, 1, 201))),
        "head": fitted.head_,
        "fit_cpu_s": seconds,
        "texts_per_cpu_s": 1.0 / per_text,
    }


def read(name: str) -> tuple[list[str], np.ndarray]:
    """Sentences and labels of one of the files."""
    with find(f"hint3/{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["sentence"] for row in rows], np.array([row["label"] for row in rows])


def matthews(truth: np.ndarray, found: np.ndarray) -> float:
    """Matthews correlation of several classes (Gorodkin 2004)."""
    names = np.union1d(truth, found)
    t = (truth[:, None] == names).astype(float)
    p = (found[:, None] == names).astype(float)
    together = (t * p).sum() * len(t) - t.sum(axis=0) @ p.sum(axis=0)
    spread = [len(x) ** 2 - (x.sum(axis=0) ** 2).sum() for x in (t, p)]
    return float(together / np.sqrt(max(np.prod(spread), 1e-12)))


if __name__ == "__main__":
    main()
