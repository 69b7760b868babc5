"""Damaged GGUF files are refused before MLX, which would end the process."""

import random
import struct

import mlx.core as mx
import pytest

from mlpeft.errors import DataError
from mlpeft.models.pretrained.gguf import read_gguf
from mlpeft.models.pretrained.gguf_header import check_header
from tests.models.pretrained import tiny_lm


@pytest.fixture
def good(tmp_path):
    return tiny_lm.write_gguf(tmp_path / "good.gguf")


def text(value):
    return struct.pack("<Q", len(value)) + value


def header(tensors=0, values=0, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, values)


def tensor(name=b"w", shape=(4,), kind=0, offset=0):
    dims = struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
    return text(name) + dims + struct.pack("<IQ", kind, offset)


DATA = bytes(64)
DAMAGED = {
    "empty": b"",
    "no GGUF": b"GGML" + bytes(40),
    "version 99": header(version=99) + bytes(8),
    "more values than bytes": header(values=1 << 40) + bytes(8),
    "a key of gigabytes": header(values=1) + struct.pack("<Q", 1 << 40),
    "an array of exabytes": header(values=1)
    + text(b"k")
    + struct.pack("<IIQ", 9, 4, 1 << 62),
    "an array of arrays": header(values=1) + text(b"k") + struct.pack("<IIQ", 9, 9, 1),
    "an unknown type": header(values=1) + text(b"k") + struct.pack("<I", 77),
    "an alignment of 0": header(values=1)
    + text(b"general.alignment")
    + struct.pack("<II", 4, 0),
    "a hundred axes": header(1) + text(b"w") + struct.pack("<I", 100) + DATA,
    "no such ggml type": header(1) + tensor(kind=1000) + DATA,
    "data beyond the end": header(1) + tensor(shape=(1 << 20,)) + DATA,
    "an offset beyond the end": header(1) + tensor(offset=1 << 40) + DATA,
    "a shape that overflows": header(1) + tensor(shape=(1 << 30,) * 4) + DATA,
    "an empty axis": header(1) + tensor(shape=(0,)) + DATA,
    "half a block": header(1) + tensor(shape=(31, 2), kind=8) + DATA,
    "one axis of blocks": header(1) + tensor(shape=(32,), kind=8) + DATA,
    "an offset between": header(1) + tensor(offset=3) + DATA,
    "two of a name": header(2) + tensor() * 2 + DATA,
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file_is_refused_in_a_sentence(what, tmp_path):
    file = tmp_path / "m.gguf"
    file.write_bytes(DAMAGED[what])
    with pytest.raises(DataError, match="cannot be read as GGUF: "):
        read_gguf(file)


def test_whole_files_pass(good, tmp_path):
    check_header(good)
    for kind in (mx.float16, mx.float32, mx.int32):
        file = tmp_path / "a.gguf"
        values = {"a": "b", "list": ["x", "y"], "number": mx.array(3)}
        mx.save_gguf(str(file), {"w": mx.zeros((4, 32), kind)}, values)
        check_header(file)


def test_no_spoiled_byte_of_the_header_ends_the_process(good):
    """Bytes of lengths, counts, types and offsets; whatever passes is read by MLX."""
    whole = good.read_bytes()
    chance = random.Random(0)  # noqa: S311 - no secret
    refused = 0
    for _ in range(300):
        spoiled = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            spoiled[chance.randrange(min(len(whole), 3000))] = chance.randrange(256)
        if chance.random() < 0.2:
            spoiled = spoiled[: chance.randrange(len(spoiled))]
        good.write_bytes(spoiled)
        try:
            read_gguf(good)
        except DataError:
            refused += 1
    assert refused > 100
