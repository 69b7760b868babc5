"""Small models of kinds that differ in what matters to adapters."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")

from mlpeft.errors import ConfigError
from mlpeft.meta.functional import get_params
from mlpeft.models.pretrained.causal_lm import enable_all
from mlpeft.models.pretrained.trunk import find_trunk
from mlpeft.peft.lora_experts import LoRAExperts
from mlpeft.peft.wrap import merge, wrap
from tests.peft.models import peft
from tools.language_models import checks
from tools.language_models.kinds import small_model

KINDS = {
    "llama": "model.layers",
    "gpt2": "model.h",
    "dbrx": "transformer.blocks",
    "deepseek_v3": "model.layers",
    "exaone": "transformer.h",
    "gemma4": "language_model.model.layers",
    "gemma3n": "model.language_model.layers",
    "internlm2": "model.layers",
    "mamba2": "backbone.layers",
    "plamo2": "model.layers.layers",
    "qwen3_5_moe": "language_model.model.layers",
    "recurrent_gemma": "model.layers",
}
every_kind = pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"dbrx"}))
"""Without DBRX, which is slow and a mixture like deepseek_v3."""


@pytest.fixture(scope="module", autouse=True)
def _no_fused_kernels():
    """Compiling them takes longer than these tests."""
    mx.disable_compile()
    yield
    mx.enable_compile()


@pytest.mark.parametrize("kind", KINDS)
def test_the_blocks_are_found_where_the_kind_keeps_them(kind):
    trunk = find_trunk(small_model(kind))
    assert f"{trunk.path}.{trunk.blocks}" == KINDS[kind]


@every_kind
def test_lora_finds_layers_of_every_block_and_one_step_lowers_the_loss(kind):
    report = checks.Report(kind)
    checks._lora(report)
    assert report.failures == []
    before, after = report.losses
    assert after < before
    blocks = {
        name.removeprefix(f"{KINDS[kind]}.").partition(".")[0]
        for name in get_params(checks.wrapped(kind))
    }
    assert blocks == {"0", "1", "2", "3"}


@every_kind
def test_frozen_layers_and_the_head_at_labels_give_the_plain_logits(kind):
    frozen = checks.frozen_difference(kind)
    positions = checks.positions_difference(kind)
    assert (frozen is None) == (kind in ("gemma4", "gemma3n"))
    for found in (frozen, positions):
        assert found is None or found < 1e-5


@every_kind
def test_a_prompt_of_words_is_read_like_these_words_or_refused(kind):
    model = small_model(kind)
    enable_all(model)
    if kind in ("gemma4", "gemma3n"):
        with pytest.raises(ConfigError, match="prompt needs a model"):
            wrap(model, peft(method="prompt"))
        return
    wrap(model, peft(method="prompt", num_virtual_tokens=2))
    (inner,) = (m for m in model.modules() if "soft_prompt" in m)
    words = mx.array([8, 11])
    inner.soft_prompt = inner.word_vectors(words)
    tokens = mx.array(checks.TOKENS)
    prompted = model(tokens)
    del inner.soft_prompt
    front = mx.broadcast_to(words, (len(tokens), 2))
    whole = model(mx.concatenate([front, tokens], axis=1))[:, 2:]
    assert checks.difference(np.array(prompted), np.array(whole)) < 1e-5


def test_lora_of_experts_has_the_layers_of_mlx_lm_and_merges():
    model = checks.wrapped("deepseek_v3", rank=2)
    checks.move(model)
    layers = [m for m in model.modules() if isinstance(m, LoRAExperts)]
    assert len(layers) == 9  # three of each block but the first, which is dense
    assert layers[0].lora_a.shape == (4, 2, layers[0].linear.input_dims)
    expected = checks.logits(model)
    merge(model, peft(method="lora"))
    assert not [m for m in model.modules() if isinstance(m, LoRAExperts)]
    assert checks.difference(checks.logits(model), expected) < 1e-4


def test_lora_learns_beside_quantised_experts():
    import mlx.nn as nn

    model = small_model("qwen3_moe")
    nn.quantize(model, group_size=32, bits=4)
    enable_all(model)
    wrap(model, peft(method="lora", keys=["switch_mlp.*"], rank=2, train_also=[]))
    checks.move(model)
    _, grads = checks.loss_and_gradient(model)
    assert all(float(mx.abs(leaf).max()) > 0 for leaf in grads.values())
    expected = checks.logits(model)
    merge(model, peft(method="lora"))
    assert checks.difference(checks.logits(model), expected) < 1e-3


def test_a_mixture_in_mlx_lms_format_is_loaded_by_mlx_lm():
    report = checks.Report("deepseek_v3")
    checks._exports(report)
    assert report.failures == []
    assert report.exports == ["mlx-lm", "merged"]
