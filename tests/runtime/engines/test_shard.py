"""What a worker of an engine sends back."""

import pickle

import numpy as np

from mlpeft.cluster.sim import toy_shards, toy_update
from mlpeft.meta.compression import Compression
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.engines.shard import RunSpec, compute_shard, versions_with_blas

META = {"w": np.ones(10_000, np.float32)}


class PackingRunner:
    """Computes toy shards, and packs what they return."""

    def __init__(self, compression):
        self.compression = compression

    def run(self, meta, shard, progress=lambda _: None):
        progress(len(shard.tasks))
        return self.compression.compress(meta, shard, toy_update(meta["w"], shard))


def test_an_update_that_was_packed_travels_without_what_it_was_packed_from():
    compression = Compression(name="int8")
    runner, shard = PackingRunner(compression), toy_shards(0)[1]
    spec = RunSpec(
        "", versions_with_blas(), "v", prepare=lambda _: Prepared(runner, "toy", "v")
    )
    reply = compute_shard(spec, META, shard, "ada")
    whole = runner.run(META, shard)
    assert reply.update.packed == {}
    assert reply.update.total.keys() == whole.packed.keys()
    assert len(pickle.dumps(reply)) < 12_000
    restored = compression.restore(META, reply.update)
    assert restored.total["w"].tobytes() == whole.total["w"].tobytes()
