"""Omniglot's official archives become our file; other files are checked and copied."""

from __future__ import annotations

import hashlib
import io
import zipfile

import numpy as np
import pytest

from mlpeft.datasets.catalogue import CATALOGUE, DataFile, DataSet
from mlpeft.datasets.download import Remote
from mlpeft.datasets.fetch import fetch, import_files
from mlpeft.datasets.omniglot import read_omniglot
from mlpeft.datasets.verify import State, verify
from mlpeft.errors import DataError
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families.omniglot import Omniglot

OMNIGLOT = CATALOGUE["omniglot"]


@pytest.fixture(autouse=True)
def _no_other_data(monkeypatch, tmp_path):
    monkeypatch.delenv("MLPEFT_DATA_DIR", raising=False)
    monkeypatch.setattr("mlpeft.datasets.folders._CHECKOUT", tmp_path / "checkout")


@pytest.fixture
def zips(tmp_path, archives):
    paths = []
    for name, content in archives.items():
        paths.append(tmp_path / f"{name}.zip")
        paths[-1].write_bytes(content)
    return paths


def test_the_archives_become_the_file_in_its_order(tmp_path, zips):
    """By split, alphabet, character and drawing, whatever the order in the archives."""
    made = import_files(OMNIGLOT, zips[::-1], tmp_path / "data")
    assert made == [tmp_path / "data" / "omniglot.npz"]
    with np.load(made[0]) as arrays:
        names = list(arrays["class_names"])
        assert names == [
            *(f"Alphabet_{n}/character0{c}" for n in "abcdef" for c in (1, 2)),
            *("Eta/character01", "Eta/character02"),
            *("Zeta/character01", "Zeta/character02", "Zeta/character03"),
        ]
        assert list(arrays["class_split"]) == [0] * 12 + [1] * 5
        assert list(arrays["class_alphabet"]) == sorted(arrays["class_alphabet"])
        assert list(arrays["drawing"][:7]) == [1, 2, 3, 4, 5, 6, 1]
        assert arrays["images"].shape == (17 * 6, 28, 28)
        assert arrays["images"].dtype == np.uint8
        assert list(arrays["class_id"]) == [n // 6 for n in range(17 * 6)]
        np.testing.assert_array_equal(
            arrays["split"], arrays["class_split"][arrays["class_id"]]
        )
        np.testing.assert_array_equal(
            arrays["alphabet_id"], arrays["class_alphabet"][arrays["class_id"]]
        )


def test_ink_is_white_and_where_it_was(tmp_path, zips):
    """Drawing d of character c is ink in rows 4 d to 4 d + 8 and columns 0 to 10 c of
    105; the picture shrinks by 105 / 28."""
    images = read_omniglot(import_files(OMNIGLOT, zips, tmp_path)[0]).images
    for character, drawing in ((1, 3), (2, 6)):
        image = images[character - 1, drawing - 1]
        row, column = (
            round((4 * drawing + 4) * 28 / 105),
            round(10 * character * 14 / 105),
        )
        assert image[row, column] > 240
        assert image[-1, -1] == 0
        ink = image.sum() / 255 * (105 / 28) ** 2
        assert abs(ink - 8 * 10 * character) < 6


def test_episodes_can_be_sampled_from_an_imported_file(tmp_path, zips):
    import_files(OMNIGLOT, zips, tmp_path)
    family = Omniglot(tmp_path)
    for split, classes in (("train", 10), ("val", 2), ("test", 5)):
        config = TaskConfig("a", "omniglot", 2, 784, 4, 4, {"split": split})
        family.check(config)
        assert len(family._source.pool(split, {}).characters) == classes
        assert family.sample(config, np.random.default_rng(0)).support_x.max() > 0.9


def test_an_imported_file_is_usable_with_another_digest(tmp_path, zips):
    import_files(OMNIGLOT, zips, tmp_path)
    report = verify(OMNIGLOT, tmp_path)
    assert report.state is State.USABLE
    assert "17 classes of 6 drawings" in report.detail


def test_importing_reports_progress(tmp_path, zips):
    reports = []
    import_files(OMNIGLOT, zips, tmp_path, lambda *progress: reports.append(progress))
    assert reports[-1] == ("omniglot.npz", 102, 102)


def test_our_own_file_is_imported_as_it_is(tmp_path, zips):
    (made,) = import_files(OMNIGLOT, zips, tmp_path / "one")
    (copied,) = import_files(OMNIGLOT, [made], tmp_path / "two")
    assert copied.read_bytes() == made.read_bytes()


def test_an_npz_of_something_else_is_not_imported(tmp_path):
    np.savez(tmp_path / "weights.npz", weights=np.zeros(3))
    with pytest.raises(DataError, match="cannot be read as Omniglot"):
        import_files(OMNIGLOT, [tmp_path / "weights.npz"], tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_half_of_the_archives_is_not_enough(tmp_path, zips):
    for given, missing in ((zips[:1], "evaluation"), (zips[1:], "background")):
        with pytest.raises(DataError, match=rf"no image of images_{missing}\.zip"):
            import_files(OMNIGLOT, given, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_damaged_archive_is_refused(tmp_path, zips):
    content = zips[0].read_bytes()
    for damaged in (b"", b"no zip", content[: len(content) // 2]):
        zips[0].write_bytes(damaged)
        with pytest.raises(DataError, match="is damaged, or not a zip file"):
            import_files(OMNIGLOT, zips, tmp_path / "data")


def test_a_damaged_picture_is_refused(tmp_path, zips):
    with zipfile.ZipFile(zips[0], "w") as made:
        made.writestr("images_background/A/character01/0001_01.png", b"no picture")
    with pytest.raises(DataError, match=r"0001_01\.png is not a PNG"):
        import_files(OMNIGLOT, zips, tmp_path / "data")


def test_a_picture_of_another_size_is_refused(tmp_path, zips, archive):
    zips[0].write_bytes(archive("images_background", {"A": 1}, drawings=6, side=50))
    with pytest.raises(DataError, match="is 50 x 50, expected 105 x 105"):
        import_files(OMNIGLOT, zips, tmp_path / "data")


def test_an_entry_that_unpacks_to_a_flood_is_not_unpacked(tmp_path, zips):
    with zipfile.ZipFile(zips[0], "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("images_background/A/character01/0001_01.png", bytes(10**7))
    with pytest.raises(DataError, match="has 10000000 bytes; expected a small drawing"):
        import_files(OMNIGLOT, zips, tmp_path / "data")


def test_classes_with_fewer_drawings_are_noticed(tmp_path, zips, archive):
    zips[0].write_bytes(archive("images_background", {"A": 1}, drawings=5))
    with pytest.raises(DataError, match="between 5 and 6 drawings"):
        import_files(OMNIGLOT, zips, tmp_path / "data")


def test_a_path_that_is_no_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at"):
        import_files(OMNIGLOT, [tmp_path / "x.zip"], tmp_path)


@pytest.fixture
def remotes(server, archives):
    made = {}
    for name, content in archives.items():
        server.files[f"{name}.zip"] = content
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        made[name] = Remote(server.url(f"{name}.zip"), digest, "md5")
    return made


def test_fetching_leaves_the_file_and_nothing_else(tmp_path, remotes):
    reports = []
    path = fetch(OMNIGLOT, tmp_path / "data", lambda *p: reports.append(p), remotes)
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["omniglot.npz"]
    assert len(read_omniglot(path).class_names) == 17
    assert {what for what, *_ in reports} == {
        "images_background.zip",
        "images_evaluation.zip",
        "omniglot.npz",
    }


def test_fetching_again_resumes(tmp_path, remotes, server):
    """The first archive is whole, the server refuses the second: it is not fetched
    again."""
    server.faults = [None, ("status", 403)]
    with pytest.raises(DataError, match=r"403 Forbidden.*mlpeft data import omniglot"):
        fetch(OMNIGLOT, tmp_path, None, remotes)
    fetch(OMNIGLOT, tmp_path, None, remotes)
    asked = [path for path, _ in server.requests]
    assert asked.count("images_background.zip") == 1


def test_a_file_of_the_users_own_in_the_folder_stays(tmp_path, remotes, zips):
    own = zips[0].read_bytes()
    fetch(OMNIGLOT, tmp_path, None, remotes)
    assert zips[0].read_bytes() == own


def test_a_data_set_without_an_address_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match="mlpeft data import clinc150"):
        fetch(CATALOGUE["clinc150"], tmp_path)
    with pytest.raises(DataError, match="pip install"):
        fetch(CATALOGUE["digits"], tmp_path)


@pytest.fixture
def texts():
    """A data set of two files, and their contents."""
    contents = {"a/one.txt": b"1", "a/two.txt": b"2"}
    files = tuple(
        DataFile(name, 1, hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    )
    return DataSet("texts", "", "", "", "", files, "write it"), contents


def test_files_with_the_right_digest_are_imported(tmp_path, texts):
    data_set, contents = texts
    for name, content in contents.items():
        (tmp_path / name.partition("/")[2]).write_bytes(content)
    given = [tmp_path / "one.txt", tmp_path / "two.txt"]
    import_files(data_set, given, tmp_path / "data")
    for name, content in contents.items():
        assert (tmp_path / "data" / name).read_bytes() == content
    assert verify(data_set, tmp_path / "data").state is State.WHOLE


def test_one_wrong_file_prevents_the_import_of_all(tmp_path, texts):
    (tmp_path / "one.txt").write_bytes(b"1")
    (tmp_path / "two.txt").write_bytes(b"wrong")
    given = [tmp_path / "one.txt", tmp_path / "two.txt"]
    with pytest.raises(DataError, match="damaged, or another version"):
        import_files(texts[0], given, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_file_that_is_not_of_the_data_set_is_refused(tmp_path, texts):
    (tmp_path / "three.txt").write_bytes(b"3")
    with pytest.raises(DataError, match=r"three\.txt is not a file .*; it has one"):
        import_files(texts[0], [tmp_path / "three.txt"], tmp_path / "data")


def test_verifying_distinguishes_whole_damaged_and_missing(tmp_path, texts):
    data_set, _ = texts
    assert verify(data_set, tmp_path).state is State.MISSING
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.txt").write_bytes(b"1")
    report = verify(data_set, tmp_path)
    assert report.state is State.MISSING
    assert report.paths == (tmp_path / "a/one.txt",)
    assert "write it" in report.detail
    (tmp_path / "a/two.txt").write_bytes(b"?")
    report = verify(data_set, tmp_path)
    assert report.state is State.DAMAGED
    assert "expected " in report.detail
    (tmp_path / "a/two.txt").write_bytes(b"2")
    assert verify(data_set, tmp_path).state is State.WHOLE


def test_a_damaged_omniglot_file_is_distinguished_from_a_converted_one(tmp_path):
    (tmp_path / "omniglot.npz").write_bytes(b"PK damaged")
    assert verify(OMNIGLOT, tmp_path).state is State.DAMAGED


@pytest.mark.data
def test_the_known_files_are_whole(data_dir):
    for data_set in CATALOGUE.values():
        report = verify(data_set, data_dir)
        if report.state is State.MISSING and not report.paths:
            continue
        assert report.state in {State.WHOLE, State.USABLE}, report
        for file, path in zip(data_set.files, report.paths, strict=True):
            if report.state is State.WHOLE:
                assert path.stat().st_size == file.size_bytes


def test_the_archives_order_of_entries_is_no_part_of_the_file(tmp_path, zips):
    """Importing is reproducible: the same pictures give the same bytes."""
    (one,) = import_files(OMNIGLOT, zips, tmp_path / "one")
    with zipfile.ZipFile(zips[0]) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    again = io.BytesIO()
    with zipfile.ZipFile(again, "w") as archive:
        for name in sorted(entries):
            archive.writestr(name, entries[name])
    zips[0].write_bytes(again.getvalue())
    (two,) = import_files(OMNIGLOT, zips, tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()
