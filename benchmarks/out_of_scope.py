"""What tells best that a text has none of the labels? Chosen on CLINC150.

Some intents of CLINC150 are the labels, from a few training texts each and their names.
The test is their official test texts and as many texts of no label: half official
out-of-scope texts (far), half test texts of other intents (near). For each score: how
well it separates (AUROC), the best Matthews correlation over all thresholds, and that
at the threshold that examples alone give, with intents left out in turn.

    python -m benchmarks.out_of_scope
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.embedded import DIMS, Embedded
from benchmarks.full_way import drawn, read

# isort: split
import numpy as np

from mlpeft.adapters.measures import count, matthews, separation
from mlpeft.datasets.folders import find
from mlpeft.datasets.rows import read_rows
from mlpeft.heads.auto import HEADS, calibrated, fit_head
from mlpeft.heads.examples import Examples
from mlpeft.heads.linear import narrowed, softmax
from mlpeft.heads.logistic import fit_logistic
from mlpeft.tasks.families.intents.tokens import label_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INTENTS, SHOTS = (28, 59), (8, 20)
"""HINT3's bots have as many intents, and on average about as many texts of each."""
SHRINKAGE = 0.5
POOLED = 40
"""Training texts of an intent that examples are drawn from."""


class Setting(NamedTuple):
    """One draw: examples, and tests of each kind."""

    examples: Examples
    inside: np.ndarray
    truth: np.ndarray
    near: np.ndarray
    far: np.ndarray


class Clinc:
    """CLINC150, embedded.

    Args:
        embedded: The encoder.
    """

    def __init__(self, embedded: Embedded) -> None:
        texts, labels = read("clinc150", "train")
        rows = drawn(labels, POOLED, seed=0)
        self.names = sorted(set(labels))
        self.labels = np.array(labels)[rows]
        self.x = embedded([texts[row] for row in rows])
        self.name_x = embedded([label_text(name) for name in self.names])
        tests, wanted = read("clinc150", "test")
        self.test_x, self.test_labels = embedded(tests), np.array(wanted)
        rows_of = read_rows(find("intents/clinc150_oos.jsonl.gz"))
        self.far = embedded([row.values["text"] for row in rows_of])

    def draw(self, intents: int, shots: int, seed: int) -> Setting:
        """Numbers of examples differ by half from intent to intent."""
        rng = np.random.default_rng([intents, shots, seed])
        chosen = sorted(rng.choice(len(self.names), intents, replace=False))
        x, y = [], []
        for label, intent in enumerate(chosen):
            rows = np.flatnonzero(self.labels == self.names[intent])
            size = int(rng.integers(shots // 2, 3 * shots // 2 + 1))
            x.append(self.x[rng.permutation(rows)[:size]])
            y += [label] * len(x[-1])
        examples = Examples.of(
            np.concatenate([*x, self.name_x[chosen]]),
            np.array([*y, *range(intents)]),
            intents,
            names=intents,
            **DIMS,
        )
        place = {self.names[intent]: label for label, intent in enumerate(chosen)}
        known = np.isin(self.test_labels, list(place))
        half = int(known.sum()) // 2
        others = self.test_x[~known]
        return Setting(
            examples,
            self.test_x[known],
            np.array([place[name] for name in self.test_labels[known]]),
            others[rng.permutation(len(others))[:half]],
            self.far[rng.permutation(len(self.far))[:half]],
        )


def scores(
    examples: Examples, x: np.ndarray, factors: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """(n,) each: large where a text has one of the labels."""
    found: dict[str, np.ndarray] = {}
    for kind in HEADS:
        logits = calibrated(examples, kind, factors)(x)
        found[f"{kind}, largest logit"] = logits.max(axis=1)
        found[f"{kind}, largest probability"] = softmax(logits).max(axis=1)
        two = np.sort(logits, axis=1)[:, -2:]
        found[f"{kind}, margin"] = two[:, 1] - two[:, 0]
    examples = examples.of_last_layer()
    x = narrowed(x, DIMS["last_dims"])
    each = fit_logistic(examples, multi_label=True)
    found["one logistic head a label, largest logit"] = each(x).max(axis=1)
    found["cosine of the nearest example"] = (x @ examples.x.T).max(axis=1)
    found["relative Mahalanobis distance"] = _relative_mahalanobis(examples, x)
    return found


def _relative_mahalanobis(examples: Examples, x: np.ndarray) -> np.ndarray:
    """To the nearest class, less that to all (Ren et al. 2021, arXiv 2106.09022)."""
    present = examples.targets
    means = (present.T @ examples.x) / present.sum(axis=0)[:, None]
    within = examples.x - present @ means
    middle = examples.x.mean(axis=0)

    def distance(centres: np.ndarray, spread: np.ndarray) -> np.ndarray:
        cov = spread.T @ spread / len(spread)
        size = np.trace(cov) / len(cov)
        inverse = np.linalg.inv(
            (1 - SHRINKAGE) * cov + SHRINKAGE * size * np.eye(len(cov))
        )
        own = np.einsum("ij,jk,ik->i", x, inverse, x)[:, None]
        theirs = np.einsum("ij,jk,ik->i", centres, inverse, centres)
        return np.asarray((own - 2 * x @ inverse @ centres.T + theirs).min(axis=1))

    return distance(middle[None], examples.x - middle) - distance(means, within)


def judge(setting: Setting) -> dict[str, list[float]]:
    """AUROC far and near, best correlation, and at the threshold of the examples."""
    examples, classes = setting.examples, setting.examples.targets.shape[1]
    fitted = fit_head(examples)
    of = partial(scores, factors=fitted.factors)
    outside = np.concatenate([setting.near, setting.far])
    x = np.concatenate([setting.inside, outside])
    truth = np.concatenate([setting.truth, np.full(len(outside), classes)])
    answers = calibrated(examples, "logistic", fitted.factors)(x).argmax(axis=1)
    right = fitted.held_out["logistic"].argmax(axis=1) == examples.y[fitted.rows]
    known = _joined([of(examples[k], examples.x[h]) for k, h in examples.folds()])
    unknown = _joined(
        [
            of(examples[k].of_known_classes(), examples.x[h])
            for k, h in examples.folds_of_classes()
        ]
    )

    def correlation(score: np.ndarray, threshold: float) -> float:
        found = np.where(score < threshold, classes, answers)
        return matthews(count(truth, found, np.ones(len(truth)), classes + 1))

    judged = {}
    for name, score in of(examples, x).items():
        n, near = len(setting.inside), len(setting.near)
        parts = (score[n + near :], score[n : n + near])
        areas = [
            separation(score[:n], part, (np.ones(n), np.ones(len(part))))
            for part in parts
        ]
        limits = np.unique(np.quantile(score, np.linspace(0, 1, 101)))
        tried = np.unique(np.concatenate([known[name], unknown[name]]))
        gains = [
            (right & (known[name] >= t)).mean() + (unknown[name] < t).mean()
            for t in tried
        ]
        own = correlation(score, float(tried[int(np.argmax(gains))]))
        best = max(correlation(score, float(t)) for t in limits)
        judged[name] = [*areas, best, own]
    return judged


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def main() -> None:
    """Print a table of scores, the best first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/full_way"))
    args = parser.parse_args()
    clinc = Clinc(Embedded("none", args.out))
    found: dict[str, list[list[float]]] = {}
    for intents, shots, seed in product(INTENTS, SHOTS, range(args.draws)):
        file = args.out / f"out_of_scope-{intents}-{shots}-{seed}.json"
        if not file.is_file():
            file.write_text(json.dumps(judge(clinc.draw(intents, shots, seed))))
        for name, row in json.loads(file.read_text()).items():
            found.setdefault(name, []).append(row)
    print("| score | AUROC far | near | best MCC | MCC at its own threshold |")
    print("| --- | --- | --- | --- | --- |")
    means = {name: np.mean(rows, axis=0) for name, rows in found.items()}
    for name in sorted(means, key=lambda name: -means[name][3]):
        print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in means[name]) + " |")


if __name__ == "__main__":
    main()
