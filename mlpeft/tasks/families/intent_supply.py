"""Whether a split has the intents, and each of them the texts, that episodes need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.tasks.families.intent_classes import listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.datasets.tokens import Tokens
    from mlpeft.tasks.check import Problems
    from mlpeft.tasks.episode import TaskConfig


def check_supply(
    config: TaskConfig, pool: Mapping[str, Tokens], problems: Problems, *, dealt: bool
) -> None:
    """Add what a split lacks.

    Args:
        config: The task that is to be drawn.
        pool: The split's texts by label.
        problems: Is added to.
        dealt: Whether labels were dealt, and so can be dealt otherwise.
    """
    if config.num_classes > len(pool):
        other = "; lower it"
        if dealt:
            other += ", give more labels, or deal otherwise (task_params.split_shares)"
        problems.found.append(
            f"num_classes: asked for {config.num_classes}, but there are {len(pool)} "
            f"intents in this split{other}"
        )
    supports = -(-config.support_size // config.num_classes)
    queries = -(-config.query_size // config.num_classes)
    needed = supports + queries
    there = {label: len(tokens.rows) for label, tokens in pool.items()}
    poor = sorted(
        (label for label in there if there[label] < needed), key=there.__getitem__
    )
    if poor:
        told = listed([f"{label!r} has {there[label]}" for label in poor])
        problems.found.append(
            f"support_size, query_size: {config.support_size} and {config.query_size} "
            f"need {supports} + {queries} examples of a class, but {told}; lower one "
            "of them, or leave such labels out with task_params.min_examples: "
            f"{needed}"
        )
