"""A folder for onnxruntime: the whole classifier as one graph (extra: onnx).

model.onnx       input_ids, attention_mask -> embeddings, logits, probabilities
model_int8.onnx  the same with weights of 8 bits
tokenizer.json   the base's
labels.json      labels, in the order of the probabilities, and how to decide
"""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from mlx.utils import tree_flatten

from mlpeft.adapters.adapter import max_tokens
from mlpeft.adapters.classifier import NONE_OF_THESE
from mlpeft.adapters.embedder import Head
from mlpeft.errors import ConfigError
from mlpeft.exchange import files
from mlpeft.models.pretrained.source import model_file
from mlpeft.models.pretrained.tokenizers import TOKENIZER, Tokeniser
from mlpeft.peft.wrap import merge

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.adapters.adapter import Adapter

MODEL = "model.onnx"
INT8 = "model_int8.onnx"
_NEEDS = "needs the package {}; install it with: pip install 'mlpeft[onnx]'"
_USE = """```python
import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

settings = json.loads(Path("FOLDER/labels.json").read_text())
tokenizer = Tokenizer.from_file("FOLDER/tokenizer.json")
tokenizer.enable_truncation(settings["max_tokens"])
tokenizer.enable_padding(pad_id=settings["pad_id"])
session = onnxruntime.InferenceSession("FOLDER/model.onnx")

encoded = tokenizer.encode_batch(["a text", "another text"])
inputs = {{
    "input_ids": np.array([one.ids for one in encoded]),
    "attention_mask": np.array([one.attention_mask for one in encoded]),
}}
{use}
```"""
_CLASSIFY = """(probabilities,) = session.run(["probabilities"], inputs)
for row in probabilities:
    best = row.argmax()
    known = row[best] >= settings["reject_below"]
    print(settings["labels"][best] if known else settings["none_label"], row[best])"""
_SEVERAL = """(probabilities,) = session.run(["probabilities"], inputs)
for row in probabilities:
    print([settings["labels"][i] for i in np.flatnonzero(row >= 0.5)])"""
_EMBED = """(embeddings,) = session.run(["embeddings"], inputs)"""


def write(adapter: Adapter, folder: Path, *, int8: bool = False) -> None:
    """Write a folder for onnxruntime.

    Args:
        adapter: Of a sentence encoder.
        folder: An empty one.
        int8: Whether to write the quantised model, too, by onnxruntime.

    Raises:
        ConfigError: If the model is no sentence encoder, its method cannot be merged,
            or a package is missing.
    """
    config = adapter.config
    if config.model.backbone != "encoder":
        raise ConfigError(
            f"model.backbone: an ONNX graph is written of encoder, got "
            f"{config.model.backbone!r}; export a language model with --format merged"
        )
    model: Any = adapter.build_model()
    merge(model, config.peft)
    leaves = {name: np.array(leaf) for name, leaf in tree_flatten(model.parameters())}
    head = None
    if files.has_head(adapter):
        head = Head.of_leaves(adapter.leaves, config.model)
    several = bool(getattr(adapter, "multi_label", False))
    try:
        import onnx

        from mlpeft.exchange.onnx_graph import ClassifierGraph
    except ImportError as error:
        raise ConfigError(f"--format onnx {_NEEDS.format('onnx')}") from error
    if int8:
        _check_quantiser()
    graph = ClassifierGraph(
        model.encoder.config,
        model.encoder.pooling,
        leaves,
        layers=head is not None and head.weight.shape[1] > model.dims,
    )
    onnx.save_model(graph.model(head, multi_label=several), str(folder / MODEL))
    if int8:
        _quantise(folder)
    source = str(config.task_distribution.task_params.get("tokenizer"))
    source = source if source != "None" else str(config.model.weights)
    tokenizer = model_file(source, TOKENIZER)
    shutil.copyfile(tokenizer, folder / TOKENIZER)
    settings: dict[str, Any] = {
        "labels": list(adapter.labels),
        "multi_label": several,
        "reject_below": float(getattr(adapter, "reject_below", 0.0)),
        "none_label": getattr(adapter, "none_label", None)
        or adapter.history.get("settings", {}).get("none_label", NONE_OF_THESE),
        "max_tokens": max_tokens(config),
        "pad_id": Tokeniser(tokenizer, 1 << 30).pad,
    }
    files.write_json(folder, files.LABELS_FILE, settings)
    use = _EMBED if head is None else _SEVERAL if several else _CLASSIFY
    files.write_card(folder, adapter, _USE.format(use=use), head_files=False)


def _check_quantiser() -> None:
    try:
        import onnxruntime.quantization  # noqa: F401 - is it installed?
    except ImportError as error:
        raise ConfigError(f"--int8 {_NEEDS.format('onnxruntime')}") from error


def _quantise(folder: Path) -> None:
    """Weights of 8 bits, activations quantised as they come (onnxruntime's dynamic).

    Each output of a layer has a scale of its own. The head, which is small and has the
    last word, stays as it is.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from mlpeft.exchange.onnx_graph import HEAD_NODE

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a shape inference that changes nothing
    try:
        quantize_dynamic(
            folder / MODEL,
            folder / INT8,
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[HEAD_NODE],
        )
    finally:
        root.setLevel(level)
