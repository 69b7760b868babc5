"""A task's random numbers, and balanced labels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlpeft.tasks.sampling import TaskRandom, balanced_labels


def test_a_task_id_gives_the_same_numbers_for_good():
    """The words of SHA-256("task_0\\0" and the number of a block), worked out apart.

    They are part of what a task_id means: were they to change, saved runs would go on
    with other tasks.
    """
    chance = TaskRandom("task_0")
    assert [chance.uniform() for _ in range(5)] == [
        0.6732875136737714,
        0.8291327874376636,
        0.26715568727936845,
        0.8795258855920332,
        0.49928007462333746,
    ]


def test_different_task_ids_give_different_numbers():
    firsts = {TaskRandom(f"task_{number}").uniform() for number in range(1000)}
    assert len(firsts) == 1000


def test_numbers_are_spread_evenly():
    chance = TaskRandom("even")
    numbers = np.array([chance.uniform(-2.0, 2.0) for _ in range(4000)])
    counts, _ = np.histogram(numbers, 8, (-2.0, 2.0))
    assert counts.sum() == 4000
    assert counts.min() > 400


@given(st.text(max_size=20), st.integers(1, 40), st.data())
def test_a_sample_has_different_items(task_id, size, data):
    count = data.draw(st.integers(0, size))
    sample = TaskRandom(task_id).sample(range(size), count)
    assert len(sample) == len(set(sample)) == count
    assert set(sample) <= set(range(size))


def test_every_item_is_sampled_equally_often():
    counts = np.zeros(6)
    for number in range(3000):
        counts[TaskRandom(str(number)).sample(range(6), 2)] += 1
    assert counts.min() > 900  # 1000 expected, standard deviation 26


@given(st.integers(0, 60), st.integers(1, 12), st.integers(0, 2**32))
def test_every_prefix_of_the_labels_is_balanced(count, num_classes, seed):
    labels = balanced_labels(np.random.default_rng(seed), count, num_classes)
    assert labels.dtype == np.int32
    for end in range(count + 1):
        counts = np.bincount(labels[:end], minlength=num_classes)
        assert counts.max() - counts.min() <= 1


def test_no_class_always_gets_the_extra_example():
    first = [balanced_labels(np.random.default_rng(s), 3, 2)[0] for s in range(100)]
    assert 20 < sum(first) < 80
