"""Pooling tokens into a sentence, as the model's folder says."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlpeft.errors import DataError
from mlpeft.models.pretrained.encoder import unit
from mlpeft.models.pretrained.encoder_weights import read_encoder
from mlpeft.models.pretrained.pooling import read_pooling
from tests.models.pretrained import tiny

TOKENS = np.array([[3, 7, 9, 0], [4, 5, 0, 0]], np.int32)


def ask(folder: Path, *modes: str, at: str = "1_Pooling") -> Path:
    """Have a folder ask for these ways of pooling."""
    names = ("cls_token", "mean_tokens", "max_tokens")
    settings = {f"pooling_mode_{name}": name in modes for name in names}
    (folder / at).mkdir(parents=True)
    text = json.dumps({"word_embedding_dimension": 16} | settings)
    (folder / at / "config.json").write_text(text)
    return folder


def modules(folder: Path, *kinds: tuple[str, str]) -> Path:
    rows = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for kind, path in kinds
    ]
    (folder / "modules.json").write_text(json.dumps(rows))
    return folder


def test_the_default_pooling_is_the_mean(tmp_path):
    assert read_pooling(tmp_path) == "mean"


def test_a_folder_may_ask_for_the_first_token(tmp_path):
    assert read_pooling(ask(tmp_path, "cls_token")) == "cls"


def test_modules_json_names_the_folder_of_the_pooling(tmp_path):
    ask(tmp_path, "cls_token", at="pool")
    kinds = ("Transformer", ""), ("Pooling", "pool"), ("Normalize", "2_Normalize")
    assert read_pooling(modules(tmp_path, *kinds)) == "cls"


@pytest.mark.parametrize("modes", [("max_tokens",), ("cls_token", "mean_tokens"), ()])
def test_another_pooling_is_refused_by_name(tmp_path, modes):
    with pytest.raises(DataError, match=", ".join(modes) or "no pooling"):
        read_pooling(ask(tmp_path, *modes))


def test_an_unsupported_module_is_refused(tmp_path):
    modules(tmp_path, ("Transformer", ""), ("Pooling", "p"), ("Dense", "2_Dense"))
    with pytest.raises(DataError, match=r"module sentence_transformers\.models\.Dense"):
        read_pooling(tmp_path)


def test_settings_that_are_no_json_are_an_error(tmp_path):
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(DataError, match="not valid JSON"):
        read_pooling(tmp_path)


def test_cls_pooling_takes_the_first_token(tmp_path):
    encoder = read_encoder(str(ask(tiny.write(tmp_path), "cls_token")))
    mask = mx.array(TOKENS != 0)[:, None, None, :]
    hidden = encoder.embeddings(mx.array(TOKENS))
    for layer in encoder.layers:
        hidden = layer(hidden, mask)
    expected = unit(hidden[:, 0])
    np.testing.assert_allclose(encoder(mx.array(TOKENS)), expected, atol=1e-6)


def test_packed_sentences_are_pooled_in_the_same_way(tmp_path):
    encoder = read_encoder(str(ask(tiny.write(tmp_path), "cls_token")))
    encoder.freeze()
    packed = {k: mx.array(v) for k, v in encoder.prepare(TOKENS).items()}
    np.testing.assert_allclose(encoder(packed), encoder(mx.array(TOKENS)), atol=1e-5)
