"""Files of arrays: checkpoints, data sets, adapters."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import pickle
import zipfile

import numpy as np
from PIL import Image
from safetensors.numpy import save, save_file

from mlpeft.array_files import read_npy
from mlpeft.datasets.image_sets.image_file import read_images
from mlpeft.datasets.image_sets.plain_pickle import read_plain_pickle
from mlpeft.datasets.images import read_image
from mlpeft.datasets.omniglot import read_omniglot
from mlpeft.exchange.files import read_arrays
from mlpeft.params import read_npz
from mlpeft.tasks.distribution import TaskDistribution
from mlpeft.tasks.episode import TaskConfig
from mlpeft.training import checkpoint
from tests.fuzz.target import file_of, folder, target


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


@target(
    _SMALL_NPZ, found=(_HALF_A_HEADER, _FROM_THE_FUTURE, _with_bytes("w", w=np.ones(3)))
)
def _npz_checkpoint(data: bytes) -> None:
    read_npz(file_of("theta.npz", data))


_OMNIGLOT = {
    "images": np.zeros((4, 2, 2), np.uint8),
    "class_names": np.array(["a", "b"]),
    "class_alphabet": np.zeros(2, np.int64),
    "class_split": np.array([0, 1]),
}


@target(
    _npz(**_OMNIGLOT),
    found=(_with_bytes("class_alphabet", **_OMNIGLOT),),
)
def _omniglot(data: bytes) -> None:
    read_omniglot(file_of("omniglot.npz", data))


_IMAGES = {
    "images": np.zeros((3, 2, 2, 3), np.uint8),
    "class_names": np.array(["a", "b"]),
    "class_sizes": np.array([2, 1], np.int64),
    "class_split": np.array([0, 2], np.uint8),
    "sha256": np.array("0" * 64),
}


@target(_npz(**_IMAGES), found=(_with_bytes("class_sizes", **_IMAGES),))
def _images_of_classes(data: bytes) -> None:
    arrays = read_images(file_of("images.npz", data))
    assert sum(len(images) for images in arrays.by_class()) == len(arrays.images)


_MINI_IMAGENET = {
    "image_data": np.zeros((2, 2, 2, 3), np.uint8),
    "class_dict": {"n01": [0, 1], "n02": np.array([1])},
}


@target(*(pickle.dumps(_MINI_IMAGENET, protocol) for protocol in (2, 4, 5)))
def _pickle(data: bytes) -> None:
    read_plain_pickle(file_of("mini-imagenet-cache-train.pkl", data))


_SAFETENSORS = save({"base_model.lora_A": np.ones((2, 3), np.float32)})


def _npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


@target(_npy(np.zeros((2, 3), np.uint8)), found=(_HALF_A_HEADER,))
def _npy_images(data: bytes) -> None:
    try:
        read_npy(file_of("images.npy", data))
    except (OSError, ValueError):
        return


def _png() -> bytes:
    held = io.BytesIO()
    Image.new("L", (5, 4), 7).save(held, "PNG")
    return held.getvalue()


@target(_png())
def _image(data: bytes) -> None:
    read_image(file_of("image.png", data), 8)


@target(
    pickle.dumps(TaskDistribution([TaskConfig("a", "sinusoid")])),
    found=(b"\x80\x04\x8d" + (1 << 30).to_bytes(8, "little"),),
)
def _task_pickle(data: bytes) -> None:
    TaskDistribution.load(file_of("tasks.pkl", data))


@target(_SAFETENSORS, found=(_SAFETENSORS.replace(b"lora_A", b"lora_\xff"),))
def _safetensors(data: bytes) -> None:
    read_arrays(file_of("adapters.safetensors", data))


@functools.cache
def _digests() -> dict[str, str]:
    """Of the two arrays' files of a step, which are good."""
    step = folder() / "step"
    step.mkdir(exist_ok=True)
    files = [step / name for name in ("theta.safetensors", "outer.safetensors")]
    for file in files:
        save_file({"w": np.ones(3, np.float32)}, file)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@target(
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
    step = folder() / "step"
    (step / "state.json").write_bytes(data)
    checkpoint.load(step)
