"""A folder for onnxruntime: the whole classifier as one graph (extra: onnx).

model.onnx       input_ids, attention_mask -> embeddings, logits, probabilities; with
                 a head that sees n-grams, these are a third input, `ngrams`
model_int8.onnx  the same with weights of 8 bits
tokenizer.json   the base's
labels.json      labels, in the order of the probabilities, and how to decide
ngrams.py        with such a head: computes `ngrams` from texts, needs NumPy alone
"""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from mlx.utils import tree_flatten

from mlpeft.adapters import ngrams
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

    from onnx import ModelProto

    from mlpeft.adapters.adapter import Adapter

MODEL = "model.onnx"
INT8 = "model_int8.onnx"
_NEEDS = "needs the package {}; install it with: pip install 'mlpeft[onnx]'"
NGRAMS = "ngrams.py"
_USE = """```python
import json
from pathlib import Path
{imports}
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

settings = json.loads(Path("FOLDER/labels.json").read_text())
tokenizer = Tokenizer.from_file("FOLDER/tokenizer.json")
tokenizer.enable_truncation(settings["max_tokens"])
tokenizer.enable_padding(pad_id=settings["pad_id"])
session = onnxruntime.InferenceSession("FOLDER/model.onnx")

texts = ["a text", "another text"]
encoded = tokenizer.encode_batch(texts)
inputs = {{
    "input_ids": np.array([one.ids for one in encoded]),
    "attention_mask": np.array([one.attention_mask for one in encoded]),
}}
{ngrams}{use}
```"""
_NGRAMS = """inputs["ngrams"] = run_path("FOLDER/ngrams.py")["ngrams"](texts)
"""
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
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(f"--format onnx {_NEEDS.format('onnx')}") from error
    if int8:
        _check_quantiser()
    graph, columns = _graph(adapter)
    onnx.save_model(graph, str(folder / MODEL))
    if int8:
        _quantise(folder)
    source = str(config.task_distribution.task_params.get("tokenizer"))
    source = source if source != "None" else str(config.model.weights)
    tokenizer = model_file(source, TOKENIZER)
    shutil.copyfile(tokenizer, folder / TOKENIZER)
    if columns:
        shutil.copyfile(ngrams.__file__, folder / NGRAMS)
    settings = _settings(adapter) | {"pad_id": Tokeniser(tokenizer, 1 << 30).pad}
    files.write_json(folder, files.LABELS_FILE, settings | {"ngrams": columns})
    files.write_card(folder, adapter, _use(adapter, columns), head_files=False)


def _graph(adapter: Adapter) -> tuple[ModelProto, int]:
    """The graph, and how many of its head's columns are of n-grams."""
    from mlpeft.exchange.onnx_graph import ClassifierGraph

    model: Any = adapter.build_model()
    merge(model, adapter.config.peft)
    leaves = {name: np.array(leaf) for name, leaf in tree_flatten(model.parameters())}
    head, columns = None, 0
    if files.has_head(adapter):
        head = Head.of_leaves(adapter.leaves, adapter.config.model)
        columns = max(head.weight.shape[1] - model.layers_dims, 0)
    if head is not None and columns:
        head = head.beside_ngrams(model.dims, model.layers_dims)
    layers = head is not None and not columns and head.weight.shape[1] > model.dims
    graph = ClassifierGraph(
        model.encoder.config, model.encoder.pooling, leaves, layers=layers
    )
    several = bool(getattr(adapter, "multi_label", False))
    return graph.model(head, multi_label=several, ngrams=columns), columns


def _settings(adapter: Adapter) -> dict[str, Any]:
    """What labels.json says of how to use the graph."""
    none = getattr(adapter, "none_label", None)
    asked = adapter.history.get("settings", {}).get("none_label", NONE_OF_THESE)
    return {
        "labels": list(adapter.labels),
        "multi_label": bool(getattr(adapter, "multi_label", False)),
        "reject_below": float(getattr(adapter, "reject_below", 0.0)),
        "none_label": none or asked,
        "max_tokens": max_tokens(adapter.config),
    }


def _use(adapter: Adapter, ngram_columns: int) -> str:
    """Python that uses the folder."""
    several = getattr(adapter, "multi_label", False)
    use = _SEVERAL if several else _CLASSIFY
    return _USE.format(
        use=use if files.has_head(adapter) else _EMBED,
        imports="from runpy import run_path\n" if ngram_columns else "",
        ngrams=_NGRAMS if ngram_columns else "",
    )


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
