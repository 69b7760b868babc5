"""What `mlpeft suggest` saves: accuracy by labels, against labels at random.

    python -m benchmarks.suggestions

30 intents of Banking77, frozen all-MiniLM-L6-v2 and a logistic head, without the names
of labels: one text of each intent at first, then 30 more at a time of a pool of 1400.
The 1000 texts of the test are others. Each seed deals them anew.
"""

from __future__ import annotations

import argparse

import numpy as np

from mlpeft import TextClassifier
from mlpeft.adapters.suggestions import choose, uncertainty
from mlpeft.datasets.intents import intent_files, read_utterances
from mlpeft.heads.auto import fit_head
from mlpeft.heads.examples import Examples
from mlpeft.heads.linear import LinearHead, softmax

INTENTS, POOL, TEST, ROUNDS = 30, 1400, 1000, 4
WAYS = ("random", "uncertain", "suggest")


def embedded() -> tuple[np.ndarray, np.ndarray]:
    """Vectors and intents of the texts, in a fixed order."""
    texts = read_utterances(intent_files("banking77").utterances)
    rows = [
        (text, number)
        for number, label in enumerate(list(texts)[:INTENTS])
        for text in texts[label]
    ]
    order = np.random.default_rng(0).permutation(len(rows))[: POOL + TEST]
    rows = [rows[i] for i in order]
    encoder = TextClassifier.fit(["a", "b"], ["c", "d"], start="none").adapter_.embed
    return encoder([text for text, _ in rows]), np.array([y for _, y in rows])


def accuracies(x: np.ndarray, y: np.ndarray, way: str, seed: int) -> list[float]:
    """Accuracy after each round of labels."""
    rng = np.random.default_rng(seed)
    dealt = rng.permutation(len(x))
    test, pool = dealt[:TEST], dealt[TEST:]
    labelled = [int(pool[y[pool] == intent][0]) for intent in range(INTENTS)]
    scores = []
    for _ in range(ROUNDS + 1):
        examples = Examples.of(x[labelled], y[labelled], INTENTS)
        head = fit_head(examples, "logistic").head
        scores.append(float(np.mean((_logits(x[test], head)).argmax(1) == y[test])))
        free = np.setdiff1d(pool, labelled)
        uncertain = uncertainty(softmax(_logits(x[free], head)))
        if way == "random":
            new = rng.choice(len(free), INTENTS, replace=False).tolist()
        elif way == "uncertain":
            new = np.argsort(-uncertain)[:INTENTS].tolist()
        else:
            new = choose(x[free], uncertain, INTENTS, x[labelled])
        labelled += free[new].tolist()
    return scores


def _logits(x: np.ndarray, head: LinearHead) -> np.ndarray:
    return x @ head.weight.T + head.bias


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    x, y = embedded()
    print("labels", *(INTENTS * (round_ + 1) for round_ in range(ROUNDS + 1)))
    for way in WAYS:
        rows = [accuracies(x, y, way, seed) for seed in range(seeds)]
        mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1)
        print(
            way,
            *(
                f"{100 * m:.1f}±{100 * s:.1f}"
                for m, s in zip(mean, spread, strict=True)
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
