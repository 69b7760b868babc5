"""Read a sentence encoder from a Hugging Face folder, and translate its names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from mlpeft.errors import DataError
from mlpeft.files import parse_json_object
from mlpeft.models.pretrained.encoder import EncoderConfig, SentenceEncoder
from mlpeft.models.pretrained.pooling import read_pooling
from mlpeft.models.pretrained.source import model_file

if TYPE_CHECKING:
    from collections.abc import Mapping

WEIGHTS = "model.safetensors"
_RENAMED = (
    (r"^bert\.", ""),
    (r"\bencoder\.layer\.", "layers."),
    (r"\battention\.self\.", "attention."),
    (r"\battention\.output\.dense\b", "attention.output"),
    (r"\battention\.output\.LayerNorm\b", "attention_norm"),
    (r"\bintermediate\.dense\b", "intermediate"),
    (r"(layers\.\d+)\.output\.dense\b", r"\1.output"),
    (r"(layers\.\d+)\.output\.LayerNorm\b", r"\1.output_norm"),
    (r"\bembeddings\.LayerNorm\b", "embeddings.norm"),
    (r"_embeddings\.weight$", ".weight"),
)
_UNUSED = re.compile(r"^(pooler\.|cls\.|embeddings\.position_ids$)")


def read_encoder(source: str) -> SentenceEncoder:
    """Read the encoder of a Hugging Face folder, in float32.

    Args:
        source: The folder, OWNER/NAME on the hub, or `package:NAME/FOLDER` (see
            `mlpeft.models.pretrained.source`).

    Raises:
        DataError: If files or weights are missing, or it is another architecture.
    """
    config_file = model_file(source, "config.json")
    try:
        values = parse_json_object(config_file.read_bytes())
    except ValueError as error:
        raise DataError(f"{config_file} is not valid JSON: {error}") from error
    encoder = SentenceEncoder(
        EncoderConfig.from_dict(values, str(config_file)),
        read_pooling(config_file.parent),
    )
    file = model_file(source, WEIGHTS)
    try:
        stored: Any = mx.load(str(file))
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{file} cannot be read as safetensors: {error}") from error
    weights = {our_name(name): leaf for name, leaf in stored.items()}
    weights = {k: w.astype(mx.float32) for k, w in weights.items() if is_used(k)}
    _check_weights(encoder, weights, str(file))
    encoder.update(tree_unflatten(list(weights.items())))
    mx.eval(encoder.parameters())
    return encoder


def our_name(hf_name: str) -> str:
    """The path in our encoder of a weight in a Hugging Face file."""
    name = hf_name
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def is_used(name: str) -> bool:
    """Whether the encoder has a weight of this name, which is ours."""
    return not _UNUSED.match(name)


def _check_weights(
    encoder: SentenceEncoder, weights: Mapping[str, mx.array], source: str
) -> None:
    """Check that the file has exactly the encoder's leaves, with their shapes."""
    expected = {name: leaf.shape for name, leaf in tree_flatten(encoder.parameters())}
    shapes = {name: leaf.shape for name, leaf in weights.items()}
    wrong = sorted(
        name
        for name in expected.keys() | shapes.keys()
        if expected.get(name) != shapes.get(name)
    )
    if wrong:
        name = wrong[0]
        raise DataError(
            f"{source} does not match its config.json: {len(wrong)} weights differ, "
            f"first {name}, expected {expected.get(name)}, got {shapes.get(name)}"
        )
