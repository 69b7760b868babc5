"""Pairs of texts are read, or the wrong line is named."""

from __future__ import annotations

import gzip

import pytest

from mlpeft.datasets.text_files import read_labelled, read_pairs
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
        ("a.json", "[" + ",".join(JSON_LINES.split("\n\n")) + "]"),
        ("a.csv", "text;label\nwhere, is it;delivery\ngrüße;7\n"),
        ("a.csv", "text\tlabel\nwhere, is it\tdelivery\ngrüße\t7\n"),
        ("a.tsv", "text \tlabel\nwhere, is it\tdelivery \ngrüße\t 7\n"),
        ("bom.jsonl", "\ufeff" + JSON_LINES),
        ("bom.csv", '\ufefftext,label\r\n"where, is it",delivery\r\ngrüße,7\r\n'),
    ],
)
def test_every_format_is_read(tmp_path, name, text):
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
        ("a.json", "[]", "has no examples"),
        ("a.json", '{"text": "x"}', r"expected a JSON array .* name it \.jsonl if"),
        ("a.json", '[{"text": "x"}]', "example 1: not an example"),
        ("a.jsonl", '{"text": "x", "label": ["y"]}', r"line 1: label is \['y'\], exp"),
        ("a.jsonl", '{"text": "x", "label": {}}', "expected a string or a whole num"),
        ("a.jsonl", '{"text": "x", "label": 1.5}', "label is 1.5, expected a string"),
        ("a.jsonl", '{"text": "x", "label": true}', "label is True, expected a str"),
        ("a.jsonl", '{"text": "x", "label": NaN}', "line 1: not JSON .NaN is no JSON"),
        ("a.jsonl", '{"text": "x", "label": "  "}', "line 1: not an example"),
        ("a.jsonl", '{"text": "\\ud83d", "label": "y"}', "line 1: .*half a character"),
        ("a.jsonl", "[" * 100_000, "line 1: not JSON"),
        (
            "a.csv",
            "text,label\nx,y\nwell, no,y\n",
            "line 3: 3 cells, but the header has 2; quote the comma in a text",
        ),
        ("a.csv", "text;label\nx;y;z\n", "line 2: 3 cells.* quote the semicolon"),
        ("a.txt", "x", r"not a \.jsonl, \.json, \.csv, \.tsv file"),
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


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_named_with_its_line(tmp_path, encoding):
    file = tmp_path / "a.csv"
    file.write_bytes("text,label\nx,y\ngrüße,z\n".encode(encoding))
    line = 1 if encoding == "utf-16" else 3
    with pytest.raises(DataError, match=f"line {line}: not a text file in UTF-8; save"):
        read_pairs(file, KEYS)


def test_a_completion_keeps_its_white_space(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"prompt": "x", "completion": " y\\n"}')
    keys = ("prompt", "completion")
    assert read_pairs(file, keys, labels=False) == [("x", " y\n")]


def test_a_row_may_have_the_other_keys(tmp_path):
    file = tmp_path / "a.csv"
    for header in ("message,queue", "text,label"):
        file.write_text(f"{header}\nx,y\n")
        keys = ("message", "queue")
        assert read_pairs(file, keys, or_keys=KEYS) == [("x", "y")]


def test_the_keys_can_be_set(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "x", "completion": "y"}')
    keys = ("prompt", "completion")
    assert read_pairs(tmp_path / "a.jsonl", keys) == [("x", "y")]
    with pytest.raises(DataError, match="columns text and label"):
        read_pairs(tmp_path / "a.jsonl", KEYS)


def test_a_packed_line_of_gigabytes_is_refused_before_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr("mlpeft.datasets.rows.MOST_CHARACTERS", 1000)
    path = tmp_path / "texts.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a", "label": "b"}\n' + b"a" * 100_000))
    with pytest.raises(DataError, match="line 2: longer than 1000 characters"):
        read_labelled(path)
