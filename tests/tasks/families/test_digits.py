"""Digits: real images without a download, test digits never seen in training."""

from __future__ import annotations

import numpy as np
import pytest

from mlpeft.datasets.digits import SHA256
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families import get_family

pytest.importorskip("sklearn")


def task(num_classes=5, task_id="a", support_size=5, query_size=25, **params):
    return TaskConfig(
        task_id, "digits", num_classes, 64, support_size, query_size, params
    )


def characters(config):
    return {name.split("@")[0] for name in get_family("digits").class_names(config)}


def test_an_episode_has_images_from_zero_to_one():
    family = get_family("digits")
    family.check(task())
    episode = family.sample(task(), np.random.default_rng(0))
    assert episode.support_x.shape == (5, 8, 8, 1)
    assert episode.support_x.dtype == np.float32
    assert episode.query_x.min() == 0.0
    assert episode.query_x.max() == 1.0
    assert family.input_shape(task()) == (8, 8, 1)


def test_test_digits_are_never_seen_in_training():
    train = {c for n in range(99) for c in characters(task(3, str(n), split="train"))}
    val = {c for n in range(99) for c in characters(task(3, str(n), split="val"))}
    test = {c for n in range(99) for c in characters(task(3, str(n), split="test"))}
    assert train == val == set("01347")
    assert test == set("25689")


def test_validation_drawings_are_not_among_the_training_drawings():
    def shown(split):
        config = task(2, split=split, classes=["3", "7"], support_size=80, query_size=0)
        family, images = get_family("digits"), set()
        for seed in range(20):
            x = family.sample(config, np.random.default_rng(seed)).support_x
            images |= {one.tobytes() for one in x}
        return images

    train, val = shown("train"), shown("val")
    assert len(train) > 2 * len(val) > 100
    assert not train & val


def test_no_two_classes_of_an_episode_are_the_same_digit():
    for number in range(50):
        assert len(characters(task(5, str(number)))) == 5
        assert len(characters(task(5, str(number), split="test", rotations=True))) == 5


def test_no_class_is_another_one_upside_down():
    """6 turned by 180 degrees is a 9; 0, 1, 2, 5 and 8 stay what they are: those turned
    ones must not be classes, or two labels would name the same thing."""
    family = get_family("digits")
    every_train = family.class_names(task(16))
    every_test = family.class_names(task(10, split="test", rotations=True))
    turned_over = {"0", "1", "2", "5", "6", "8", "9"}
    for name in (*every_train, *every_test):
        digit, _, degrees = name.partition("@")
        assert digit not in turned_over or degrees in ("", "90")


def test_the_digest_names_the_images():
    assert get_family("digits").digests(task()) == {"digits": SHA256}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_digits_are_rotated_in_training_and_validation_only(split):
    names = {
        name
        for number in range(99)
        for name in get_family("digits").class_names(task(3, str(number), split=split))
    }
    turned = {name.partition("@")[2] for name in names} - {""}
    assert turned == (set() if split == "test" else {"90", "180", "270"})
