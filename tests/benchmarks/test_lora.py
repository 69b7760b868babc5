"""The measurement of a LoRA step measures what it says."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import step_server
from benchmarks.lora import CLASSES, Peer, flops, told


def test_a_process_answers_each_question_in_a_line(monkeypatch, capsys):
    asked = [{"episode": "here"}, {"seconds": 0.0}, {"products": 8}]
    monkeypatch.setattr("sys.stdin", [json.dumps(line) for line in asked])
    steps = iter([2.5, 2.0, 1.5, 1.0])
    step_server.serve(lambda _: lambda: next(steps), lambda tokens: 10.0 * tokens)
    ready, made, timed, speed = map(json.loads, capsys.readouterr().out.splitlines())
    assert ready["mb"] > 0
    assert made == {"loss": 2.5, "next": 2.0}
    assert len(timed["ms"]) == len(timed["cpu_ms"]) == 1
    assert speed == {"flops_s": 80.0}


def test_the_floor_leaves_out_what_nothing_needs():
    """One layer and token: back, query, key and value have no gradient to hand on."""
    d, inner = 384, 1536
    forward, back = 4 * d * d + 2 * d * inner, d * d + 2 * d * inner
    assert flops(1, 1) == 2 * (forward + back)


def test_our_side_has_a_fast_blas_and_the_same_loss_packed_and_padded(
    minilm, tmp_path, monkeypatch
):
    """Taken from after mlx.core, mlpeft could not lend it a BLAS, and warns."""
    monkeypatch.setenv("PYTHONWARNINGS", "error:mlx.core was imported")
    file = tmp_path / "episode.npz"
    tokens = np.random.default_rng(0).integers(1000, 2000, (CLASSES, 6))
    tokens[0, 4:] = 0  # padding
    np.savez(file, tokens=tokens.astype(np.int32), labels=np.arange(CLASSES))
    losses = []
    for packed in (True, False):
        given = told(threads=1, layers=1) | {"packed": packed}
        with Peer(Path(sys.executable), "lora_ours", given) as side:
            losses.append(side.ask(episode=str(file))["loss"])
            assert len(side.ask(seconds=0.0)["ms"]) == 1
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
