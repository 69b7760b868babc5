"""Fewer bytes for updates and steps of theta."""

import numpy as np
import pytest

from mlpeft import params
from mlpeft.cluster.validation import reject_reason
from mlpeft.config import RunConfig
from mlpeft.errors import ParamMismatch
from mlpeft.meta.compression import Compression
from mlpeft.meta.outer import OuterStep
from mlpeft.work import Displacement, Kind, ResultSchema, Shard, ShardUpdate, TaskSpec

NAMES = ["bf16", "int8", "topk", "powersgd"]
SHARD = Shard(3, 1, Kind.TRAIN, (TaskSpec("a", 1), TaskSpec("b", 2)))
RNG = np.random.default_rng(0)
META = {
    "layer.bias": RNG.standard_normal(7, dtype=np.float32),
    "layer.weight": RNG.standard_normal((30, 20), dtype=np.float32),
}


def update_of(change, meta=META):
    total = {name: 2 * (leaf + change[name]) for name, leaf in meta.items()}
    losses = {"support_loss": np.ones(2, np.float32)}
    return ShardUpdate(1, 2, total, losses)


def noise(scale, seed=1):
    rng = np.random.default_rng(seed)
    return {
        name: scale * rng.standard_normal(leaf.shape, dtype=np.float32)
        for name, leaf in META.items()
    }


def as_sent(update):
    return ShardUpdate(update.index, update.count, update.packed, update.per_task)


def change_of(update):
    return np.concatenate(
        [(update.total[name] / 2 - META[name]).ravel() for name in sorted(META)]
    )


def flat(tree):
    return np.concatenate([tree[name].ravel() for name in sorted(tree)])


@pytest.mark.parametrize("name", NAMES)
def test_the_coordinator_makes_the_bytes_that_one_process_has(name):
    compression = Compression(name=name, seed=5)
    update = compression.compress(META, SHARD, update_of(noise(0.01)))
    restored = compression.restore(META, as_sent(update))
    assert params.digest(restored.total) == params.digest(update.total)
    again = compression.compress(META, SHARD, update_of(noise(0.01)))
    assert params.digest(again.packed) == params.digest(update.packed)
    assert params.schema(update.packed) == compression.schema(params.schema(META))


@pytest.mark.parametrize("name", ["bf16", "int8", "topk"])
def test_what_is_lost_averages_out_over_shards(name):
    """The mean over 400 positions is the displacement, within four standard errors."""
    change = noise(0.01)
    found = []
    for index in range(400):
        shard = Shard(0, index, Kind.TRAIN, SHARD.tasks)
        update = Compression(name=name, topk=0.2).compress(
            META, shard, update_of(change)
        )
        found.append(change_of(update))
    found = np.array(found, dtype=np.float64)
    error = np.abs(found.mean(axis=0) - flat(change))
    # Rounding of theta plus change itself, and draws as rare as their number.
    bound = 5 * found.std(axis=0) / 20 + 1e-6
    assert (error <= bound).mean() > 0.995


def test_powersgd_loses_something_else_at_each_position():
    """So the mean over 100 of them is nearer than one, though it falls short."""
    change = flat(noise(0.01))
    found = []
    for index in range(100):
        shard = Shard(0, index, Kind.TRAIN, SHARD.tasks)
        update = Compression(name="powersgd").compress(
            META, shard, update_of(noise(0.01))
        )
        found.append(change_of(update) - change)
    one, mean = np.linalg.norm(found[0]), np.linalg.norm(np.mean(found, axis=0))
    assert 0.5 < one / np.linalg.norm(change) < 0.9
    assert mean < 0.9 * one


def test_int8_is_off_by_less_than_one_step():
    change = noise(0.01)
    update = Compression(name="int8").compress(META, SHARD, update_of(change))
    step = np.repeat(update.packed["packed/step"], 256)[: flat(change).size]
    assert (np.abs(change_of(update) - flat(change)) <= 1.001 * step + 1e-6).all()
    assert np.abs(update.packed["packed/int8"]).max() == 127


def test_topk_keeps_as_many_numbers_as_it_should():
    update = Compression(name="topk", topk=0.1).compress(
        META, SHARD, update_of(noise(0.01))
    )
    assert update.packed["packed/value"].size == 61
    assert np.unpackbits(update.packed["packed/kept"]).sum() == 61


@pytest.mark.parametrize(
    ("name", "share"),
    [("bf16", 0.5), ("int8", 0.27), ("topk", 0.09), ("powersgd", 4 * 650 / 100_000)],
)
def test_the_bytes_are_those_that_the_documentation_names(name, share):
    """With a scale for each 256 numbers, 1/64 more for int8."""
    theta = {"w": np.zeros((250, 400), np.float32)}
    packed = Compression(name=name).schema(params.schema(theta))
    size = sum(
        np.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in packed.values()
    )
    assert size / 400_000 == pytest.approx(share, abs=0.017)


def test_a_gradient_is_compressed_as_it_is():
    compression = Compression(name="bf16", displacement=Displacement.AS_IT_IS)
    update = update_of(noise(1.0))
    made = compression.compress(META, SHARD, update)
    for leaf, before in zip(made.total.values(), update.total.values(), strict=True):
        np.testing.assert_allclose(leaf, before, rtol=2**-7)


def test_carried_state_is_sent_as_it_is():
    meta = META | {"inner_state/v": np.full(5, 1e-12, np.float32)}
    update = update_of(noise(0.1) | {"inner_state/v": np.zeros(5, np.float32)}, meta)
    compression = Compression(name="int8")
    made = compression.compress(meta, SHARD, update)
    sent = made.packed["inner_state/v"]
    assert sent.tobytes() == update.total["inner_state/v"].tobytes()
    assert params.digest(compression.restore(meta, as_sent(made)).total) == (
        params.digest(made.total)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_do_not_become_some(name, bad):
    """What is refused without compression is refused with it."""
    change = noise(0.01)
    change["layer.weight"][3, 4] = bad
    compression = Compression(name=name)
    made = compression.compress(META, SHARD, update_of(change))
    restored = compression.restore(META, as_sent(made))
    reason = reject_reason(SHARD, params.schema(META), ResultSchema(), restored)
    assert "NaN, infinite" in reason


HOSTILE = {
    "no leaves": {},
    "another name": {"packed/bf16": np.zeros(607, np.uint16)},
    "too short": {
        "packed/int8": np.zeros(606, np.int8),
        "packed/step": np.zeros(3, np.float32),
    },
    "another dtype": {
        "packed/int8": np.zeros(607, np.uint8),
        "packed/step": np.zeros(3, np.float32),
    },
    "one leaf more": {
        "packed/int8": np.zeros(607, np.int8),
        "packed/step": np.zeros(3, np.float32),
        "w": np.zeros(1, np.float32),
    },
}


@pytest.mark.parametrize("tree", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_not_packed_as_agreed_is_refused(tree):
    with pytest.raises(ParamMismatch, match="its packed sum"):
        Compression(name="int8").restore(META, ShardUpdate(1, 2, tree))


def test_a_long_name_is_cut_in_the_refusal():
    tree = {"x" * 1000: np.zeros(1, np.float32)}
    with pytest.raises(ParamMismatch) as refused:
        Compression(name="int8").restore(META, ShardUpdate(1, 2, tree))
    assert len(str(refused.value)) < 150


@pytest.mark.parametrize("leaf", ["packed/left", "packed/right", "packed/rest"])
def test_powersgd_refuses_factors_of_another_size(leaf):
    compression = Compression(name="powersgd")
    tree = {
        name: np.zeros(shape, dtype)
        for name, (shape, dtype) in compression.schema(params.schema(META)).items()
    }
    compression.restore(META, ShardUpdate(1, 2, tree))
    tree[leaf] = np.zeros(tree[leaf].size + 1, np.float32)
    with pytest.raises(ParamMismatch, match=f"its packed sum: leaf '{leaf}'"):
        compression.restore(META, ShardUpdate(1, 2, tree))


def test_powersgds_factors_that_multiply_to_no_numbers_are_refused():
    compression = Compression(name="powersgd")
    tree = {
        name: np.full(shape, 1e30, dtype)
        for name, (shape, dtype) in compression.schema(params.schema(META)).items()
    }
    losses = {"support_loss": np.ones(2, np.float32)}
    restored = compression.restore(META, ShardUpdate(1, 2, tree, losses))
    reason = reject_reason(SHARD, params.schema(META), ResultSchema(), restored)
    assert "NaN, infinite" in reason


@pytest.mark.parametrize("kept", [0, 60, 62, 608])
def test_topk_refuses_another_count_of_numbers(kept):
    mask = np.zeros(608, np.bool_)
    mask[:kept] = True
    tree = {
        "packed/kept": np.packbits(mask),
        "packed/value": np.zeros(61, np.uint16),
    }
    with pytest.raises(ParamMismatch, match="keeps"):
        Compression(name="topk").restore(META, ShardUpdate(1, 2, tree))


def test_topk_refuses_numbers_beyond_the_last():
    mask = np.zeros(608, np.bool_)
    mask[607 - 60 :] = True
    tree = {
        "packed/kept": np.packbits(mask),
        "packed/value": np.zeros(61, np.uint16),
    }
    with pytest.raises(ParamMismatch, match="beyond 607"):
        Compression(name="topk").restore(META, ShardUpdate(1, 2, tree))


@pytest.mark.parametrize("name", NAMES)
def test_a_worker_that_follows_steps_has_thetas_bytes(name):
    """Ten steps, each smaller than what int8 rounds to at first."""
    outer = OuterStep(lr=0.5, compression=Compression(name=name), state={})
    meta, worker = META, META
    for done in range(10):
        mean = params.add(meta, noise(0.02, seed=done))
        moved = outer.step(meta, mean, done)
        worker = outer.compression.follow(worker, moved.step)
        meta = moved.meta
        assert params.digest(worker) == params.digest(meta)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_step_loses_is_made_up_for_by_the_next(name):
    """Fifty equal steps end where they would unrounded, but for the last loss."""
    outer = OuterStep(lr=1.0, compression=Compression(name=name), state={})
    pull, meta = noise(0.01), META
    for done in range(50):
        meta = outer.step(meta, params.add(meta, pull), done).meta
    lost = flat({name: outer.state[f"residual/{name}"] for name in META})
    wanted = flat(META) + 50 * flat(pull)
    np.testing.assert_allclose(flat(meta) - lost, wanted, atol=1e-4)
    most = {"bf16": 1e-3, "int8": 1e-3, "topk": 0.4, "powersgd": 0.2}
    assert np.abs(flat(meta) - wanted).max() < most[name]


def test_a_step_that_is_none_is_refused():
    with pytest.raises(ParamMismatch, match="the step of theta"):
        Compression(name="bf16").follow(META, META)


def test_a_run_without_compression_has_none():
    assert Compression.from_config(RunConfig()) is None
    config = RunConfig.from_dict({"cluster": {"compression": "topk", "topk": 0.3}})
    compression = Compression.from_config(config)
    assert (compression.name, compression.topk) == ("topk", 0.3)
    keys = {"compression": "powersgd", "powersgd_rank": 2}
    assert Compression.from_config(RunConfig.from_dict({"cluster": keys})).rank == 2
