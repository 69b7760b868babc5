"""A folder of sentence-transformers: the merged encoder, its pooling, unit vectors.

modules.json                       Transformer, Pooling, Normalize
config_sentence_transformers.json
sentence_bert_config.json          max_seq_length
1_Pooling/config.json
model.safetensors, config.json, tokenizer.json and the base's other files
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlpeft.adapters.adapter import max_tokens
from mlpeft.errors import ConfigError
from mlpeft.exchange import files, merged
from mlpeft.models.pretrained.encoder_weights import read_encoder

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.adapters.adapter import Adapter

_KINDS = ("Transformer", "Pooling", "Normalize")
_MODES = {"mean": "mean_tokens", "cls": "cls_token"}
_ALL_MODES = (
    "cls_token",
    "mean_tokens",
    "max_tokens",
    "mean_sqrt_len_tokens",
    "weightedmean_tokens",
    "lasttoken",
)
_USE = """```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER")
embeddings = model.encode(["a text", "another text"])
```"""
_LABELS_USE = """

```python
import json
from pathlib import Path

from safetensors.numpy import load_file

head = load_file("FOLDER/head.safetensors")
settings = json.loads(Path("FOLDER/labels.json").read_text())
logits = settings["scale"] * embeddings @ head["weight"].T + head["bias"]
print([settings["labels"][row.argmax()] for row in logits])
```"""


def write(adapter: Adapter, folder: Path) -> None:
    """Write a folder that `SentenceTransformer` loads.

    Raises:
        ConfigError: If the model is no sentence encoder, has a projection, or its
            method cannot be merged.
    """
    config = adapter.config
    if config.model.backbone != "encoder" or config.model.projected:
        given = "a projection" if config.model.projected else config.model.backbone
        raise ConfigError(
            f"model: a sentence-transformers folder holds a sentence encoder, got "
            f"{given}; export it with --format "
            f"{'onnx' if config.model.projected else 'merged'}"
        )
    merged.write(adapter, folder)
    encoder = read_encoder(str(config.model.weights))
    _write(folder / "modules.json", _modules())
    _write(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": encoder.config.hidden_size}
        | {
            f"pooling_mode_{mode}": mode == _MODES[encoder.pooling]
            for mode in _ALL_MODES
        },
    )
    longest = max_tokens(config)
    settings = {"max_seq_length": longest, "do_lower_case": False}
    _write(folder / "sentence_bert_config.json", settings)
    _write(
        folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"}
    )
    _state_tokenizer(folder, longest)
    use = _USE + (_LABELS_USE if files.has_head(adapter) else "")
    files.write_card(folder, adapter, use)


def _modules() -> list[dict[str, Any]]:
    return [
        {
            "idx": number,
            "name": str(number),
            "path": f"{number}_{kind}" if number else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(_KINDS)
    ]


def _state_tokenizer(folder: Path, longest: int) -> None:
    """Say what reads tokenizer.json, if the base does not, and its longest text."""
    file = folder / "tokenizer_config.json"
    given = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    fresh = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    _write(file, (given or fresh) | {"model_max_length": longest})


def _write(file: Path, content: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
