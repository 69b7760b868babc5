"""Encoders in memory: one model for a base, whose leaves are put in when needed.

Adapters of the same leaves, such as those of one start, share an encoder, so that their
requests are embedded together. Adapters of other leaves share the model of the base.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import mlx.core as mx
import numpy as np

from mlpeft.adapters.adapter import bare_model, max_tokens
from mlpeft.adapters.embedder import Embedder, Head
from mlpeft.meta.functional import set_params
from mlpeft.models.pretrained.source import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import mlx.nn as nn

    from mlpeft.adapters.classifier import Classifier
    from mlpeft.config import RunConfig
    from mlpeft.params import MlxTree, ParamTree
    from mlpeft.serving.compute import ComputeThread

SLICE: Final = 32
"""Texts that learning embeds at a time, so that requests to predict get between."""
_HEAD = "head."


class _Base:
    """A base in memory, wrapped for a method, with some adapter's leaves in it.

    Of the compute thread alone.
    """

    def __init__(self, config: RunConfig) -> None:
        self._model: nn.Module = bare_model(config)
        self._model.eval()
        self._embed = Embedder(self._model, config)
        self.last_dims = self._embed.last_dims
        self.layers_dims = self._embed.layers_dims
        self._leaves: MlxTree | None = None

    def __call__(self, leaves: MlxTree, texts: Sequence[str]) -> np.ndarray:
        if leaves is not self._leaves:
            set_params(self._model, leaves)
            self._leaves = leaves
        return self._embed.features(texts)


class Encoder:
    """A base with the leaves of an adapter. Of the compute thread alone."""

    def __init__(self, base: _Base, leaves: ParamTree) -> None:
        self._base = base
        self.last_dims = base.last_dims
        self.layers_dims = base.layers_dims
        self._leaves = {name: mx.array(leaf) for name, leaf in leaves.items()}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dims) float32: all that a head may see of each text."""
        return self._base(self._leaves, texts)


class QueuedEmbedder(Embedder):
    """Embeds in the compute thread, a slice at a time; for any other thread.

    Args:
        encoder: Embeds.
        head: Of the adapter.
        compute: The thread.
    """

    def __init__(self, encoder: Encoder, head: Head, compute: ComputeThread) -> None:
        # Not the constructor of Embedder: the model is the encoder's.
        self.encoder = encoder
        self.last_dims = encoder.last_dims
        self.layers_dims = encoder.layers_dims
        self.head = head
        self._compute = compute

    def features(
        self, texts: Sequence[str], progress: Callable[[int], None] = lambda _: None
    ) -> np.ndarray:
        """(n, dims) float32: all that a head may see, in the order of the texts."""
        found = []
        for start in range(0, max(len(texts), 1), SLICE):
            part = list(texts[start : start + SLICE])
            vectors = self._compute.embed(self.encoder, part, bounded=False)
            found.append(vectors.result())
            progress(start + len(part))
        return np.concatenate(found)


class EncoderPool:
    """Gives adapters encoders, those in memory where they fit.

    Args:
        compute: The thread in which they live.
    """

    def __init__(self, compute: ComputeThread) -> None:
        self._compute = compute
        self._bases: WeakValueDictionary[str, _Base] = WeakValueDictionary()
        self._encoders: WeakValueDictionary[str, Encoder] = WeakValueDictionary()

    def attach(self, adapter: Classifier) -> None:
        """Let an adapter embed by an encoder of the pool.

        Raises:
            DataError: If its base cannot be read.
        """
        encoder = self._compute.call(lambda: self._find(adapter)).result()
        head = Head(np.zeros((0, 0)), np.zeros(0), 1.0)
        if f"{_HEAD}weight" in adapter.leaves:
            head = Head.of_leaves(adapter.leaves, adapter.config.model)
        adapter.use_embedder(QueuedEmbedder(encoder, head, self._compute))

    def _find(self, adapter: Classifier) -> Encoder:
        config = adapter.config
        leaves = {
            name: leaf
            for name, leaf in sorted(adapter.leaves.items())
            if not name.startswith(_HEAD)
        }
        base_key = _base_key(config)
        digest = hashlib.sha256(base_key.encode())
        for name, leaf in leaves.items():
            digest.update(name.encode() + np.ascontiguousarray(leaf).tobytes())
        encoder = self._encoders.get(digest.hexdigest())
        if encoder is None:
            base = self._bases.get(base_key)
            if base is None:
                base = self._bases[base_key] = _Base(config)
            encoder = self._encoders[digest.hexdigest()] = Encoder(base, leaves)
        return encoder


def _base_key(config: RunConfig) -> str:
    """What decides a wrapped base, apart from the values of its leaves."""
    weights = str(config.model.weights)
    model = config.model.model_dump(mode="json")
    for key in ("weights", "head", "logit_scale"):  # of the head, or by digest
        model.pop(key, None)
    parts: list[Any] = [
        weights_digest(weights),
        model,
        config.peft.model_dump(mode="json"),
        str(config.task_distribution.task_params.get("tokenizer", weights)),
        max_tokens(config),
    ]
    return json.dumps(parts, sort_keys=True)
