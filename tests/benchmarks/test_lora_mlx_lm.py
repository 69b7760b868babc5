"""The comparison with mlx-lm's training step is of the same computation."""

import numpy as np
import pytest

from benchmarks.lora_mlx_lm import Batch, check_losses, flops, write_batch


def test_half_of_a_batch_has_a_loss_and_one_word_more_is_predicted(tmp_path):
    batch = write_batch(tmp_path, (4, 64), 32)
    assert (batch.tokens, batch.counted) == (256, 128)
    with np.load(batch.file) as written:
        assert written["tokens"].shape == (4, 65)


def test_sides_whose_losses_differ_after_a_step_are_not_compared():
    check_losses([{"loss": 2.0, "next": 1.5}, {"loss": 2.0, "next": 1.5001}])
    with pytest.raises(SystemExit, match="next"):
        check_losses([{"loss": 2.0, "next": 1.5}, {"loss": 2.0, "next": 1.6}])


def test_the_floor_counts_the_head_where_tokens_have_a_loss(tmp_path):
    more, fewer = (Batch(tmp_path, counted, 8) for counted in (8, 4))
    assert flops(more, 2) - flops(fewer, 2) == 2 * 2 * 4 * 576 * 49_152


@pytest.mark.parametrize("prompt", [0, 3])
def test_both_sides_take_the_same_steps(tmp_path, prompt):
    """On a small Llama with random weights."""
    llama = pytest.importorskip("mlx_lm.models.llama", reason="pip install mlpeft[lm]")
    from benchmarks.lora_mlx_lm_side import mlx_lm_step, our_step
    from mlpeft.models.pretrained.causal_lm import enable_all

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    depths = {"num_hidden_layers": 2, "vocab_size": 40_000, "rms_norm_eps": 1e-5}
    args = llama.ModelArgs(model_type="llama", **sizes, **depths)
    file = str(write_batch(tmp_path, (2, 6), prompt).file)
    losses = []
    start = llama.Model(args).parameters()
    for make_step in (our_step, mlx_lm_step):
        model = llama.Model(args)
        model.update(start)
        enable_all(model)
        step = make_step(model, 1, file)
        losses.append([step() for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert len(set(losses[0])) == 3
