"""Colour data sets are read from the files people have, without running anything."""

import csv
import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from mlpeft.datasets.catalogue import CATALOGUE
from mlpeft.datasets.fetch import import_files
from mlpeft.datasets.image_sets import cub
from mlpeft.datasets.image_sets.image_file import (
    ImageClass,
    check_digest,
    read_images,
    write_images,
)
from mlpeft.datasets.image_sets.plain_pickle import read_plain_pickle
from mlpeft.datasets.image_sets.sets import IMAGE_SETS
from mlpeft.datasets.verify import State, verify
from mlpeft.errors import DataError

pytest.importorskip("PIL", reason="install it with: pip install pillow")

SPLITS = ("train", "val", "test")


def picture(value, side, kind="PNG"):
    """One colour all over, so that it survives resizing and JPEG."""
    from PIL import Image

    content = io.BytesIO()
    Image.new("RGB", (side, side), (value, 2 * value, 0)).save(content, kind)
    return content.getvalue()


def images(values, side=84):
    array = np.zeros((len(values), side, side, 3), np.uint8)
    array[..., 0] = np.array(values)[:, None, None]
    return array


def mini_pickles(folder, protocol=2):
    """Two classes of two images in each split, their indices not in order."""
    for number, split in enumerate(SPLITS):
        values = [10 * number + i for i in range(4)]
        cache = {
            "image_data": images(values),
            "class_dict": {f"n{number}b": [3, 0], f"n{number}a": [1, 2]},
        }
        path = folder / f"mini-imagenet-cache-{split}.pkl"
        path.write_bytes(pickle.dumps(cache, protocol))
    return sorted(folder.glob("*.pkl"))


def mini_lists(folder, *, zipped):
    pictures = {}
    for number, split in enumerate(SPLITS):
        rows = [(f"n{number}{i:08}.jpg", f"n{number}") for i in range(2)]
        with (folder / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("filename", "label"), *rows])
        for i, (name, _) in enumerate(rows):
            pictures[name] = picture(40 * number + 10 * i, 100, "JPEG")
    source = folder / ("images.zip" if zipped else "images")
    if zipped:
        with zipfile.ZipFile(source, "w") as archive:
            for name, content in pictures.items():
                archive.writestr(f"images/{name}", content)
    else:
        source.mkdir()
        for name, content in pictures.items():
            (source / name).write_bytes(content)
    return [*sorted(folder.glob("*.csv")), source]


def tiered(folder, *, encoded):
    for number, split in enumerate(SPLITS):
        values = [20 * number + i for i in range(4)]
        labels = {"labels": [1, 0, 1, 0]}
        if encoded:
            content = [np.frombuffer(picture(it, 84), np.uint8) for it in values]
            path = folder / f"{split}_images_png.pkl"
            path.write_bytes(pickle.dumps(content))
            labels = {
                "label_specific": np.array([1, 0, 1, 0]),
                "label_specific_str": [f"a{number}", f"b{number}"],
            }
        else:
            np.savez(folder / f"{split}_images.npz", images=images(values))
        (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels))
    return sorted(folder.iterdir())


def cifar(folder, *, lost=""):
    path = folder / "cifar100.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, split in enumerate(SPLITS):
            archive.writestr(f"cifar100/splits/bertinetto/{split}.txt", f"c{number}\n")
            archive.writestr(f"cifar100/splits/other/{split}.txt", "x\n")
            for i in range(2):
                if f"c{number}" != lost:
                    name = f"cifar100/data/c{number}/{i}.png"
                    archive.writestr(name, picture(10 * number + i, 32))
    return [path]


def birds(folder, monkeypatch):
    path = folder / "CUB_200_2011.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for number in range(4, 0, -1):
            for i in range(2):
                content = picture(20 * number + i, 90, "JPEG")
                name = f"CUB_200_2011/images/{number:03}.Bird/B_{i}.jpg"
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(cub, "MD5", cub.file_digest(path, "md5"))
    return [path]


def imported(name, paths, folder):
    import_files(CATALOGUE[name], paths, folder)
    return read_images(folder / IMAGE_SETS[name].file)


def values(arrays):
    """Name, split and red of each image of every class."""
    return [
        (str(name), SPLITS[split], [int(it[0, 0, 0]) for it in of_class])
        for name, split, of_class in zip(
            arrays.class_names, arrays.class_split, arrays.by_class(), strict=True
        )
    ]


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_mini_imagenet_is_read_from_its_pickles(tmp_path, protocol):
    arrays = imported("mini_imagenet", mini_pickles(tmp_path, protocol), tmp_path)
    assert values(arrays) == [
        ("n0a", "train", [1, 2]),
        ("n0b", "train", [3, 0]),
        ("n1a", "val", [11, 12]),
        ("n1b", "val", [13, 10]),
        ("n2a", "test", [21, 22]),
        ("n2b", "test", [23, 20]),
    ]
    assert arrays.about == "12 images of 84 x 84; classes: train 2, val 2, test 2"


@pytest.mark.parametrize("zipped", [False, True])
def test_mini_imagenet_is_read_from_its_lists_and_photos(tmp_path, zipped):
    arrays = imported("mini_imagenet", mini_lists(tmp_path, zipped=zipped), tmp_path)
    assert [name for name, _, _ in values(arrays)] == ["n0", "n1", "n2"]
    for number, (_, split, reds) in enumerate(values(arrays)):
        assert split == SPLITS[number]
        assert reds == pytest.approx([40 * number, 40 * number + 10], abs=3)


@pytest.mark.parametrize("encoded", [False, True])
def test_tiered_imagenet_is_read_from_either_form(tmp_path, encoded):
    source = tmp_path / "source"
    source.mkdir()
    arrays = imported("tiered_imagenet", tiered(source, encoded=encoded), tmp_path)
    names = ["a0", "b0"] if encoded else ["train 0", "train 1"]
    assert values(arrays)[:2] == [
        (names[0], "train", [1, 3]),
        (names[1], "train", [0, 2]),
    ]
    assert len(arrays.class_names) == 6


def test_cifar_fs_is_read_from_its_zip_in_bertinettos_splits(tmp_path):
    arrays = imported("cifar_fs", cifar(tmp_path), tmp_path)
    assert arrays.images.shape == (6, 32, 32, 3)
    assert values(arrays) == [
        ("c0", "train", [0, 1]),
        ("c1", "val", [10, 11]),
        ("c2", "test", [20, 21]),
    ]


def test_birds_are_read_from_their_archive_in_the_usual_splits(tmp_path, monkeypatch):
    arrays = imported("cub", birds(tmp_path, monkeypatch), tmp_path)
    assert [(name, split) for name, split, _ in values(arrays)] == [
        ("001.Bird", "train"),
        ("003.Bird", "train"),
        ("002.Bird", "val"),
        ("004.Bird", "test"),
    ]
    assert values(arrays)[0][2] == pytest.approx([20, 21], abs=3)


def test_an_archive_of_birds_with_another_digest_is_refused(tmp_path, monkeypatch):
    paths = birds(tmp_path, monkeypatch)
    monkeypatch.setattr(cub, "MD5", "0" * 32)
    with pytest.raises(DataError, match=r"has MD5 .* expected 0000"):
        imported("cub", paths, tmp_path)


def test_images_are_mapped_and_a_compressed_copy_is_read_too(tmp_path):
    arrays = imported("cifar_fs", cifar(tmp_path), tmp_path)
    assert isinstance(arrays.images.base, np.memmap)
    file = tmp_path / "other" / "cifar_fs.npz"
    file.parent.mkdir()
    with np.load(tmp_path / "cifar_fs.npz") as archive:
        np.savez_compressed(file, **archive)
    assert values(read_images(file)) == values(arrays)
    again = tmp_path / "again"
    assert values(imported("cifar_fs", [file], again)) == values(arrays)


def test_verify_finds_a_changed_byte(tmp_path):
    imported("cifar_fs", cifar(tmp_path), tmp_path)
    report = verify(CATALOGUE["cifar_fs"], tmp_path)
    assert report.state is State.USABLE
    assert "6 images of 32 x 32" in report.detail
    file = tmp_path / "cifar_fs.npz"
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    assert verify(CATALOGUE["cifar_fs"], tmp_path).state is State.DAMAGED
    with pytest.raises(DataError, match="import it again"):
        check_digest(read_images(file), file)


def test_a_missing_split_or_class_is_told(tmp_path):
    paths = mini_pickles(tmp_path)
    with pytest.raises(DataError, match="no classes for train"):
        imported(
            "mini_imagenet", [it for it in paths if "train" not in it.name], tmp_path
        )
    with pytest.raises(DataError, match=r"no images of 'c1' \(val\)"):
        imported("cifar_fs", cifar(tmp_path, lost="c1"), tmp_path)
    with pytest.raises(DataError, match="expected train_images_png"):
        imported("tiered_imagenet", paths, tmp_path)
    with pytest.raises(DataError, match="mini-imagenet-cache-train"):
        imported("mini_imagenet", cifar(tmp_path), tmp_path)
    assert not list(tmp_path.glob("*.npz"))


def test_a_class_with_images_of_another_size_is_refused_and_nothing_is_left(tmp_path):
    classes = [
        ImageClass(split, split, 1, lambda: np.zeros((1, 8, 9, 3), np.uint8))
        for split in SPLITS
    ]
    with pytest.raises(DataError, match=r"'train' has images uint8 \(1, 8, 9, 3\)"):
        write_images(tmp_path / "a.npz", classes, 8)
    assert not list(tmp_path.iterdir())


class Evil:
    def __init__(self, call, *words):
        self.made = (call, words)

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize(
    "payload",
    [
        Evil(print, "run"),
        Evil(eval, "1"),
        Evil(np.empty, (10**12,)),
        Evil(np._core.multiarray._reconstruct, np.ndarray, (10**12,), b"b"),
        Evil(np._core.multiarray._reconstruct, np.recarray, (0,), b"b"),
        Evil(np._core.multiarray.scalar, np.dtype("O"), "x"),
    ],
)
def test_a_pickle_that_names_anything_else_is_refused(tmp_path, payload, capsys):
    file = tmp_path / "mini-imagenet-cache-train.pkl"
    file.write_bytes(pickle.dumps({"image_data": payload, "class_dict": {}}))
    with pytest.raises(DataError, match="damaged, or no pickle of NumPy arrays"):
        imported("mini_imagenet", [file], tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"GIF89a", b"\x80\x02]q\x00("])
def test_a_damaged_pickle_is_told(tmp_path, content):
    file = tmp_path / "a.pkl"
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_plain_pickle(file)


def test_a_pickle_of_python_2_is_read(tmp_path):
    """As Python 2 writes {'a': array([7, 8], uint8)}: its strings are bytes."""
    name = b"cnumpy.core.multiarray\n_reconstruct\n"
    array = (
        name + b"(cnumpy\nndarray\n(I0\ntU\x01bt" + b"R(I1\n(I2\ntcnumpy\ndtype\n"
        b"(U\x02u1I0\nI1\ntR(I3\nU\x01|NNNI-1\nI-1\nI0\ntbI00\nU\x02\x07\x08tb"
    )
    file = tmp_path / "a.pkl"
    file.write_bytes(b"\x80\x02}U\x01a" + array + b"s.")
    np.testing.assert_array_equal(read_plain_pickle(file)["a"], [7, 8])


def test_numbers_and_arrays_of_each_kind_are_read(tmp_path):
    content = [np.int64(7), np.float32(0.5), np.arange(6).reshape(2, 3).T, "x", None]
    file = tmp_path / "a.pkl"
    for protocol in (2, 4, 5):
        file.write_bytes(pickle.dumps(content, protocol))
        read = read_plain_pickle(file)
        assert read[:2] == content[:2]
        np.testing.assert_array_equal(read[2], content[2])
        assert read[3:] == ["x", None]


def test_an_archive_whose_entry_claims_to_be_huge_is_refused(tmp_path):
    (path,) = cifar(tmp_path)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"data/c2/1.png"))
    content[at + 24 : at + 28] = struct.pack("<I", 2**31)
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected a photo"):
        imported("cifar_fs", [path], tmp_path)


def test_the_command_imports_and_says_what_to_cite(tmp_path):
    words = [str(path) for path in cifar(tmp_path)]
    command = ["data", "import", "cifar_fs", *words, "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "cifar_fs.npz" in result.stdout
    assert "Bertinetto" in result.stdout
