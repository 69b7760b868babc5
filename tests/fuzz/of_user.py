"""What a user writes: configuration, texts."""

from __future__ import annotations

import gzip

from mlpeft.config import RunConfig, parse_yaml
from mlpeft.config.reading import override
from mlpeft.datasets.completions import read_completions
from mlpeft.datasets.text_files import read_labelled
from tests.fuzz.target import file_of, target


@target(
    b"meta_learning: {inner_lr: 1e-3, num_inner_steps: 2}\nrun:\n  name: a\n",
    b"model: {backbone: linear}\ncluster: {min_workers: 2}\npaths: {keep_last: 3}\n",
)
def _configuration(data: bytes) -> None:
    RunConfig.from_dict(parse_yaml(data.decode("utf-8", "replace")))


@target(b"meta_learning.inner_lr=1e-3", b"task_distribution.task_params.noise=[1,2]")
def _override(data: bytes) -> None:
    override({}, data.decode("utf-8", "replace"))


_LINES = b'{"text": "where is it", "label": "a"}\n{"text": "lost", "label": 3}\n'


@target(_LINES, found=(b"[" * 100_000,))
def _text_lines(data: bytes) -> None:
    read_labelled(file_of("texts.jsonl", data))


@target(b'text,label\n"where, now",a\nlost,b\n')
def _text_table(data: bytes) -> None:
    read_labelled(file_of("texts.csv", data))


@target(gzip.compress(_LINES, mtime=0))
def _text_lines_packed(data: bytes) -> None:
    read_labelled(file_of("texts.jsonl.gz", data))


@target(
    b'{"task": "anna", "prompt": "The train.", "completion": "LATE"}\n',
    found=(b"[" * 100_000,),
)
def _completions(data: bytes) -> None:
    read_completions(file_of("completions.jsonl", data))
