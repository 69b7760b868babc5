"""Pairs of texts are read, or the wrong line is named."""

from __future__ import annotations

import gzip

import pytest

from mlpeft.datasets.text_files import read_pairs
from mlpeft.errors import DataError

JSON_LINES = """\
{"text": "where, is it", "label": "delivery", "id": 1}

{"text": "grüße", "label": 7}
"""
KEYS = ("text", "label")
EXPECTED = [("where, is it", "delivery"), ("grüße", "7")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", JSON_LINES),
        ("a.csv", 'id,text,label\n1,"where, is it",delivery\n2,grüße,7\n'),
        ("bom.csv", '\ufefftext,label\r\n"where, is it",delivery\r\ngrüße,7\r\n'),
    ],
)
def test_both_formats_are_read(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read_pairs(tmp_path / name, KEYS) == EXPECTED


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
def test_compressed_files_are_read(tmp_path, name):
    table = 'text,label\n"where, is it",delivery\ngrüße,7\n'
    text = JSON_LINES if "jsonl" in name else table
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    assert read_pairs(tmp_path / name, KEYS) == EXPECTED


def test_a_damaged_compressed_file_is_an_error(tmp_path):
    packed = gzip.compress(JSON_LINES.encode())
    for content in (b"no gzip", packed[:-9]):
        (tmp_path / "a.jsonl.gz").write_bytes(content)
        with pytest.raises(DataError, match="damaged and cannot be read"):
            read_pairs(tmp_path / "a.jsonl.gz", KEYS)


def test_other_keys_are_reported_with_what_to_do(tmp_path):
    (tmp_path / "a.csv").write_text("sentence,intent\nx,y\n")
    with pytest.raises(DataError, match=r"it has sentence, intent; name them"):
        read_pairs(tmp_path / "a.csv", KEYS, "; name them")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"text": "x", "label": "y"}\n{"text": "x"}\n', "line 2"),
        ("a.jsonl", "not json\n", "line 1"),
        ("a.jsonl", '["x", "y"]\n', "line 1"),
        ("a.jsonl", '{"text": " ", "label": "y"}\n', "line 1"),
        ("a.csv", "text,label\nx,\n", "line 2"),
        ("a.csv", "sentence,intent\nx,y\n", "line 2"),
        ("a.csv", "", "has no examples"),
        ("a.txt", "x", r"not a \.jsonl or \.csv file"),
    ],
)
def test_a_line_that_is_no_example_is_an_error(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / name, KEYS)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no examples at"):
        read_pairs(tmp_path / "a.csv", KEYS)


def test_a_binary_file_is_an_error(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a text file"):
        read_pairs(tmp_path / "a.csv", KEYS)


def test_the_keys_can_be_set(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "x", "completion": "y"}')
    keys = ("prompt", "completion")
    assert read_pairs(tmp_path / "a.jsonl", keys) == [("x", "y")]
    with pytest.raises(DataError, match="columns text and label"):
        read_pairs(tmp_path / "a.jsonl", KEYS)
