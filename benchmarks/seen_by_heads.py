"""What should a head see? Judged on training and validation texts alone.

Heads are fitted as `TextClassifier` fits them, to examples and labels' names. HINT3's
two smaller training files are cross-validated: each example is held out, as it is and
with words misspelled by chance. Of Banking77 and CLINC150, all intents at once, five
training texts of each are the examples and eight others the test.
Differences to the logistic head on the encoder's last layer are paired by text.

    python -m benchmarks.seen_by_heads
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.embedded import DIMS, Embedded
from benchmarks.full_way import drawn, read
from benchmarks.hint3 import BOTS
from benchmarks.hint3 import read as read_hint3

# isort: split
import numpy as np

from mlpeft.heads.auto import HEADS
from mlpeft.heads.examples import Examples
from mlpeft.heads.temperature import best_factor, each_loss
from mlpeft.tasks.families.intents.tokens import label_text

KINDS = ("logistic", "prototype", "ridge", "ngrams", "layers")
SHARE = 0.25
"""Of words of more than three letters that are misspelled."""
DEALS, DRAWS, SHOTS, TESTS = 3, 2, 5, 8
LETTERS = "abcdefghijklmnopqrstuvwxyz"

Scores = dict[str, list[np.ndarray]]
"""By kind of head: (2, texts) whether a text is right, and its loss; one a deal."""


def main() -> None:
    """Print a table for each kind of text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/full_way"))
    args = parser.parse_args()
    embedded = Embedded("none", args.out)
    clean: Scores = {}
    wrong: Scores = {}
    for bot in BOTS:
        for deal in range(DEALS):
            cross_validate(embedded, bot, deal, (clean, wrong))
    print("| texts | head | accuracy | to logistic | loss | to logistic |")
    print("| --- | --- | --- | --- | --- | --- |")
    show("HINT3, training", clean)
    show("HINT3, training, misspelled", wrong)
    for data_set in ("banking77", "clinc150"):
        scores: Scores = {}
        for deal in range(DRAWS):
            hold_out(embedded, data_set, deal, scores)
        show(data_set, scores)


def cross_validate(
    embedded: Embedded, bot: str, deal: int, into: tuple[Scores, Scores]
) -> None:
    """Five folds of a bot's smaller training file, the texts shuffled by the deal."""
    texts, labels = read_hint3(f"{bot}_subset_train")
    rng = np.random.default_rng(5)
    wrong = [misspelled(text, rng) for text in texts]
    names = sorted(set(labels))
    order = np.random.default_rng(deal).permutation(len(texts))
    y = np.searchsorted(names, labels)[order]
    x = embedded([texts[row] for row in order])
    queries = (x, embedded([wrong[row] for row in order]))
    own = embedded([label_text(name) for name in names])
    classes = len(names)
    examples = Examples.of(
        np.concatenate([x, own]),
        np.concatenate([y, np.arange(classes)]),
        classes,
        names=classes,
        **DIMS,
    )
    rows = []
    logits: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for fitted, held in examples.folds():
        rows.append(held)
        for kind in KINDS:
            head = HEADS[kind](examples[fitted])
            for parts, vectors in zip(
                logits.setdefault(kind, ([], [])), queries, strict=True
            ):
                parts.append(head(vectors[held]))
    targets = examples.targets[np.concatenate(rows)]
    for kind, both in logits.items():
        factor = best_factor(np.concatenate(both[0]), targets)
        for scores, parts in zip(into, both, strict=True):
            add(scores, kind, factor * np.concatenate(parts), targets)


def hold_out(embedded: Embedded, data_set: str, deal: int, scores: Scores) -> None:
    """A few training texts of each intent, scored on other training texts."""
    texts, labels = read(data_set, "train")
    names = sorted(set(labels))
    rows = drawn(labels, SHOTS + TESTS, seed=1000 + deal)
    place = np.array([names.index(labels[row]) for row in rows])
    x = embedded([texts[row] for row in rows])
    number = np.concatenate([np.arange((place == k).sum()) for k in range(len(names))])
    few = number < SHOTS
    own = embedded([label_text(name) for name in names])
    classes = len(names)
    examples = Examples.of(
        np.concatenate([x[few], own]),
        np.concatenate([place[few], np.arange(classes)]),
        classes,
        names=classes,
        **DIMS,
    )
    targets = np.eye(classes, dtype=np.float32)[place[~few]]
    for kind in KINDS:
        logits = HEADS[kind](examples)(x[~few])
        add(scores, kind, best_factor(logits, targets) * logits, targets)


def add(scores: Scores, kind: str, logits: np.ndarray, targets: np.ndarray) -> None:
    """Keep what a head made of some texts."""
    right = logits.argmax(axis=1) == targets.argmax(axis=1)
    scores.setdefault(kind, []).append(np.stack([right, each_loss(logits, targets)]))


def misspelled(text: str, rng: np.random.Generator) -> str:
    """A text with a letter left out, doubled, swapped or replaced in some words."""
    words = text.split(" ")
    for number, word in enumerate(words):
        if len(word) <= 3 or rng.random() >= SHARE:
            continue
        i = int(rng.integers(1, len(word) - 1))
        middle = (
            "",
            2 * word[i],
            word[i + 1] + word[i],
            LETTERS[int(rng.integers(len(LETTERS)))],
        )
        kind = int(rng.integers(len(middle)))
        words[number] = word[:i] + middle[kind] + word[i + 1 + (kind == 2) :]
    return " ".join(words)


def show(texts: str, scores: Scores) -> None:
    """Print means, and differences with 95 % intervals over texts."""
    base = np.concatenate(scores[KINDS[0]], axis=1)
    for kind, parts in scores.items():
        found = np.concatenate(parts, axis=1)
        gain = found - base
        # A text of HINT3 is in every deal: no more texts than one deal has.
        n = base.shape[1] / (DEALS if texts.startswith("HINT3") else 1)
        width = 1.96 * gain.std(axis=1) / n**0.5
        print(
            f"| {texts} | {kind} | {100 * found[0].mean():.1f} "
            f"| {100 * gain[0].mean():+.1f} ± {100 * width[0]:.1f} "
            f"| {found[1].mean():.3f} | {gain[1].mean():+.3f} ± {width[1]:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
