"""Build the configured model, with parameters that depend only on the run's seed."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn

from mlpeft.config import ModelSection, checked, entry_points
from mlpeft.errors import ConfigError, nearest
from mlpeft.models.conv4 import Conv4
from mlpeft.models.mlp import LinearClassifier, SimpleClassifier
from mlpeft.models.pretrained.causal_lm import read_causal_lm
from mlpeft.models.pretrained.encoder_weights import read_encoder
from mlpeft.models.pretrained.sentence_classifier import SentenceClassifier
from mlpeft.peft.wrap import wrap
from mlpeft.platform import best_base_dtype
from mlpeft.seeds import Purpose, seed_word

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path

    from mlpeft.config import PeftSection
    from mlpeft.platform import BaseDtype

BACKBONES = (
    "linear",
    "tanh",
    "logistic",
    "conv4",
    "conv4_pool",
    "encoder",
    "causal_lm",
)


def build_model(
    config: ModelSection,
    input_shape: tuple[int, ...],
    num_outputs: int,
    seed: int,
    purpose: Purpose = Purpose.INIT,
    allow_modules: Container[str] | None = None,
    peft: PeftSection | None = None,
) -> nn.Module:
    """The configured model with initial parameters drawn from the seed.

    Args:
        config: The `model` section.
        input_shape: Shape of one input: (input_dim,) or (height, width, channels).
        num_outputs: Classes of an episode, or targets of a regression.
        seed: The run's seed.
        purpose: INIT, or BASELINE for a second, independent initialisation.
        allow_modules: Modules that a backbone `module:callable` may name; None: any.
            A worker gets its configuration from the network and imports nothing that
            its own command line did not allow.
        peft: The `peft` section: which parameters are trainable; None: all.

    Raises:
        ConfigError: If the backbone is unknown or does not accept such inputs, or the
            PEFT method finds nothing to change in it.
        DataError: If pretrained weights are missing or of another architecture.
    """
    with seeded(seed_word(seed, purpose)):
        model = _construct(config, input_shape, num_outputs, allow_modules)
        if peft is not None:
            wrap(model, peft)
        mx.eval(model.parameters())
    return model


def load_encoder(weights: str | Path, num_classes: int, **settings: Any) -> nn.Module:
    """Load a pretrained sentence encoder with a head for episodes.

    Each episode builds its head from the support set. `wrap` selects the parameters of
    the encoder that are meta-learned.

    Args:
        weights: A Hugging Face folder, OWNER/NAME on the hub, or package:NAME/FOLDER in
            an installed package.
        num_classes: The largest number of classes of an episode.
        **settings: Other keys of the `model` section: `head`, `logit_scale`,
            `projected`.

    Returns:
        A module from token ids (n, length) to logits (n, num_classes).

    Raises:
        ConfigError: If a setting is invalid.
        DataError: If the weights are missing or of another architecture.
    """
    return _load("encoder", weights, num_classes, settings)


def load_language_model(weights: str | Path, **settings: Any) -> nn.Module:
    """Load a pretrained causal language model.

    Args:
        weights: As for `load_encoder`, or a GGUF file.
        **settings: Other keys of the `model` section: `base_dtype`.

    Returns:
        mlx-lm's module, from token ids (n, length) to logits (n, length, vocabulary).

    Raises:
        ConfigError: If a setting is invalid.
        DataError: If mlx-lm or the weights are missing, or mlx-lm does not know the
            architecture.
    """
    return _load("causal_lm", weights, 0, settings)


def _load(
    backbone: str, weights: str | Path, num_outputs: int, settings: Mapping[str, Any]
) -> nn.Module:
    keys = {"backbone": backbone, "weights": str(weights)} | dict(settings)
    model = _build_pretrained(backbone, checked(ModelSection, **keys), num_outputs)
    mx.eval(model.parameters())
    return model


def base_dtype(config: ModelSection) -> BaseDtype:
    """The dtype of the base: as configured, or for `auto` the best on this machine."""
    if config.base_dtype == "auto":
        return best_base_dtype().dtype
    return config.base_dtype


def _construct(
    config: ModelSection,
    input_shape: tuple[int, ...],
    num_outputs: int,
    allow_modules: Container[str] | None,
) -> nn.Module:
    input_dim = math.prod(input_shape)
    match config.backbone:
        case "linear" | "tanh" as name:
            return SimpleClassifier(
                input_dim,
                config.hidden_dim,
                num_outputs,
                config.num_layers,
                "relu" if name == "linear" else "tanh",
            )
        case "logistic":
            return LinearClassifier(input_dim, num_outputs)
        case "conv4" | "conv4_pool" as name:
            if len(input_shape) != 3 or input_shape[0] != input_shape[1]:
                raise ConfigError(
                    f"model.backbone: {name} takes square images (height, width, "
                    f"channels), but the tasks have inputs {input_shape}; use "
                    "an image family or backbone linear"
                )
            return Conv4(
                num_outputs,
                input_shape[0],
                input_shape[2],
                config.hidden_dim,
                pooled=name == "conv4_pool",
            )
        case "encoder" | "causal_lm" as name:
            return _build_pretrained(name, config, num_outputs)
        case name if ":" in name:
            module = name.partition(":")[0]
            if allow_modules is not None and module not in allow_modules:
                raise ConfigError(
                    f"model.backbone: this process may not import {module!r}; "
                    f"start it with --allow-module {module} if you trust it"
                )
            return _call_entry_point(name, input_shape, num_outputs)
        case name:
            raise ConfigError(
                f"model.backbone: unknown backbone {name!r}; "
                f"{nearest(name, BACKBONES)}, or module:callable of your own"
            )


def _build_pretrained(name: str, config: ModelSection, num_outputs: int) -> nn.Module:
    """A pretrained sentence encoder with a head, or a language model unchanged."""
    if config.weights is None:
        raise ConfigError(
            f"model.weights: backbone {name} needs a pretrained model: a Hugging Face "
            "folder, or OWNER/NAME on the hub, such as "
            + (
                "sentence-transformers/all-MiniLM-L6-v2"
                if name == "encoder"
                else "HuggingFaceTB/SmolLM2-135M-Instruct"
            )
        )
    if name == "causal_lm":
        return read_causal_lm(config.weights, base_dtype(config))
    encoder = read_encoder(config.weights)
    return SentenceClassifier(
        encoder,
        encoder.config.hidden_size,
        num_outputs,
        config.head,
        config.logit_scale,
        projected=config.projected,
    )


def _call_entry_point(
    name: str, input_shape: tuple[int, ...], num_outputs: int
) -> nn.Module:
    """Call the user's `module:callable` with (input_shape, num_outputs)."""
    make = entry_points.load(name, "model.backbone")
    try:
        model = make(input_shape, num_outputs)
    except Exception as error:  # whatever the user's own code may raise
        raise ConfigError(
            f"model.backbone: {name}({input_shape}, {num_outputs}) failed with "
            f"{type(error).__name__}: {error}; it is called with the shape of one "
            "input and the number of outputs"
        ) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model.backbone: {name} returned a {type(model).__name__}, expected "
            "an mlx.nn.Module"
        )
    _check_outputs(name, model, input_shape, num_outputs)
    return model


def _check_outputs(
    name: str, model: nn.Module, input_shape: tuple[int, ...], num_outputs: int
) -> None:
    """Refuse other output shapes: such a model would silently learn nonsense."""
    parameters = model.parameters()
    inputs = mx.zeros((2, *input_shape))
    try:
        # MLX is lazy: reading the shape computes nothing.
        try:
            shape = tuple(model(inputs).shape)
        except ValueError:  # an embedding accepts integers only
            shape = tuple(model(inputs.astype(mx.int32)).shape)
    except Exception as error:  # whatever the user's own code may raise
        raise ConfigError(
            f"model.backbone: the model of {name} does not accept inputs "
            f"{inputs.shape}: {type(error).__name__}: {error}"
        ) from error
    finally:
        model.update(parameters)
    # A language model has logits for each token of its inputs.
    if shape != (2, num_outputs) and shape[:-1] != inputs.shape:
        raise ConfigError(
            f"model.backbone: the model of {name} gives outputs {shape} for inputs "
            f"{inputs.shape}, expected {(2, num_outputs)}"
        )


@contextmanager
def seeded(word: int) -> Iterator[None]:
    """Seed MLX's global generator for the constructors inside, then restore it.

    MLX's layers draw their initial parameters from that generator. Nothing else in
    mlpeft touches it.
    """
    # A key is the seed's high and low 32 bits, so a seed can restore the state.
    state: Any = mx.random.state
    high, low = (int(part) for part in state[0].tolist())
    mx.random.seed(word)
    try:
        yield
    finally:
        mx.random.seed((high << 32) | low)
