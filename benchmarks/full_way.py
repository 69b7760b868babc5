"""All intents of a data set at once, from a few examples each; its official test.

Draws of the examples differ by seed; the examples of five shots are among those of ten.
Labels' names are examples too unless `--no-names`. Heads are fitted and chosen from the
examples alone.

    python -m benchmarks.full_way                                  # frozen encoder
    python -m benchmarks.full_way --data-sets banking77 --start RUN --name clinc150
    python -m benchmarks.full_way --ways 5 --shots 1 5 --heads ridge auto transductive

With `--ways` there are that many intents at a time, others in each of `--episodes`; the
test is all official test texts of these. `transductive` learns from the texts of the
test, too, without their labels; `unlabelled` from 3000 training texts, likewise.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from benchmarks.embedded import DIMS, Embedded
from benchmarks.nearest import TRANSDUCTIVE

# isort: split
import numpy as np

from mlpeft.datasets.intents import intent_files
from mlpeft.datasets.rows import read_rows
from mlpeft.heads.auto import KINDS, fit_head
from mlpeft.heads.examples import Examples
from mlpeft.heads.linear import LinearHead, softmax
from mlpeft.heads.unlabelled import fit_with_unlabelled
from mlpeft.results import half_width
from mlpeft.tasks.families.intents.tokens import label_text

DATA_SETS = ("banking77", "clinc150")
SHOTS = (5, 10)
UNLABELLED = "unlabelled"
POOL = 3000


def read(data_set: str, split: str) -> tuple[list[str], list[str]]:
    """Texts and labels of a split, in the file's order."""
    rows = [row.values for row in read_rows(intent_files(data_set).utterances)]
    rows = [row for row in rows if row["split"] == split]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def drawn(labels: list[str], shots: int, seed: int) -> list[int]:
    """Rows of some examples of each label."""
    y = np.array(labels)
    rng = np.random.default_rng(seed)
    return [
        int(row)
        for label in sorted(set(labels))
        for row in rng.permutation(np.flatnonzero(y == label))[:shots]
    ]


def main() -> None:
    """Score what is not there yet, and print all that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-sets", nargs="+", choices=DATA_SETS, default=DATA_SETS)
    parser.add_argument("--shots", nargs="+", type=int, default=list(SHOTS))
    parser.add_argument("--draws", type=int, default=5)
    kinds = (*KINDS, TRANSDUCTIVE, UNLABELLED)
    parser.add_argument("--heads", nargs="+", choices=kinds, default=["auto"])
    parser.add_argument("--ways", type=int, help="intents at a time; all if left out")
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--start", default="none")
    parser.add_argument("--base", help="an encoder of as many columns; see DIMS")
    parser.add_argument("--name", default="none", help="of both, for the files")
    parser.add_argument("--no-names", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results/full_way"))
    args = parser.parse_args()
    embedded = Embedded(args.start, args.out, args.name, args.base)
    named = not args.no_names
    print("| data set | shots | start | head | accuracy | ECE | fit |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for data_set in args.data_sets:
        for shots in args.shots:
            for head in args.heads:
                rows = []
                if args.ways:
                    scored = few_way(embedded, data_set, shots, head, named, args)
                    where = f"{data_set}, {args.ways}-way | {shots} | {args.name}"
                    print(f"| {where} | {head} | {scored} |", flush=True)
                    continue
                for seed in range(args.draws):
                    kind = "named" if named else "plain"
                    name = f"{args.name}-{data_set}-{shots}-{head}-{kind}-{seed}.json"
                    file = args.out / name
                    if not file.is_file():
                        row = score(embedded, data_set, shots, seed, head, named=named)
                        file.write_text(json.dumps(row))
                    rows.append(json.loads(file.read_text()))
                where = f"| {data_set} | {shots} | {args.name} | {head}"
                print(f"{where} | {cells(rows)} |", flush=True)


def cells(rows: list[dict[str, object]]) -> str:
    """Mean and standard deviation over draws; which heads were taken."""
    share = 100 * np.array([row["accuracy"] for row in rows], float)
    ece = 100 * np.mean([row["ece"] for row in rows])
    seconds = np.mean([row["fit_cpu_s"] for row in rows])
    kinds = ", ".join(sorted({str(row["head"]) for row in rows}))
    spread = f" ± {share.std(ddof=1):.1f}" if len(rows) > 1 else ""
    return f"{share.mean():.1f}{spread} | {ece:.1f} | {seconds:.1f} s, {kinds}"


def few_way(
    embedded: Embedded,
    data_set: str,
    shots: int,
    head: str,
    named: bool,
    args: argparse.Namespace,
) -> str:
    """Mean accuracy over episodes, with its 95 % interval."""
    texts, labels = read(data_set, "train")
    queries, wanted = read(data_set, "test")
    names, y = sorted(set(labels)), np.array(wanted)
    tests = embedded(queries)
    own = embedded([label_text(name) for name in names])
    draws = [np.array(drawn(labels, shots, seed)) for seed in range(args.draws)]
    support = [embedded([texts[row] for row in rows]) for rows in draws]
    shares = []
    for episode in range(args.episodes):
        rng = np.random.default_rng([episode, args.ways])
        chosen = np.sort(rng.choice(len(names), args.ways, replace=False))
        x = support[episode % args.draws].reshape(len(names), shots, -1)[chosen]
        x = x.reshape(args.ways * shots, -1)
        place = np.repeat(np.arange(args.ways), shots)
        if named:
            x = np.concatenate([x, own[chosen]])
            place = np.concatenate([place, np.arange(args.ways)])
        known = np.isin(y, [names[intent] for intent in chosen])
        examples = Examples.of(x, place, args.ways, names=args.ways * named, **DIMS)
        fitted = fitted_head(examples, head, tests[known])[0]
        found = fitted(tests[known]).argmax(axis=1)
        truth = np.searchsorted([names[intent] for intent in chosen], y[known])
        shares.append(100 * float((found == truth).mean()))
    return f"{np.mean(shares):.1f} ± {half_width(np.array(shares)):.1f}"


def fitted_head(
    examples: Examples, head: str, unlabelled: np.ndarray
) -> tuple[LinearHead, str, dict[str, float]]:
    """A head, its kind, and what was seen of it on held-out examples."""
    if head in (TRANSDUCTIVE, UNLABELLED):
        return fit_with_unlabelled(examples, unlabelled), head, {}
    fitted = fit_head(examples, head)
    return fitted.head, fitted.kind, fitted.accuracy


def score(
    embedded: Embedded, data_set: str, shots: int, seed: int, head: str, *, named: bool
) -> dict[str, object]:
    """Fit to one draw and score the official test."""
    texts, labels = read(data_set, "train")
    rows = drawn(labels, shots, seed)
    queries, wanted = read(data_set, "test")
    more = embedded(queries)
    if head == UNLABELLED:
        picked = np.random.default_rng(seed).permutation(len(texts))[:POOL]
        more = embedded([texts[row] for row in picked])
    names = sorted(set(labels))
    own = [label_text(name) for name in names] if named else []
    x = embedded([*(texts[row] for row in rows), *own])
    y = [names.index(labels[row]) for row in rows] + list(range(len(own)))
    began = time.process_time()
    examples = Examples.of(x, np.array(y), len(names), names=len(own), **DIMS)
    fitted, kind, held_out = fitted_head(examples, head, more)
    seconds = time.process_time() - began
    shares = softmax(fitted(embedded(queries)))
    right = shares.argmax(axis=1) == np.array([names.index(name) for name in wanted])
    confidence = shares.max(axis=1)
    bins = np.minimum((15 * confidence).astype(int), 14)
    gap = [abs((right - confidence)[bins == b].sum()) for b in range(15)]
    return {
        "accuracy": float(right.mean()),
        "ece": float(sum(gap) / len(right)),
        "head": kind,
        "held_out": held_out,
        "fit_cpu_s": seconds,
    }


if __name__ == "__main__":
    main()
