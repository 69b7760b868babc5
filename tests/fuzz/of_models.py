"""Other people's models: settings, tokenizers, GGUF."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx

from mlpeft.exchange.huggingface import read_settings
from mlpeft.files import parse_json_object
from mlpeft.models.pretrained.encoder_weights import read_encoder
from mlpeft.models.pretrained.gguf import Gguf, gguf_tokenizer, read_gguf
from mlpeft.models.pretrained.pooling import read_pooling
from mlpeft.models.pretrained.tokenizers import read_tokenizer_file
from tests.fuzz.target import file_of, folder, target


@target(b'{"peft_type": "LORA", "r": 8, "lora_alpha": 16}')
def _adapter_settings(data: bytes) -> None:
    read_settings(file_of("adapter_config.json", data).parent)


@target(
    b'{"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1, "hidden_act": "gelu",'
    b'"num_attention_heads": 2, "intermediate_size": 8, "model_type": "bert"}',
    found=(
        b'"{"',
        (
            b'{"vocab_size": 9, "hidden_size": 77777777777777777777777777777777777777,'
            b'"num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8,'
            b'"model_type": "bert"}'
        ),
        (
            b'{"vocab_size": 9, "hidden_size": 0, "num_hidden_layers": 1,'
            b'"num_attention_heads": 2, "intermediate_size": 8, "model_type": "bert"}'
        ),
        (
            b'{"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1,'
            b'"num_attention_heads": 0, "intermediate_size": 8, "model_type": "bert"}'
        ),
        (
            b'{"vocab_size": "9", "hidden_size": 4, "num_hidden_layers": 1,'
            b'"num_attention_heads": 2, "intermediate_size": 8, "model_type": "bert"}'
        ),
    ),
)
def _encoder_settings(data: bytes) -> None:
    read_encoder(str(file_of("encoder/config.json", data).parent))


@target(
    b'[{"type": "a.Transformer", "path": ""}, {"type": "Pooling", "path": "1"}]',
    found=(b'[{"tpey": "Pooling", "path": "0"}]', b"5", b'[{"type": 3, "path": "0"}]'),
)
def _pooling_modules(data: bytes) -> None:
    read_pooling(file_of("modules.json", data).parent)


_TOKENIZER = json.dumps(
    {
        "version": "1.0",
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
        "added_tokens": [],
    }
).encode()


@target(_TOKENIZER)
def _tokenizer(data: bytes) -> None:
    folder = file_of("tokenizer.json", data).parent
    (folder / "generation_config.json").write_text('{"eos_token_id": 0}')
    read_tokenizer_file.__wrapped__(folder / "tokenizer.json")


@target(
    b'{"eos_token_id": 0}',
    b'{"eos_token_id": [1], "eos_token": {"content": 1}}',
    found=(b"5", b'{"eos_token_id": "x"}', b'{"eos_token_id": {}}'),
)
def _generation_settings(data: bytes) -> None:
    folder = file_of("tokenizer.json", _TOKENIZER).parent
    (folder / "generation_config.json").write_bytes(data)
    read_tokenizer_file.__wrapped__(folder / "tokenizer.json")


_GGUF = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["a", "b", "ab", "<end>"],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.token_type": [1, 1, 1, 3],
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.bos_token_id": 3,
}


@target(
    json.dumps(_GGUF).encode(),
    found=(json.dumps(_GGUF | {"tokenizer.ggml.tokens": ["a", "b"]}).encode(),),
)
def _gguf_tokenizer(data: bytes) -> None:
    """The tokenizer in a GGUF file's metadata, here as JSON."""
    try:
        metadata = parse_json_object(data)
    except ValueError:
        return
    gguf_tokenizer(Gguf(Path("model.gguf"), {}, metadata))


def _gguf_bytes() -> bytes:
    file = folder() / "sample.gguf"
    values = {"general.name": "x", "tokens": ["a", "b"], "number": mx.array(3)}
    mx.save_gguf(str(file), {"w": mx.zeros((2, 32))}, values)
    return file.read_bytes()


@target(_gguf_bytes())
def _gguf(data: bytes) -> None:
    """MLX reads it in C, and believes every length that our check lets pass."""
    read_gguf(file_of("model.gguf", data))
