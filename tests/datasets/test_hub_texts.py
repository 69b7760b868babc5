"""Data sets on the Hugging Face hub become a file of JSON lines.

Folders take the hub's place here: the package reads both in the same way.
"""

from __future__ import annotations

import json
import logging
import sys

import pytest

from mlpeft.datasets.hub_texts import HubTexts, hub_texts_file
from mlpeft.errors import DataError

datasets = pytest.importorskip(
    "datasets", reason="install it with: pip install 'mlpeft[hub]'"
)


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Neither this user's cache of ours nor that of the package is touched."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setenv("MLPEFT_CACHE_DIR", str(tmp_path / "cache"))
    hub_texts_file.cache_clear()


def write(folder, **splits):
    """A folder of Parquet files, a split each, from columns."""
    names = datasets.ClassLabel(names=["refund", "delivery"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    folder.mkdir()
    for name, columns in splits.items():
        part = datasets.Dataset.from_dict(columns, features=features)
        part.to_parquet(folder / f"{name}.parquet")
    return f"hf:{folder}"


def write_lines(folder, *rows):
    folder.mkdir()
    lines = "\n".join(map(json.dumps, rows))
    (folder / "train.jsonl").write_text(lines)
    return f"hf:{folder}"


def rows(asked):
    lines = hub_texts_file(asked).read_text(encoding="utf-8").splitlines()
    return [tuple(json.loads(line).values()) for line in lines]


def test_all_splits_are_concatenated_and_labels_have_their_names(tmp_path):
    name = write(
        tmp_path / "d",
        test={"text": ["grüße"], "label": [1]},
        train={"text": ["a", "b"], "label": [1, 0]},
    )
    assert rows(HubTexts(name)) == [
        ("a", "delivery"),
        ("b", "refund"),
        ("grüße", "delivery"),
    ]
    assert rows(HubTexts(name, split="test")) == [("grüße", "delivery")]


def test_other_columns_may_hold_text_and_label(tmp_path):
    name = write_lines(
        tmp_path / "d",
        {"utt": "a", "intent": 7, "text": "x"},
        {"utt": "b", "intent": 8},
    )
    assert rows(HubTexts(name, keys=("utt", "intent"))) == [("a", "7"), ("b", "8")]
    with pytest.raises(DataError, match="no column 'label' but utt, intent, text"):
        hub_texts_file(HubTexts(name))


def test_rows_without_text_or_with_a_hidden_label_are_skipped_and_counted(
    tmp_path, caplog
):
    name = write(
        tmp_path / "d", train={"text": ["a", "b", " ", None], "label": [0, -1, 1, 1]}
    )
    with caplog.at_level(logging.INFO, "mlpeft.tasks"):
        assert rows(HubTexts(name)) == [("a", "refund")]
    assert "skipped 3 rows without text or label" in caplog.text


def test_the_same_texts_have_the_same_file(tmp_path):
    first, again, other = (
        hub_texts_file(HubTexts(write_lines(tmp_path / folder, row)))
        for folder, row in (
            ("a", {"text": "x", "label": "y"}),
            ("b", {"label": "y", "text": "x"}),
            ("c", {"text": "x", "label": "z"}),
        )
    )
    assert first == again
    assert first != other
    assert first.parent == tmp_path / "cache" / "datasets"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a", "label": ["x", "y"]}, r"\['x', 'y'\] is neither a string nor"),
        ({"text": "", "label": "x"}, "has no labelled texts"),
        ({"text": "a", "label": None}, "has no labelled texts"),
    ],
)
def test_a_data_set_without_labelled_texts_is_an_error(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        hub_texts_file(HubTexts(write_lines(tmp_path / "d", row)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "dev"}, "split dev cannot be read by datasets .* the folder .*/d "),
        ({"config": "de"}, "configuration de cannot be read .*'de' not found"),
    ],
)
def test_missing_configurations_and_splits_are_errors(tmp_path, changes, message):
    name = write_lines(tmp_path / "d", {"text": "a", "label": "b"})
    with pytest.raises(DataError, match=message):
        hub_texts_file(HubTexts(name, **changes))


def test_an_unreachable_hub_is_an_error_that_says_what_was_tried(monkeypatch):
    asked = []

    def load_dataset(*names, **settings):
        asked.append((names, settings))
        raise ConnectionError("Couldn't reach\nthe hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError) as caught:
        hub_texts_file(HubTexts("hf:lab/texts@v2", "de", "train"))
    assert asked == [
        (("lab/texts",), {"name": "de", "split": "train", "revision": "v2"})
    ]
    for part in (
        "hf:lab/texts@v2, configuration de, split train cannot be read by datasets",
        "from the Hugging Face hub; there is no folder",
        "(ConnectionError: Couldn't reach the hub)",
        "or give a .jsonl file",
    ):
        assert part in str(caught.value)


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'mlpeft\[hub\]'"):
        hub_texts_file(HubTexts("hf:lab/texts"))


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLPEFT_CACHE_DIR", str(tmp_path / "file"))
    name = write_lines(tmp_path / "d", {"text": "a", "label": "b"})
    with pytest.raises(DataError, match="set MLPEFT_CACHE_DIR to another folder"):
        hub_texts_file(HubTexts(name))
