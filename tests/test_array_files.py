"""Array files of strangers: what they claim is compared with what they are."""

import io
import resource
import zipfile

import numpy as np
import pytest

from mlpeft.array_files import most_unpacked, read_npy, read_npz

HUGE = b"{'descr': '<f4', 'fortran_order': False, 'shape': (400000000,), }"


def header(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def archive(path, content, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr("w.npy", content)
    return path


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_arrays_come_back(tmp_path):
    np.savez(tmp_path / "a.npz", w=np.arange(3), names=np.array(["a", "bc"]), s=2.5)
    read = read_npz(tmp_path / "a.npz")
    assert read["w"].tolist() == [0, 1, 2]
    assert read["names"].tolist() == ["a", "bc"]
    assert read["s"] == 2.5
    assert list(read_npz(tmp_path / "a.npz", ["w"])) == ["w"]
    np.save(tmp_path / "a.npy", np.zeros((2, 3), order="F"))
    assert read_npy(tmp_path / "a.npy").shape == (2, 3)


def test_a_header_that_claims_more_than_the_file_has_costs_no_memory(tmp_path):
    (tmp_path / "a.npy").write_bytes(header(HUGE) + bytes(64))
    before = peak_mb()
    with pytest.raises(ValueError, match="claims 1600000000 bytes"):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="claims 1600000000 bytes"):
        read_npz(archive(tmp_path / "a.npz", header(HUGE) + bytes(64)))
    assert peak_mb() < before + 100


def test_a_packed_array_that_unpacks_to_gigabytes_is_refused_unread(tmp_path):
    path = archive(tmp_path / "a.npz", bytes(64 << 20))
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="claims to hold 67108864 bytes"):
        read_npz(path)


def test_files_that_become_twenty_times_as_large_are_read():
    assert most_unpacked(2 << 20) > 20 * (2 << 20)
    assert most_unpacked(10) == 16 << 20


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
        header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"),
        header(b"{'descr': "),
        b"\x93NUMPY\x09\x00",
    ],
)
def test_whatever_else_is_a_value_error(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011 - any sentence of NumPy's
        read_npy(tmp_path / "a.npy")
    with pytest.raises(ValueError):  # noqa: PT011
        read_npz(archive(tmp_path / "a.npz", content))
    with pytest.raises(ValueError):  # noqa: PT011
        read_npz(tmp_path / "a.npy")


def test_a_missing_array_is_named(tmp_path):
    held = io.BytesIO()
    np.savez(held, w=np.ones(2))
    (tmp_path / "a.npz").write_bytes(held.getvalue())
    with pytest.raises(ValueError, match="no array 'v'"):
        read_npz(tmp_path / "a.npz", ["v"])
