"""Notices about kernels that are being compiled."""

import logging

import pytest

from mlpeft.platform import compile_cache as module
from mlpeft.platform.compile_cache import compile_notice


class Naps:
    """A fake event: each wait returns at once, after an action."""

    def __init__(self, *deeds):
        self.deeds = iter(deeds)
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)
        deed = next(self.deeds, None)
        if deed is None:
            return True
        deed()
        return False


@pytest.fixture
def build(tmp_path):
    """Begins a kernel of this name."""

    def build(name):
        folder = tmp_path / "mlx" / "0.32.4" / "cpu"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.cpp").touch()

    return build


def notices(caplog, folder, naps):
    with caplog.at_level(logging.INFO, "mlpeft.compute"):
        module._watch(folder, naps)
    return [record.getMessage() for record in caplog.records]


def test_kernels_that_were_there_before_do_not_count(caplog, tmp_path, build):
    """Two new ones, silence while the third waits for its turn, then that."""
    build("old")
    naps = Naps(lambda: (build("a"), build("b")), lambda: None, lambda: build("c"))
    assert notices(caplog, tmp_path, naps) == [
        "compiling kernels for this model, once per machine: 2 so far",
        "compiling kernels for this model, once per machine: 3 so far",
    ]
    assert naps.waits == [
        module.AFTER_S,
        module.AGAIN_S,
        module.AGAIN_S,
        module.AGAIN_S,
    ]


def test_a_slow_shard_without_kernels_to_build_is_no_news(caplog, tmp_path):
    assert notices(caplog, tmp_path, Naps(lambda: None, lambda: None)) == []


def test_the_watch_ends_with_the_body_also_after_an_error(monkeypatch, tmp_path):
    ended = []
    monkeypatch.setattr(module, "private_compile_cache", lambda: tmp_path)
    monkeypatch.setattr(
        module, "_watch", lambda _, done: ended.append(done.wait(timeout=60))
    )
    with pytest.raises(KeyError), compile_notice():
        raise KeyError
    assert ended == [True]


def test_where_kernels_are_not_built_by_a_compiler_nobody_watches(monkeypatch):
    monkeypatch.setattr(module, "private_compile_cache", lambda: None)
    monkeypatch.setattr(module, "_watch", lambda *_: pytest.fail("watched"))
    with compile_notice():
        pass


def test_only_the_first_shard_of_a_kind_is_watched(monkeypatch):
    from contextlib import contextmanager

    from mlpeft.config import RunConfig
    from mlpeft.training.plan import train_shards
    from mlpeft.training.runner import ShardRunner

    watched = []

    @contextmanager
    def notice():
        watched.append(1)
        yield

    monkeypatch.setattr("mlpeft.training.runner.compile_notice", notice)
    runner = ShardRunner.from_config(
        RunConfig.from_dict(
            {"compute": {"strategy": "loop"}, "model": {"hidden_dim": 4}}
        )
    )
    (shard, *_) = train_shards(runner.config, runner.tasks, 0)
    for _ in range(2):
        runner.run(runner.initial_meta(), shard)
    assert watched == [1]
