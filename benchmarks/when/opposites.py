"""People who want opposite things of the same text: a task is a person.

Each person has an interest in five of the ten domains of CLINC150 (banking, travel and
so on) and in nothing else: the same utterance is wanted by one and unwanted by another.
Ten examples, one of each domain, tell what a person wants. Training, validation and
test have other people and other texts of the same intents. The texts are CLINC150's
own, the people are made up. An input is an utterance's embedding by all-MiniLM-L6-v2,
frozen.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.when import ROOT
from mlpeft.adapters.adapter import bare_model
from mlpeft.adapters.embedder import Embedder
from mlpeft.config import RunConfig
from mlpeft.datasets.intents import intent_files, read_utterances

if TYPE_CHECKING:
    from mlpeft.tasks.episode import TaskConfig

DIMS = 384
DOMAINS = 10
TEXTS = {"train": slice(0, 30), "val": slice(30, 45), "test": slice(45, 60)}
"""Of each intent, in the file's order."""
_PEOPLE = tuple(combinations(range(DOMAINS), DOMAINS // 2))


def episode(
    config: TaskConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """An episode of a person: as many texts of each domain.

    Args:
        config: Its id, SPLIT/custom/HEX, determines the person.
        rng: Draws the texts.
    """
    split, *_, word = config.task_id.split("/")
    wanted = person(split, int(word, 16))
    support, queries = (
        size // DOMAINS for size in (config.support_size, config.query_size)
    )
    pools = _embeddings()[split]
    drawn = [
        pool[rng.choice(len(pool), support + queries, replace=False)] for pool in pools
    ]
    labels = np.array([domain in wanted for domain in range(DOMAINS)], np.int32)
    support_x = np.concatenate([texts[:support] for texts in drawn])
    query_x = np.concatenate([texts[support:] for texts in drawn])
    return (
        support_x,
        np.repeat(labels, support),
        query_x,
        np.repeat(labels, queries),
    )


def person(split: str, word: int) -> tuple[int, ...]:
    """The domains that a person wants; each split has people of its own."""
    place = list(TEXTS).index(split)
    people = _PEOPLE[place :: len(TEXTS)]
    return people[word % len(people)]


@cache
def _embeddings() -> dict[str, list[np.ndarray]]:
    """By split, of each domain (texts, DIMS) of about unit variance."""
    files = intent_files("clinc150")
    domains = json.loads(files.splits.read_text(encoding="utf-8"))["domains"]
    utterances = read_utterances(files.utterances)
    config = RunConfig.load(ROOT / "configs" / "intents.yaml")
    embed = Embedder(bare_model(config), config)
    scale = np.float32(np.sqrt(DIMS))
    return {
        split: [
            scale * embed([text for it in intents for text in utterances[it][part]])
            for intents in domains.values()
        ]
        for split, part in TEXTS.items()
    }
