"""The user's own classes in a folder: images, arrays, splits, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, DataError
from mlpeft.tasks.build import build_tasks
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families.folder import Folder, read_folder


def write_image(path, value, size=(28, 28), mode="L", speck=None):
    """Write an image of one value, but for its first pixel if there is a speck."""
    image = pytest.importorskip("PIL.Image").new(mode, size, value)
    if speck is not None:
        image.putpixel((0, 0), speck)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def photos(tmp_path):
    """20 classes of 6 drawings: class c is c / 20 of white but for a first speck."""
    for number in range(20):
        for drawing in range(6):
            place = tmp_path / "photos" / f"class{number:02}" / f"{drawing}.png"
            write_image(place, int(255 * number / 20), speck=40 * drawing)
    return tmp_path / "photos"


def specked(count, value):
    """Arrays (count, 5, 6) of one value but for their first pixels, which differ."""
    arrays = np.full((count, 5, 6), value)
    arrays[:, 0, 0] = np.arange(count) / 10
    return arrays


def task(path, split="train", num_classes=3, **params):
    return TaskConfig(
        "a",
        "folder",
        num_classes,
        params.pop("input_dim", 784),
        6,
        6,
        {"path": str(path), "split": split, **params},
    )


def names(path, split, num_classes):
    family = Folder()
    chosen = task(path, split, num_classes)
    family.check(chosen)
    return set(family.class_names(chosen))


def test_each_folder_is_a_class(photos):
    family = Folder()
    config = task(photos)
    family.check(config)
    shown = family.class_names(config)
    episode = family.sample(config, np.random.default_rng(0))
    assert episode.support_x.shape == (6, 28, 28, 1)
    assert episode.support_x.dtype == np.float32
    for x, y in zip(episode.query_x, episode.query_y, strict=True):
        value = int(255 * int(shown[y].removeprefix("class")) / 20) / 255
        np.testing.assert_allclose(x[1:], value, atol=1e-6)


def test_classes_are_always_assigned_to_the_same_splits(photos):
    train, val, test = (
        names(photos, *s) for s in (("train", 12), ("val", 4), ("test", 4))
    )
    assert len(train | val | test) == 20
    # Worked out once: other classes in a split would make old results wrong.
    assert val == {"class00", "class05", "class12", "class19"}
    assert test == {"class06", "class08", "class14", "class18"}


def test_folders_train_val_and_test_are_the_splits(tmp_path):
    for split, classes in (("train", "abc"), ("val", "de"), ("test", "fg")):
        for name in classes:
            write_image(tmp_path / split / name / "1.png", 255)
            write_image(tmp_path / split / name / "2.png", 0)
    family = Folder()
    for split, classes in (("train", "abc"), ("val", "de"), ("test", "fg")):
        pool = family._source.pool(split, {"path": str(tmp_path)})
        assert "".join(one.name for one in pool.characters) == classes


def test_images_of_any_size_and_colour_become_grey_squares(tmp_path):
    write_image(tmp_path / "train" / "a" / "1.png", (255, 255, 255), (50, 20), "RGB")
    write_image(tmp_path / "train" / "a" / "2.jpg", 254, (10, 10))
    write_image(tmp_path / "train" / "b" / "1.bmp", 0)
    write_image(tmp_path / "train" / "b" / "2.gif", 0, speck=200)
    (tmp_path / "train" / "b" / "notes.txt").write_text("no image")
    (tmp_path / "train" / "b" / ".hidden.png").write_text("no image")
    (tmp_path / ".git").mkdir()
    family = Folder()
    config = TaskConfig(
        "a", "folder", 2, 64, 2, 2, {"path": str(tmp_path), "size": 8, "split": "train"}
    )
    family.check(config)
    x, y, *_ = family.sample(config, np.random.default_rng(0))
    assert family.input_shape(config) == (8, 8, 1)
    white = family.class_names(config).index("a")
    np.testing.assert_allclose(x.mean((1, 2, 3)), y == white, atol=0.02)


def test_arrays_are_classes_too(tmp_path):
    """A file of many images, or a folder of files of one or many, and floats stay."""
    (tmp_path / "train" / "b").mkdir(parents=True)
    np.save(tmp_path / "train" / "a.npy", specked(4, 0.25))
    np.save(tmp_path / "train" / "b" / "one.npy", np.full((5, 6), 0.5))
    np.save(tmp_path / "train" / "b" / "many.npy", specked(3, 0.75))
    family = Folder()
    config = TaskConfig("a", "folder", 2, 30, 4, 4, {"path": str(tmp_path)})
    family.check(config)
    x, y, *_ = family.sample(config, np.random.default_rng(0))
    assert x.shape == (4, 5, 6, 1)
    a = family.class_names(config).index("a")
    assert set(x[y == a][:, 1:].ravel()) == {0.25}
    assert set(x[y != a][:, 1:].ravel()) <= {0.5, 0.75}


def test_rotated_images_are_classes_if_configured(photos):
    family = Folder()
    config = task(photos, num_classes=30, rotations=True)
    family.check(config)
    assert sum("@" in name for name in family.class_names(config)) >= 18


def test_a_run_takes_its_splits_from_the_folder(photos):
    section = {
        "task_families": ["folder"],
        "num_classes": 3,
        "k_shot": 1,
        "query_size": 9,
        "task_params": {"path": str(photos), "size": 14},
    }
    tasks = build_tasks(RunConfig.from_dict({"task_distribution": section}))
    assert tasks.input_shape == (14, 14, 1)
    assert list(tasks.digests()) == ["photos"]


def test_the_digest_depends_on_every_pixel(tmp_path):
    digests = set()
    for copy, value in enumerate((0, 0, 1)):
        folder = tmp_path / str(copy) / "photos"
        for name in "abc":
            pixels = np.zeros((2, 4, 4), np.uint8)
            pixels[1, 3, 3] = value
            (folder / "train").mkdir(parents=True, exist_ok=True)
            np.save(folder / "train" / f"{name}.npy", pixels)
        digests.add(tuple(Folder().digests(task(folder)).items()))
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5, np.uint8), r"has shape \(5,\), expected \(height, width\)"),
        (np.zeros((0, 4, 4), np.uint8), r"has shape \(0, 4, 4\)"),
        (np.full((4, 4), 2.0), "floats in"),
        (np.full((4, 4), np.nan), "floats in"),
        (np.zeros((4, 4), np.int64), "expected uint8"),
        (np.array([{}], object), "cannot be read as an image"),
    ],
)
def test_an_array_that_is_no_image_is_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        Folder().check(task(tmp_path))


def test_a_file_that_is_no_image_is_refused(photos):
    broken = photos / "class00" / "0.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(DataError, match=r"class00/0\.png cannot be read as an image"):
        Folder().check(task(photos))


def test_images_of_several_sizes_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "1.npy", np.zeros((4, 4), np.uint8))
    np.save(tmp_path / "a" / "2.npy", np.zeros((5, 4), np.uint8))
    with pytest.raises(DataError, match="several kinds"):
        Folder().check(task(tmp_path))
    (tmp_path / "a" / "2.npy").unlink()
    np.save(tmp_path / "b.npy", np.zeros((2, 5, 5), np.uint8))
    with pytest.raises(DataError, match="several kinds"):
        Folder().check(task(tmp_path))


def test_a_missing_or_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no folder at"):
        Folder().check(task(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="has no classes; expected a folder of images"):
        Folder().check(task(tmp_path))


def test_a_split_without_classes_says_what_to_do(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(DataError, match="has no classes for val"):
        Folder().check(task(tmp_path, "val"))


def test_a_path_is_needed_and_a_size_is_a_number_of_pixels():
    with pytest.raises(ConfigError) as caught:
        Folder().check(TaskConfig("a", "folder", 2, 4, 2, 2, {"size": 0}))
    assert len(caught.value.problems) == 2


def write_classes(folder, names="abc"):
    """Classes of two drawings each, none of one value all over."""
    for name in names:
        for number in range(2):
            write_image(folder / name / f"{number}.png", 100, speck=number)


def about(folder):
    return read_folder({"path": str(folder)}).about


def test_copies_of_an_image_in_its_class_are_left_out(tmp_path):
    write_classes(tmp_path)
    write_image(tmp_path / "a" / "again.bmp", 100, speck=1)
    write_image(tmp_path / "b" / "own.png", 100, speck=7)
    assert "7 images; classes: " in about(tmp_path)
    assert "copies of images left out: 1" in about(tmp_path)


def test_images_of_one_value_are_named(tmp_path, caplog):
    write_classes(tmp_path)
    write_image(tmp_path / "b" / "blank.png", 200)
    told = "images of one grey value all over: 1, such as b/blank.png"
    assert told in about(tmp_path)
    assert told in caplog.text


def test_what_is_not_read_is_counted(tmp_path, caplog):
    write_classes(tmp_path)
    (tmp_path / "a" / "1.HEIC").touch()
    (tmp_path / "b" / "2.heic").touch()
    (tmp_path / "labels.csv").touch()
    write_image(tmp_path / "a" / "more" / "1.png", 3)
    told = "not read: 1 .csv beside the classes, 2 .heic, 1 folders inside classes"
    assert told in about(tmp_path)
    assert told in caplog.text


def test_a_folder_of_nothing_but_unread_images_says_so(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.heic").touch()
    with pytest.raises(DataError, match=r"has no classes \(not read: 1 \.heic\)"):
        about(tmp_path)


def test_a_class_in_two_splits_is_refused(tmp_path):
    write_classes(tmp_path / "train", "abc")
    write_classes(tmp_path / "test", "cd")
    with pytest.raises(DataError, match="the class 'c' is in train and in test; a cl"):
        about(tmp_path)


@pytest.mark.parametrize(
    ("written", "meant"), [("valid", "val"), ("Train", "train"), ("testing", "test")]
)
def test_a_split_of_another_name_is_refused(tmp_path, written, meant):
    other = "train" if meant != "train" else "val"
    write_classes(tmp_path / other / "x", "ab")
    write_classes(tmp_path / written / "y", "cd")
    with pytest.raises(DataError, match=f"'{written}'; did you mean '{meant}'"):
        about(tmp_path)


def test_splits_beside_other_folders_are_refused(tmp_path):
    for name in ("train", "test", "unsorted"):
        write_classes(tmp_path / name, name[0])
    with pytest.raises(DataError, match=r"other folders \(unsorted\); move"):
        about(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    write_classes(tmp_path, ("boat", "car", "train"))
    assert "6 images; classes: " in about(tmp_path)


def test_what_the_macs_archiver_adds_is_no_class_and_no_split(tmp_path):
    write_classes(tmp_path / "train", "ab")
    write_classes(tmp_path / "__MACOSX" / "train", "ab")
    assert "4 images; classes: train 2; 2 ('a') to 2" in about(tmp_path)
