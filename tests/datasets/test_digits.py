"""scikit-learn's digits, read with and without scikit-learn."""

from __future__ import annotations

import contextvars
import sys

import numpy as np
import pytest

from mlpeft.datasets import digits
from mlpeft.datasets.catalogue import CATALOGUE
from mlpeft.datasets.verify import State, verify
from mlpeft.errors import DataError
from mlpeft.files import override_assets
from mlpeft.tasks.assets import Asset, AssetKind


@pytest.fixture(autouse=True)
def _read_anew():
    digits._read.cache_clear()
    yield
    digits._read.cache_clear()


class Elsewhere:
    """An installation of scikit-learn with another layout."""

    def __init__(self, folder):
        self.submodule_search_locations = [str(folder / "sklearn")]


def test_images_are_those_of_scikit_learn():
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    images, labels = digits.read_digits()
    np.testing.assert_array_equal(images, load_digits().images)
    np.testing.assert_array_equal(labels, load_digits().target)


def test_scikit_learn_is_not_imported(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert len(digits.read_digits()[0]) == 1797


def test_an_installation_with_another_layout_is_read_by_scikit_learn(
    monkeypatch, tmp_path
):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(digits, "find_spec", lambda name: Elsewhere(tmp_path))
    assert digits.digits_sha256() == digits.SHA256


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'mlpeft\[digits\]'"):
        digits.read_digits()
    assert verify(CATALOGUE["digits"]).state is State.MISSING


def test_other_images_are_not_the_known_ones(monkeypatch, tmp_path):
    table = tmp_path / digits.TABLE
    table.parent.mkdir(parents=True)
    np.savetxt(table, np.zeros((5, 65), int), fmt="%d", delimiter=",")
    monkeypatch.setattr(digits, "find_spec", lambda name: Elsewhere(tmp_path))
    report = verify(CATALOGUE["digits"])
    assert report.state is State.DAMAGED
    assert "expected " + digits.SHA256 in report.detail


def test_the_known_images_are_whole():
    pytest.importorskip("sklearn")
    assert verify(CATALOGUE["digits"]).state is State.WHOLE


def test_a_worker_reads_the_digits_that_its_coordinator_has(monkeypatch):
    """No scikit-learn here: the table is an override, in this context alone."""
    pytest.importorskip("sklearn")
    table = Asset(digits.TABLE, AssetKind.PACKAGED).locate()
    monkeypatch.setattr(digits, "find_spec", lambda name: None)

    def somewhere_else():
        override_assets({digits.TABLE: table})
        return digits.digits_sha256()

    assert contextvars.copy_context().run(somewhere_else) == digits.SHA256
    with pytest.raises(DataError):
        digits.read_digits()
