"""What the measurement of LoRA on a cluster counts."""

from benchmarks.lora_cluster import Measured
from mlpeft.work import Kind, Shard


class Moving:
    """An executor whose rounds move a thousand bytes each."""

    def __init__(self):
        self.moved = 0

    def run(self, version, meta, shards):
        del version, meta, shards
        self.moved += 1000
        return []

    def close(self):
        pass


def test_the_bytes_of_training_rounds_count_and_those_of_validation_do_not():
    inner = Moving()
    measured = Measured(inner, lambda: inner.moved)
    for kind in (Kind.VALIDATE, Kind.TRAIN, Kind.VALIDATE, Kind.TRAIN):
        measured.run(0, {}, [Shard(0, 0, kind, ())])
    assert measured.bytes == [1000, 1000]
    assert len(measured.seconds) == 2
