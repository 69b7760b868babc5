"""N-way K-shot episodes from a pool of classes, with a pool made up for the test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpeft.errors import ConfigError
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families.class_pool import Character, ClassPoolFamily, Pool

CHARACTERS, DRAWINGS, SIDE = 7, 12, 3


class Numbered:
    """Every drawing tells what it is: pixels (0, 0) its character, (0, 1) its number.

    The corner (0, 0) wanders as the drawing is turned.
    """

    params: tuple[str, ...] = ()

    def __init__(self, *, rotated=False, drawings=DRAWINGS):
        characters = []
        for number in range(CHARACTERS):
            images = np.zeros((drawings, SIDE, SIDE), np.uint8)
            images[:, 0, 0] = 100 + number
            images[:, 1, 1] = np.arange(drawings)
            characters.append(Character(f"c{number}", images, rotations=(0, 1, 2, 3)))
        self._pool = Pool(tuple(characters), rotated=rotated)

    def pool(self, split, task_params):
        return self._pool

    def digests(self, task_params):
        return {}

    def check(self, problems):
        pass


def numbered(**kwargs):
    return ClassPoolFamily("numbered", Numbered(**kwargs))


def task(num_classes=3, support_size=6, query_size=6, task_id="a", **params):
    return TaskConfig(
        task_id, "numbered", num_classes, SIDE**2, support_size, query_size, params
    )


def classes_and_numbers(x):
    """The class (character, quarter turns) and the drawing's number of each image."""
    pixels = np.rint(x[..., 0] * 255).astype(int)
    corners = np.stack(
        [pixels[:, 0, 0], pixels[:, -1, 0], pixels[:, -1, -1], pixels[:, 0, -1]], 1
    )
    turns = corners.argmax(1)
    names = [
        f"c{corner - 100}" + (f"@{90 * turn}" if turn else "")
        for corner, turn in zip(corners.max(1), turns, strict=True)
    ]
    return names, pixels[:, 1, 1]


@given(
    num_classes=st.integers(2, 20),
    supports=st.integers(1, 40),
    queries=st.integers(0, 40),
    task_id=st.text(min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=100, deadline=None)
def test_an_episode_has_different_examples_of_the_tasks_classes(
    num_classes, supports, queries, task_id, seed
):
    """Scaled to [0, 1], balanced, labels as the task orders its classes, and no example
    twice."""
    family = numbered(rotated=True, drawings=50)
    config = task(num_classes, supports, queries, task_id)
    family.check(config)
    episode = family.sample(config, np.random.default_rng(seed))
    names = family.class_names(config)
    assert len(set(names)) == num_classes
    seen = set()
    for x, y, size in (
        (episode.support_x, episode.support_y, supports),
        (episode.query_x, episode.query_y, queries),
    ):
        assert x.shape == (size, SIDE, SIDE, 1)
        assert x.dtype == np.float32
        assert y.dtype == np.int32
        assert not size or 0.0 <= x.min() <= x.max() <= 1.0
        counts = np.bincount(y, minlength=num_classes)
        assert len(counts) == num_classes
        assert counts.max() - counts.min() <= 1
        shown, numbers = classes_and_numbers(x)
        assert shown == [names[label] for label in y]
        seen |= set(zip(shown, numbers, strict=True))
    assert len(seen) == supports + queries


def test_a_task_keeps_its_classes_and_labels_in_every_episode():
    family, config = numbered(), task()
    first = family.sample(config, np.random.default_rng(1))
    second = family.sample(config, np.random.default_rng(2))
    assert not np.array_equal(first.support_x, second.support_x)
    for label in range(3):
        chosen = [
            {name for name, y in zip(names, e.support_y, strict=True) if y == label}
            for e in (first, second)
            for names in [classes_and_numbers(e.support_x)[0]]
        ]
        assert chosen[0] == chosen[1]
        assert len(chosen[0]) == 1


def test_task_ids_choose_among_all_classes_and_orders():
    family = numbered()
    chosen = {
        tuple(family.class_names(task(2, task_id=str(number)))) for number in range(999)
    }
    assert len(chosen) == CHARACTERS * (CHARACTERS - 1)


def test_rotated_characters_are_classes_only_if_configured():
    plain = numbered()
    turned = numbered(rotated=True)
    names = {
        name for n in range(99) for name in plain.class_names(task(task_id=str(n)))
    }
    assert names == {f"c{number}" for number in range(CHARACTERS)}
    more = {
        name for n in range(999) for name in turned.class_names(task(task_id=str(n)))
    }
    assert len(more) == 4 * CHARACTERS
    assert plain.class_names(task(rotations=True)) == turned.class_names(task())
    assert turned.class_names(task(rotations=False)) == plain.class_names(task())


def test_no_character_repeats_while_others_are_unused():
    family = numbered(rotated=True)
    for number in range(50):
        names = family.class_names(task(CHARACTERS, task_id=str(number)))
        assert len({name.split("@")[0] for name in names}) == CHARACTERS
    names = family.class_names(task(4 * CHARACTERS))
    assert len(set(names)) == 4 * CHARACTERS


def test_drawings_are_rotated_as_by_numpy():
    family = numbered()
    for turn, name in enumerate(("c1", "c1@90", "c1@180", "c1@270")):
        config = task(2, 1, 0, classes=[name, "c2"])
        for seed in range(8):
            x, y, *_ = family.sample(config, np.random.default_rng(seed))
            if y[0] == 0:
                break
        upright = np.rot90(x[0, :, :, 0], -turn)
        assert upright[0, 0] == np.float32(101 / 255)


def test_classes_can_be_named_in_the_order_of_their_labels():
    family, names = numbered(), ["c6@270", "c0", "c3@90"]
    config = task(classes=names)
    family.check(config)
    assert family.class_names(config) == names
    x, y, *_ = family.sample(config, np.random.default_rng(0))
    assert classes_and_numbers(x)[0] == [names[label] for label in y]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (task(8), r"asked for 8, but there are 7 classes; lower it or set"),
        (
            task(29, rotations=True),
            r"asked for 29, but there are 28 classes; lower it$",
        ),
        (task(3, 30, 9), r"need 10 \+ 3 examples of a class, but 'c\d' has 12"),
        (task(3, classes=["c1", "c2"]), r"expected a list of num_classes = 3"),
        (task(2, classes=["c1", "c1"]), r"expected a list of num_classes = 2"),
        (task(2, classes="c1"), r"expected a list of num_classes = 2"),
        (task(2, classes=["c1", "c7"]), r"no class 'c7' in this split; did you mean"),
        (task(split="validation"), r"split: 'validation' is not valid"),
        (task(rotations=1), r"rotations: expected true or false, got 1"),
        (task(rotation=True), r"did you mean 'rotations'"),
        (task(1), r"num_classes: expected at least 2"),
    ],
)
def test_an_invalid_task_is_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        numbered().check(config)


def test_an_input_dim_that_is_not_the_images_is_refused():
    config = TaskConfig("a", "numbered", 2, 8, 2, 2)
    with pytest.raises(ConfigError, match="images of 3 x 3 x 1 = 9 numbers, got 8"):
        numbered().check(config)


def test_exactly_as_many_examples_as_there_are_will_do():
    family, config = numbered(), task(3, 18, 18)
    family.check(config)
    episode = family.sample(config, np.random.default_rng(0))
    assert len(episode.query_x) == 18
