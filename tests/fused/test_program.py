"""A compiled function of many tasks, in one thread or several."""

import mlx.core as mx
import numpy as np

from mlpeft.fused import Program


def test_sums_over_tasks_have_the_same_bytes_in_any_number_of_threads():
    """Tasks of a tenth of a millisecond, so that threads overtake one another."""
    size, tasks = 128, 96
    program = Program(
        lambda x: (mx.tanh(x @ x), mx.max(x)), [mx.zeros((size, size))], lambda: 1
    )
    x = np.random.default_rng(0).normal(size=(tasks, size, size)).astype(np.float32)

    def computed(threads, step):
        call = program.begin([x], (False,), tasks)
        for first in range(0, tasks, step):
            call.run(first, min(first + step, tasks), threads)
        return [output.tobytes() for output in call.outputs]

    alone = computed(1, tasks)
    for threads, step in ((3, tasks), (3, 7), (200, tasks)):
        assert computed(threads, step) == alone
