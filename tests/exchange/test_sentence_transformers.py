"""A sentence-transformers folder, and what sentence-transformers makes of it.

The library needs torch, which this project does not: name a Python that has it, for
example of a virtual environment with `pip install sentence-transformers`:

    MLPEFT_ST_PYTHON=/path/to/bin/python pytest tests/exchange
"""

from __future__ import annotations

import json
import os
import re
import subprocess

import numpy as np
import pytest

from mlpeft.adapters.text_classifier import TextClassifier
from mlpeft.errors import ConfigError
from mlpeft.exchange.export import export_adapter
from mlpeft.models.pretrained.encoder_weights import read_encoder
from tests.adapters.runs import EXAMPLES, write_base, write_run
from tests.exchange.test_export import adapted, moved

TEXTS = ["a text", "where is my parcel", "please please money back my parcel is"]


def exported(tmp_path, pooling="mean"):
    """A classifier with moved LoRA leaves, and its folder."""
    base = write_base(tmp_path / "base")
    (base / "1_Pooling").mkdir(exist_ok=True)
    mode = {"mean": "mean_tokens", "cls": "cls_token"}[pooling]
    (base / "1_Pooling" / "config.json").write_text(
        json.dumps({f"pooling_mode_{mode}": True})
    )
    run = write_run(tmp_path, base, task_distribution={"input_dim": 5})
    texts, labels = map(list, zip(*EXAMPLES, strict=True))
    clf = TextClassifier.fit(texts, labels, start=run, head="logistic")
    adapter = moved(clf.adapter_)
    adapter._embedder = None
    return adapter, export_adapter(adapter, "sentence-transformers", tmp_path / "st")


def test_a_folder_says_its_modules_pooling_and_longest_text(tmp_path):
    _, folder = exported(tmp_path, "cls")
    modules = json.loads((folder / "modules.json").read_text())
    assert [module["path"] for module in modules] == ["", "1_Pooling", "2_Normalize"]
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert [key for key, value in pooling.items() if value is True] == [
        "pooling_mode_cls_token"
    ]
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    assert settings["max_seq_length"] == 5
    assert read_encoder(str(folder)).pooling == "cls"
    names = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert names == {".json", ".safetensors", ".md"}


def test_a_projection_has_no_place_in_it(tmp_path):
    adapter = adapted(tmp_path, model={"projected": True})
    with pytest.raises(ConfigError, match="--format onnx"):
        export_adapter(adapter, "sentence-transformers", tmp_path / "st")


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_library_computes_the_same_by_the_code_of_the_card(tmp_path, pooling):
    python = os.environ.get("MLPEFT_ST_PYTHON")
    if python is None:
        pytest.skip("set MLPEFT_ST_PYTHON to a Python with sentence-transformers")
    adapter, folder = exported(tmp_path, pooling)
    card = (folder / "README.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", card, re.DOTALL))
    code = code.replace("FOLDER", str(folder))
    code = code.replace('["a text", "another text"]', json.dumps(TEXTS))
    saved = tmp_path / "out.npz"
    code += f"\nimport numpy\nnumpy.savez({str(saved)!r}, e=embeddings, l=logits)\n"
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(saved) as found:
        np.testing.assert_allclose(found["e"], adapter.embed(TEXTS), atol=1e-5)
        shares = np.exp(found["l"] - found["l"].max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, adapter.probabilities(TEXTS), atol=1e-4)
