"""What one would use instead of `TextClassifier`, on the same texts and one core.

SetFit with the same encoder, logistic regression on its embeddings, and on TF-IDF:
accuracy, seconds to fit, texts a second and memory. `--peers-python` has torch,
sentence-transformers, scikit-learn and setfit. Times are of the processor.

    python -m benchmarks.text_peers --peers-python peers/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from mlpeft import TextClassifier

# isort: split
import numpy as np

from benchmarks.full_way import drawn, read
from benchmarks.hint3 import OUTSIDE
from benchmarks.hint3 import read as read_hint3
from mlpeft.adapters.starts import default_base
from mlpeft.models.pretrained.source import model_path

OURS = "TextClassifier"
NAMED = "TextClassifier, names"
PEERS = {
    "tfidf": "TF-IDF, logistic regression",
    "embeddings": "embeddings, logistic regression",
    "setfit": "SetFit",
}
TASKS = ("banking77-5way-5shot", "banking77-77way-5shot", "curekart-subset")
ITERATIONS = {TASKS[0]: 5, TASKS[1]: 1, TASKS[2]: 1}
"""SetFit's pairs of each text, of each kind: 20 is its default; fewer where it would
take an hour."""


def task(name: str, seed: int) -> dict[str, object]:
    """Examples and test of a task."""
    if name.startswith("curekart"):
        texts, labels = read_hint3("curekart_subset_train")
        queries, truth = read_hint3("curekart_test")
        known = truth != OUTSIDE
        queries = [text for text, inside in zip(queries, known, strict=True) if inside]
        wanted = truth[known].tolist()
        return {
            "texts": texts,
            "labels": labels.tolist(),
            "queries": queries,
            "truth": wanted,
        }
    texts, own = read("banking77", "train")
    queries, wanted = read("banking77", "test")
    chosen = sorted(set(own))
    if "5way" in name:
        rng = np.random.default_rng(seed)
        chosen = sorted(rng.choice(chosen, 5, replace=False).tolist())
    rows = [row for row in drawn(own, 5, seed) if own[row] in chosen]
    tests = [row for row in range(len(queries)) if wanted[row] in chosen]
    return {
        "texts": [texts[row] for row in rows],
        "labels": [own[row] for row in rows],
        "queries": [queries[row] for row in tests],
        "truth": [wanted[row] for row in tests],
    }


def ours(given: dict[str, list[str]], *, named: bool) -> dict[str, float]:
    """`TextClassifier` on a frozen encoder that is loaded."""
    TextClassifier.fit(["a b", "c d"], ["a", "b"], start="none")
    began = time.process_time()
    fitted = TextClassifier(start="none", label_names=named)
    fitted.fit(given["texts"], given["labels"])
    seconds = time.process_time() - began
    began = time.process_time()
    found = fitted.predict(given["queries"])
    took = time.process_time() - began
    import resource

    return {
        "accuracy": float((found == np.array(given["truth"])).mean()),
        "fit_cpu_s": seconds,
        "texts_per_cpu_s": len(found) / took,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Measure what is not there yet, and print all that is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", type=Path)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=[OURS, NAMED, *PEERS])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/text_peers"))
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        method = args.methods[0]
        given = json.loads(args.one.read_text())
        print(json.dumps(ours(given, named=method == NAMED)))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    print("| texts | method | accuracy | fit, s | texts/s | memory, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in args.tasks:
        for method in args.methods:
            draws = 1 if name.startswith("curekart") else args.draws
            rows = [measured(args, name, method, seed) for seed in range(draws)]
            print(
                f"| {name} | {PEERS.get(method, method)} | {cells(rows)} |", flush=True
            )


def measured(
    args: argparse.Namespace, name: str, method: str, seed: int
) -> dict[str, float]:
    """The figures of one draw, in a process of its own."""
    file = args.out / f"{name}-{method.replace(', ', '-')}-{seed}.json"
    if not file.is_file():
        given = args.out / f"task-{name}-{seed}.json"
        model = str(model_path(default_base()).absolute())
        settings = {"model": model, "iterations": ITERATIONS[name]}
        given.write_text(json.dumps(task(name, seed) | settings))
        if method in PEERS:
            command = [str(args.peers_python), "-m", "benchmarks.text_peer", method]
            command.append(str(given))
        else:
            command = [sys.executable, "-m", "benchmarks.text_peers"]
            command += ["--methods", method, "--one", str(given)]
        single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, env=os.environ | single
        )
        file.write_bytes(done.stdout.splitlines()[-1])
    found: dict[str, float] = json.loads(file.read_text())
    return found


def cells(rows: list[dict[str, float]]) -> str:
    """Means over draws."""
    share = 100 * np.array([row["accuracy"] for row in rows])
    spread = f" ± {share.std(ddof=1):.1f}" if len(rows) > 1 else ""
    fit, speed, peak = (
        np.mean([row[key] for row in rows])
        for key in ("fit_cpu_s", "texts_per_cpu_s", "peak_mb")
    )
    return f"{share.mean():.1f}{spread} | {fit:.2g} | {speed:.0f} | {peak:.0f}"


if __name__ == "__main__":
    main()
