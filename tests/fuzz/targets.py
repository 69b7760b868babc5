"""Everything that reads bytes which somebody else wrote, as functions of bytes.

A target takes any bytes and raises nothing but the errors that its reader documents:
`MlpeftError`, and FileNotFoundError where a file names another one. Whatever else comes
out of it is a finding. `tools/fuzz.py` lets atheris look for such bytes;
`test_targets.py` runs the samples of each target, spoiled in some hundred ways, and
what was found before.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import gzip
import hashlib
import io
import json
import pickle
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
from PIL import Image
from safetensors.numpy import save, save_file

from mlpeft.array_files import read_npy
from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.overview import Bytes, Overview, RunProgress
from mlpeft.cluster.protocol import LeaseKey
from mlpeft.cluster.sim.simulation import PATIENT
from mlpeft.config import RunConfig, parse_yaml
from mlpeft.config.reading import override
from mlpeft.datasets.completions import read_completions
from mlpeft.datasets.image_sets.image_file import read_images
from mlpeft.datasets.image_sets.plain_pickle import read_plain_pickle
from mlpeft.datasets.images import read_image
from mlpeft.datasets.omniglot import read_omniglot
from mlpeft.datasets.text_files import read_labelled
from mlpeft.errors import MlpeftError
from mlpeft.exchange.files import read_arrays
from mlpeft.exchange.huggingface import read_settings
from mlpeft.files import parse_json_object
from mlpeft.meta.compression import Compression
from mlpeft.models.pretrained.encoder_weights import read_encoder
from mlpeft.models.pretrained.gguf import Gguf, gguf_tokenizer, read_gguf
from mlpeft.models.pretrained.pooling import read_pooling
from mlpeft.models.pretrained.tokenizers import read_tokenizer_file
from mlpeft.params import read_npz
from mlpeft.reporting.jsonl import read_records
from mlpeft.reporting.log_lines import read_log
from mlpeft.tasks.assets import Asset, AssetKind
from mlpeft.tasks.distribution import TaskDistribution
from mlpeft.tasks.episode import TaskConfig
from mlpeft.training import accepted, checkpoint
from mlpeft.transport.blobs import manifest
from mlpeft.transport.blobs.manifest import OfferedAsset
from mlpeft.transport.rpc import (
    blob_codec,
    codec,
    control_codec,
    enrolment_codec,
    join_codec,
    status_codec,
)
from mlpeft.transport.rpc.blob_codec import BlobRequest
from mlpeft.transport.rpc.control_codec import Action, ControlRequest
from mlpeft.transport.rpc.enrolment_codec import EnrolRequest, EnrolResponse
from mlpeft.transport.rpc.join_codec import JoinRequest, JoinResponse
from mlpeft.transport.security import certificates
from mlpeft.transport.security.registry import Registry
from mlpeft.transport.security.token import JoinToken
from mlpeft.work import Kind, Shard, ShardUpdate, TaskSpec
from tests.transport.rpc.hostile import good_down_frames, good_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LIMIT = 1 << 20
KEY = LeaseKey("session", 1, 0, 1)
EXPECTED = (MlpeftError, FileNotFoundError)
"""What a reader may raise."""


@dataclass(frozen=True, slots=True)
class Target:
    """A reader, and what it reads when all is well.

    Attributes:
        read: Reads bytes; raises one of `EXPECTED` for those that it refuses.
        samples: Bytes that it takes.
        found: Bytes that once were a finding.
    """

    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    found: tuple[bytes, ...] = ()

    def try_to_read(self, data: bytes) -> None:
        """Read, and let nothing pass but what is documented."""
        try:
            self.read(data)
        except EXPECTED:
            return


TARGETS: dict[str, Target] = {}


def _target(
    *samples: bytes, found: tuple[bytes, ...] = ()
) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """Enter a reader under its function's name."""

    def enter(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
        TARGETS[read.__name__.lstrip("_")] = Target(read, samples, found)
        return read

    return enter


@functools.cache
def _folder() -> Path:
    """A private folder of this process, in memory where the system has such."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    made = Path(
        tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None)
    )
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


# --- messages -------------------------------------------------------------------------


def _joined(frames: Iterable[bytes]) -> bytes:
    """Several frames as one input: each after its length, in three bytes."""
    return b"".join(len(frame).to_bytes(3, "little") + frame for frame in frames)


def _split(data: bytes) -> list[bytes]:
    frames = []
    while len(data) > 3:
        size = int.from_bytes(data[:3], "little")
        frames.append(data[3 : 3 + size])
        data = data[3 + size :]
    return frames


@_target(_joined(good_frames(KEY)[:5]))
def _worker_messages(data: bytes) -> None:
    decoder = codec.UpDecoder(lambda: LIMIT)
    for frame in _split(data):
        decoder.feed(frame)


_META = {"a": np.ones(9, np.float32), "inner_state/m": np.ones(2, np.float32)}
_COMPRESSIONS = [Compression(name=name) for name in ("bf16", "int8", "topk")]


def _packed_frames(compression: Compression) -> bytes:
    shard = Shard(0, 0, Kind.TRAIN, (TaskSpec("a", 1),))
    made = compression.compress(_META, shard, ShardUpdate(0, 1, _META))
    sent = ShardUpdate(0, 1, made.packed, {"loss": np.ones(1, np.float32)})
    return _joined(codec.encode_up(p.Update(KEY, 1, sent)))


@_target(*map(_packed_frames, _COMPRESSIONS))
def _packed_updates(data: bytes) -> None:
    decoder = codec.UpDecoder(lambda: LIMIT)
    for frame in _split(data):
        message = decoder.feed(frame)
        if not isinstance(message, p.Update) or message.update is None:
            continue
        for compression in _COMPRESSIONS:
            with contextlib.suppress(MlpeftError):
                compression.restore(_META, message.update)


@_target(_joined(good_down_frames(KEY)[:2]), _joined(good_down_frames(KEY)[4:]))
def _coordinator_messages(data: bytes) -> None:
    decoder = codec.DownDecoder(LIMIT)
    for frame in _split(data):
        message = decoder.feed(frame)
        if isinstance(message, p.Welcome):
            assert 0.001 <= message.heartbeat_s < float("inf")


_CALLS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "join_request": (
        join_codec.decode_join_request,
        join_codec.encode_join_request(JoinRequest(1, "0.1.0", "0.32.4", "ada", "p")),
    ),
    "join_response": (
        join_codec.decode_join_response,
        join_codec.encode_join_response(
            JoinResponse("id", "s", "run: {}", (OfferedAsset("a", "0" * 64, 9),))
        ),
    ),
    "control_request": (
        control_codec.decode_request,
        control_codec.encode_request(ControlRequest(Action.DRAIN, "ada")),
    ),
    "control_response": (
        control_codec.decode_response,
        control_codec.encode_response("done"),
    ),
    "enrol_request": (
        enrolment_codec.decode_request,
        enrolment_codec.encode_request(EnrolRequest("secret", "ada", b"request")),
    ),
    "enrol_response": (
        enrolment_codec.decode_response,
        enrolment_codec.encode_response(EnrolResponse(b"certificate", 50051)),
    ),
    "authority": (
        enrolment_codec.decode_authority,
        enrolment_codec.encode_authority(b"certificate"),
    ),
    "blob_request": (
        blob_codec.decode_request,
        blob_codec.encode_request(BlobRequest("id", "0" * 64, 7)),
    ),
    "blob_piece": (blob_codec.decode_piece, blob_codec.encode_piece(b"bytes")),
    "overview": (
        status_codec.decode_overview,
        status_codec.encode_overview(
            Overview(
                run="tiny",
                session="s",
                progress=RunProgress(5, 20, 2.5, 6.0, "0: accuracy 50 %"),
                stopping=True,
                bytes_moved=Bytes(7, 8),
                cluster=CoordinatorMachine("s", PATIENT).status(0.0),
            )
        ),
    ),
}
for _name, (_decode, _sample) in _CALLS.items():
    TARGETS[_name] = Target(_decode, (_sample,))


# --- trust ----------------------------------------------------------------------------

_TOKEN = str(JoinToken("127.0.0.1:50052", "ab" * 32, "cd" * 16))


@_target(_TOKEN.encode())
def _join_token(data: bytes) -> None:
    JoinToken.parse(data.decode("latin-1"))


@_target(
    b'{"address":"h:1","ca_fingerprint":"f","secret":"s"}', found=(b"[" * 100_000,)
)
def _join_token_body(data: bytes) -> None:
    """The same behind the base64, which a fuzzer would have to learn first."""
    body = base64.urlsafe_b64encode(data).decode().rstrip("=")
    JoinToken.parse(f"mlpeft1.{body}")


@_target(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
def _certificate(data: bytes) -> None:
    certificates.read(data)


@_target(
    b'{"format":1,"tokens":[],"workers":[{"name":"a","serial":"1","certificate":"c",'
    b'"issued":1.0,"expires":2.0}]}'
)
def _registry(data: bytes) -> None:
    Registry(_file("registry.json", data)).read()


@_target(manifest.encode((manifest.Entry("a/b.png", 3, "0" * 64),)))
def _manifest(data: bytes) -> None:
    manifest.decode(data, Asset("pictures", AssetKind.IMAGES))


# --- what a user writes ---------------------------------------------------------------


@_target(
    b"meta_learning: {inner_lr: 1e-3, num_inner_steps: 2}\nrun:\n  name: a\n",
    b"model: {backbone: linear}\ncluster: {min_workers: 2}\npaths: {keep_last: 3}\n",
)
def _configuration(data: bytes) -> None:
    RunConfig.from_dict(parse_yaml(data.decode("utf-8", "replace")))


@_target(b"meta_learning.inner_lr=1e-3", b"task_distribution.task_params.noise=[1,2]")
def _override(data: bytes) -> None:
    override({}, data.decode("utf-8", "replace"))


_LINES = b'{"text": "where is it", "label": "a"}\n{"text": "lost", "label": 3}\n'


@_target(_LINES, found=(b"[" * 100_000,))
def _text_lines(data: bytes) -> None:
    read_labelled(_file("texts.jsonl", data))


@_target(b'text,label\n"where, now",a\nlost,b\n')
def _text_table(data: bytes) -> None:
    read_labelled(_file("texts.csv", data))


@_target(gzip.compress(_LINES, mtime=0))
def _text_lines_packed(data: bytes) -> None:
    read_labelled(_file("texts.jsonl.gz", data))


@_target(
    b'{"task": "anna", "prompt": "The train.", "completion": "LATE"}\n',
    found=(b"[" * 100_000,),
)
def _completions(data: bytes) -> None:
    read_completions(_file("completions.jsonl", data))


# --- files of arrays ------------------------------------------------------------------


def _npz(**arrays: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.savez(held, **arrays)
    return held.getvalue()


def _with_bytes(name: str, **arrays: np.ndarray) -> bytes:
    """An .npz of which one member is no array: NumPy hands it out as bytes."""
    held = io.BytesIO(_npz(**{key: arrays[key] for key in arrays if key != name}))
    with zipfile.ZipFile(held, "a") as archive:
        archive.writestr(f"{name}.npy", b"no array")
    return held.getvalue()


_SMALL_NPZ = _npz(w=np.ones(3, np.float32), b=np.zeros((2, 2), np.float32))
_NEEDS = _SMALL_NPZ.index(b"PK\x01\x02") + 6
"""Where its directory says which version of zip is needed to read it."""
_FROM_THE_FUTURE = _SMALL_NPZ[:_NEEDS] + b"\x6d" + _SMALL_NPZ[_NEEDS + 1 :]


_HALF_A_HEADER = b"\x93NUMPY\x01\x00\x18\x00{'descr': '<f4', 'shape': ("


@_target(
    _SMALL_NPZ, found=(_HALF_A_HEADER, _FROM_THE_FUTURE, _with_bytes("w", w=np.ones(3)))
)
def _npz_checkpoint(data: bytes) -> None:
    read_npz(_file("theta.npz", data))


_OMNIGLOT = {
    "images": np.zeros((4, 2, 2), np.uint8),
    "class_names": np.array(["a", "b"]),
    "class_alphabet": np.zeros(2, np.int64),
    "class_split": np.array([0, 1]),
}


@_target(
    _npz(**_OMNIGLOT),
    found=(_with_bytes("class_alphabet", **_OMNIGLOT),),
)
def _omniglot(data: bytes) -> None:
    read_omniglot(_file("omniglot.npz", data))


_IMAGES = {
    "images": np.zeros((3, 2, 2, 3), np.uint8),
    "class_names": np.array(["a", "b"]),
    "class_sizes": np.array([2, 1], np.int64),
    "class_split": np.array([0, 2], np.uint8),
    "sha256": np.array("0" * 64),
}


@_target(_npz(**_IMAGES), found=(_with_bytes("class_sizes", **_IMAGES),))
def _images_of_classes(data: bytes) -> None:
    arrays = read_images(_file("images.npz", data))
    assert sum(len(images) for images in arrays.by_class()) == len(arrays.images)


_MINI_IMAGENET = {
    "image_data": np.zeros((2, 2, 2, 3), np.uint8),
    "class_dict": {"n01": [0, 1], "n02": np.array([1])},
}


@_target(*(pickle.dumps(_MINI_IMAGENET, protocol) for protocol in (2, 4, 5)))
def _pickle(data: bytes) -> None:
    read_plain_pickle(_file("mini-imagenet-cache-train.pkl", data))


_SAFETENSORS = save({"base_model.lora_A": np.ones((2, 3), np.float32)})


def _npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


@_target(_npy(np.zeros((2, 3), np.uint8)), found=(_HALF_A_HEADER,))
def _npy_images(data: bytes) -> None:
    try:
        read_npy(_file("images.npy", data))
    except (OSError, ValueError):
        return


def _png() -> bytes:
    held = io.BytesIO()
    Image.new("L", (5, 4), 7).save(held, "PNG")
    return held.getvalue()


@_target(_png())
def _image(data: bytes) -> None:
    read_image(_file("image.png", data), 8)


@_target(
    pickle.dumps(TaskDistribution([TaskConfig("a", "sinusoid")])),
    found=(b"\x80\x04\x8d" + (1 << 30).to_bytes(8, "little"),),
)
def _task_pickle(data: bytes) -> None:
    TaskDistribution.load(_file("tasks.pkl", data))


@_target(_SAFETENSORS, found=(_SAFETENSORS.replace(b"lora_A", b"lora_\xff"),))
def _safetensors(data: bytes) -> None:
    read_arrays(_file("adapters.safetensors", data))


@functools.cache
def _digests() -> dict[str, str]:
    """Of the two arrays' files of a step, which are good."""
    step = _folder() / "step"
    step.mkdir(exist_ok=True)
    files = [step / name for name in ("theta.safetensors", "outer.safetensors")]
    for file in files:
        save_file({"w": np.ones(3, np.float32)}, file)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@_target(
    json.dumps(
        {
            "format": 1,
            "files": {"theta.safetensors": "0", "outer.safetensors": "1"},
            "iteration": 3,
            "best": {},
        }
    ).encode(),
    found=(
        b'{"format": 1}',
        b'{"format": 1, "files": []}',
        (
            b'{"format": 1, "iteration": [3], '
            b'"files": {"theta.safetensors": "0", "outer.safetensors": "1"}}'
        ),
        b"[" * 100_000,
    ),
)
def _checkpoint_state(data: bytes) -> None:
    """Beside good arrays; "0" and "1" are replaced by their digests."""
    for mark, digest in zip((b'"0"', b'"1"'), _digests().values(), strict=True):
        data = data.replace(mark, f'"{digest}"'.encode())
    step = _folder() / "step"
    (step / "state.json").write_bytes(data)
    checkpoint.load(step)


# --- other people's models ------------------------------------------------------------


@_target(b'{"peft_type": "LORA", "r": 8, "lora_alpha": 16}')
def _adapter_settings(data: bytes) -> None:
    read_settings(_file("adapter_config.json", data).parent)


@_target(
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
    read_encoder(str(_file("encoder/config.json", data).parent))


@_target(
    b'[{"type": "a.Transformer", "path": ""}, {"type": "Pooling", "path": "1"}]',
    found=(b'[{"tpey": "Pooling", "path": "0"}]', b"5", b'[{"type": 3, "path": "0"}]'),
)
def _pooling_modules(data: bytes) -> None:
    read_pooling(_file("modules.json", data).parent)


_TOKENIZER = json.dumps(
    {
        "version": "1.0",
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
        "added_tokens": [],
    }
).encode()


@_target(_TOKENIZER)
def _tokenizer(data: bytes) -> None:
    folder = _file("tokenizer.json", data).parent
    (folder / "generation_config.json").write_text('{"eos_token_id": 0}')
    read_tokenizer_file.__wrapped__(folder / "tokenizer.json")


@_target(
    b'{"eos_token_id": 0}',
    b'{"eos_token_id": [1], "eos_token": {"content": 1}}',
    found=(b"5", b'{"eos_token_id": "x"}', b'{"eos_token_id": {}}'),
)
def _generation_settings(data: bytes) -> None:
    folder = _file("tokenizer.json", _TOKENIZER).parent
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


@_target(
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
    file = _folder() / "sample.gguf"
    values = {"general.name": "x", "tokens": ["a", "b"], "number": mx.array(3)}
    mx.save_gguf(str(file), {"w": mx.zeros((2, 32))}, values)
    return file.read_bytes()


@_target(_gguf_bytes())
def _gguf(data: bytes) -> None:
    """MLX reads it in C, and believes every length that our check lets pass."""
    read_gguf(_file("model.gguf", data))


# --- what we wrote ourselves ----------------------------------------------------------


@_target(
    b'{"iteration": 3, "shards": [0, 2], "late": [[1, 4]]}\n',
    found=(b"[" * 100_000, b'{"iteration": 1, "shards": [[]], "late": 3}'),
)
def _accepted(data: bytes) -> None:
    accepted.read(_file("log/accepted.jsonl", data).parent)


@_target(b'{"event": "round", "iteration": 3, "time": 1.0}\n{"event": "x"}\nhalf')
def _metrics(data: bytes) -> None:
    list(read_records(_file("metrics.jsonl", data)))


@_target(
    b'{"time": "2026-11-28T10:00:00+00:00", "level": "INFO", "message": "m",'
    b'"logger": "mlpeft"}\n'
)
def _log(data: bytes) -> None:
    list(read_log(_file("log.jsonl", data)))
