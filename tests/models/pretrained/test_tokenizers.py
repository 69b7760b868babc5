"""Tokenizers of language models, from a folder or a GGUF file."""

from __future__ import annotations

import json

import pytest

from mlpeft.errors import DataError
from mlpeft.models.pretrained.tokenizers import read_language_tokenizer, tokenizer_file
from tests.models.pretrained import tiny_lm

pytest.importorskip("tokenizers", reason="install it with: pip install tokenizers")


@pytest.fixture(params=["folder", "gguf"])
def where(request, tmp_path) -> str:
    if request.param == "gguf":
        return str(tiny_lm.write_gguf(tmp_path / "tiny.gguf"))
    return str(tiny_lm.write(tmp_path))


def test_text_becomes_numbers_and_text_again(where):
    tokenizer = read_language_tokenizer(where)
    numbers = tokenizer.encode_prompt("abc, why?")
    assert [tiny_lm.TOKENS[number] for number in numbers] == [
        *("ab", "c", ",", "Ġ", "w", "h", "y", "?")
    ]
    assert tokenizer.decode(numbers) == "abc, why?"


def test_the_end_is_one_token_that_text_does_not_show(where):
    tokenizer = read_language_tokenizer(where)
    assert tokenizer.end == 0
    assert tokenizer.encode_continuation("b<end>") == [2, 0]
    assert tokenizer.decode([2, 0]) == "b"


def test_the_file_of_the_tokenizer_is_found(where, tmp_path):
    assert tokenizer_file(where).parent == tmp_path


def test_gguf_numbers_are_split_into_digits(tmp_path):
    file = tiny_lm.write_gguf(
        tmp_path / "t.gguf",
        **{
            "tokenizer.ggml.tokens": ["<end>", "1", "2", "12"],
            "tokenizer.ggml.token_type": tiny_lm.mx.array([3, 1, 1, 1]),
            "tokenizer.ggml.merges": ["1 2"],
        },
    )
    assert read_language_tokenizer(str(file)).encode_continuation("12") == [1, 2]


def test_a_model_may_begin_each_text_with_a_token(tmp_path):
    flag = {"tokenizer.ggml.add_bos_token": tiny_lm.mx.array(1, tiny_lm.mx.uint8)}
    start = {"tokenizer.ggml.bos_token_id": tiny_lm.mx.array(0)}
    file = tiny_lm.write_gguf(tmp_path / "t.gguf", **flag, **start)
    tokenizer = read_language_tokenizer(str(file))
    assert tokenizer.encode_prompt("b") == [0, 2]
    assert tokenizer.encode_continuation("b") == [2]


def test_a_gguf_tokenizer_of_another_kind_is_refused(tmp_path):
    other = {"tokenizer.ggml.model": "llama"}
    file = tiny_lm.write_gguf(tmp_path / "t.gguf", **other)
    with pytest.raises(DataError, match="kind 'llama'"):
        read_language_tokenizer(str(file))


def test_generation_config_takes_precedence_for_the_end_token(tmp_path):
    tiny_lm.write(tmp_path)
    settings = {"eos_token_id": [5, 6]}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    assert read_language_tokenizer(str(tmp_path)).end == 5


def test_tokenizer_config_names_the_token_that_ends_a_text(tmp_path):
    tiny_lm.write(tmp_path, eos_token_id=None)
    settings = {"eos_token": {"content": "<end>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert read_language_tokenizer(str(tmp_path)).end == 0


def test_a_model_that_does_not_say_how_a_text_ends_is_an_error(tmp_path):
    tiny_lm.write(tmp_path, eos_token_id=None)
    with pytest.raises(DataError, match="says which token ends a text"):
        read_language_tokenizer(str(tmp_path))
