"""Hugging Face PEFT itself loads what is exported, and computes the same.

It needs torch, which this project does not: name a Python that has it, for example of a
virtual environment with `pip install torch peft transformers`:

    MLPEFT_PEFT_PYTHON=/path/to/bin/python pytest tests/exchange/test_with_peft.py
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mlpeft.adapters.start import as_adapter
from mlpeft.config import RunConfig
from mlpeft.errors import DataError
from mlpeft.exchange.export import export_adapter, import_adapter
from mlpeft.models.pretrained.causal_lm import read_causal_lm
from mlpeft.training.trained import load_trained
from tests.adapters.runs import write_base, write_run
from tests.exchange.test_export import TOKENS, adapted, language_start, other_run

SCRIPT = Path(__file__).with_name("peft_reference.py")
MAKER = Path(__file__).with_name("peft_adapters.py")
METHODS = [
    {"method": "lora", "rank": 2},
    {"method": "lora", "rank": 4, "alpha": 6.0, "rslora": True},
    {"method": "dora", "rank": 2, "scale": 3.0},
    {"method": "ia3"},
    {"method": "prompt", "num_virtual_tokens": 3},
]


@pytest.fixture(scope="session")
def peft_python() -> str:
    python = os.environ.get("MLPEFT_PEFT_PYTHON")
    if python is None:
        pytest.skip("set MLPEFT_PEFT_PYTHON to a Python that has torch and peft")
    return python


def run(python: str, base: Path, folder: Path, tmp_path: Path) -> np.ndarray:
    """The outputs of peft, which writes the adapter again into `again`."""
    given, output = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(given, tokens=np.array(TOKENS))
    words = [python, SCRIPT, base, folder, given, output, "--save", tmp_path / "again"]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    with np.load(output) as file:
        outputs: np.ndarray = file["outputs"]
        return outputs


@pytest.mark.parametrize("peft", METHODS)
def test_peft_computes_the_encoders_embeddings(peft_python, tmp_path, peft):
    adapter = adapted(tmp_path, peft=peft)
    folder = export_adapter(adapter, "peft", tmp_path / "folder")
    theirs = run(peft_python, tmp_path / "base", folder, tmp_path)
    np.testing.assert_allclose(adapter.model.encoder(TOKENS), theirs, atol=1e-5)
    again = import_adapter(tmp_path / "again", other_run(adapter, tmp_path))
    start = as_adapter(load_trained(again))
    np.testing.assert_allclose(start.model.encoder(TOKENS), theirs, atol=1e-5)


@pytest.mark.parametrize(
    "peft", [*METHODS, {"method": "prefix", "num_virtual_tokens": 3}]
)
def test_peft_computes_the_language_models_logits(peft_python, tmp_path, peft):
    adapter = language_start(tmp_path, peft=peft)
    folder = export_adapter(adapter, "peft", tmp_path / "folder")
    theirs = run(peft_python, tmp_path / "lm", folder, tmp_path)
    seen = np.array(TOKENS) != 0
    ours = np.array(adapter.model(TOKENS))
    np.testing.assert_allclose(ours[seen], theirs[seen], atol=1e-4)


READ = (
    "plain",
    "rslora",
    "dora",
    "gaussian",
    "orthogonal",
    "layers_to_transform",
    "ia3",
    "no_r",
)
LANGUAGE = (
    *("lm_lora", "lm_dora", "lm_ia3", "lm_prompt", "lm_prefix", "lm_projected"),
)
REFUSED = {
    "pissa": "init_lora_weights is 'pissa', which changed the base's weights",
    "olora": "init_lora_weights is 'olora', which changed the base's weights",
    "rank_pattern": r"rank_pattern is \{'query': 3\}",
    "alpha_pattern": r"alpha_pattern is \{'query': 3\}",
    "bias": "bias is 'lora_only'",
    "lora_bias": "lora_bias is True",
    "modules_to_save": "modules_to_save is .* holds more of the base",
    "trainable_tokens": "trainable_token_indices is .* holds more of the base",
    "not_finite": r"lora_A\.weight has values that are not finite",
    "pickled": r"adapter_model\.bin is a pickle, which may run code",
}
REFUSED_LANGUAGE = {
    "lm_p_tuning": "peft_type is 'P_TUNING'; mlpeft reads",
    "lm_embeddings": "lora_embedding_.*, which is no leaf of lora of a linear layer",
}


@pytest.fixture(scope="module")
def peft_made(peft_python, tmp_path_factory) -> Path:
    """Adapters that peft itself made for the tiny encoder."""
    folder = tmp_path_factory.mktemp("peft")
    base = write_base(folder / "base")
    np.savez(folder / "in.npz", tokens=np.array(TOKENS))
    words = [peft_python, MAKER, base, folder / "in.npz", folder]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=115
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("kind", READ)
def test_what_peft_made_is_read_as_peft_computes_it(peft_made, tmp_path, kind):
    config = RunConfig.load(write_run(tmp_path, peft_made / "base") / "config.yaml")
    config = config.with_changes(
        run={"name": kind}, paths={"checkpoint_dir": str(tmp_path)}
    )
    start = as_adapter(load_trained(import_adapter(peft_made / kind, config)))
    with np.load(peft_made / "outputs.npz") as outputs:
        np.testing.assert_allclose(
            start.model.encoder(TOKENS), outputs[kind], atol=1e-5
        )


@pytest.mark.parametrize(("kind", "told"), REFUSED.items())
def test_what_mlpeft_cannot_compute_is_refused_with_its_reason(
    peft_made, tmp_path, kind, told
):
    config = RunConfig.load(write_run(tmp_path, peft_made / "base") / "config.yaml")
    with pytest.raises(DataError, match=told):
        import_adapter(peft_made / kind, config)


def llama_run(peft_made, tmp_path, kind) -> RunConfig:
    """A run of the Llama that transformers wrote."""
    section = {"backbone": "causal_lm"}
    run = write_run(tmp_path, peft_made / "llama", model=section)
    return RunConfig.load(run / "config.yaml").with_changes(
        run={"name": kind}, paths={"checkpoint_dir": str(tmp_path)}
    )


def test_a_language_model_is_read_as_transformers_wrote_it(peft_made):
    with np.load(peft_made / "outputs.npz") as outputs:
        agree(read_causal_lm(str(peft_made / "llama")), outputs["llama"])


@pytest.mark.parametrize("kind", LANGUAGE)
def test_a_language_models_adapter_gives_pefts_logits(peft_made, tmp_path, kind):
    config = llama_run(peft_made, tmp_path, kind)
    start = as_adapter(load_trained(import_adapter(peft_made / kind, config)))
    with np.load(peft_made / "outputs.npz") as outputs:
        assert np.abs(outputs[kind] - outputs["llama"]).max() > 1e-3
        agree(start.model, outputs[kind])


@pytest.mark.parametrize(("kind", "told"), REFUSED_LANGUAGE.items())
def test_other_adapters_of_language_models_are_refused_with_the_reason(
    peft_made, tmp_path, kind, told
):
    with pytest.raises(DataError, match=told):
        import_adapter(peft_made / kind, llama_run(peft_made, tmp_path, kind))


def agree(model, theirs: np.ndarray) -> None:
    """Logits at tokens; those of padding mean nothing."""
    seen = np.array(TOKENS) != 0
    np.testing.assert_allclose(np.array(model(TOKENS))[seen], theirs[seen], atol=1e-4)
