"""What Hugging Face calls the weights of a BERT-type encoder, and what we do."""

from __future__ import annotations

import re

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


def our_name(theirs: str) -> str:
    """The path in our encoder of what a Hugging Face file calls so."""
    for pattern, replacement in _RENAMED:
        theirs = re.sub(pattern, replacement, theirs)
    return theirs


def is_used(name: str) -> bool:
    """Whether the encoder has such a weight; `name` is ours."""
    return not _UNUSED.match(name)
