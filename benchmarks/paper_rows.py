"""The published rows that `reproduce.py` measures: their figures and our settings.

Figures are accuracies in percent. A row without one was published as a curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "paper"

REPTILE_OMNIGLOT = "Reptile paper, arXiv 1803.02999, table 2"
REPTILE_MINIIMAGENET = "Reptile paper, arXiv 1803.02999, table 1"
REPTILE_SINUSOID = "Reptile paper, arXiv 1803.02999, figure 1"
MAML_OMNIGLOT = "MAML paper, arXiv 1703.03400, table 1"
MAML_SINUSOID = "MAML paper, arXiv 1703.03400, figure 3"


@dataclass(frozen=True, slots=True)
class Row:
    """One published figure.

    Attributes:
        name: For the command line.
        about: What was measured, for people.
        paper: The published figure; None if there is none, or a curve alone.
        source: Where it was published; "" if it was not.
        config: The training's YAML file, without its suffix.
        training: `section.key=value` for training and test. Rows with the same config
            and these share a training.
        test: `section.key=value` for the test alone.
    """

    name: str
    about: str
    paper: float | None
    source: str
    config: str
    training: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """The training's YAML file."""
        return CONFIGS / f"{self.config}.yaml"


def training_name(row: Row, changes: Sequence[str] = ()) -> str:
    """A name for a row's training, the same for all rows that share it.

    Args:
        row: The row.
        changes: `section.key=value` beside the row's.
    """
    words = [text.partition("=") for text in (*row.training, *changes)]
    text = "_".join([row.config, *(f"{k.rpartition('.')[2]}-{v}" for k, _, v in words)])
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in text)


def _reptile(
    data: str, about: str, source: str, paper: dict[int, tuple[float, float]]
) -> list[Row]:
    """Four rows of one training: by shots, each query alone and transductive."""
    return [
        Row(
            name=f"reptile_{data}_{k}shot{'_transductive' * transductive}",
            about=f"{about} {k}-shot, Reptile{', transductive' * transductive}",
            paper=figures[transductive],
            source=source,
            config=f"reptile_{data}",
            test=(
                f"task_distribution.k_shot={k}",
                f"model.transductive={str(transductive).lower()}",
                *(_SHOTS_OF_TEST.get((data, k), ())),
            ),
        )
        for k, figures in paper.items()
        for transductive in (False, True)
    ]


_SHOTS_OF_TEST = {("miniimagenet_5way", 5): ("evaluation.inner_batch_size=15",)}
"""What else table 7 changes with the shots."""


def _omniglot_5way(
    algorithm: str, title: str, source: str, paper: dict[int, float]
) -> list[Row]:
    """Two trainings, 1-shot and 5-shot, with the MAML paper's settings."""
    rows = []
    for k, figure in paper.items():
        queries = 5 * k
        rows.append(
            Row(
                name=f"{algorithm}_omniglot_5way_{k}shot",
                about=f"Omniglot 5-way {k}-shot, {title}, transductive",
                paper=figure,
                source=source,
                config="fomaml_omniglot_5way",
                training=(
                    *_algorithm(algorithm),
                    f"task_distribution.k_shot={k}",
                    f"task_distribution.query_size={queries}",
                ),
            )
        )
    return rows


def _sinusoid(algorithm: str, title: str, source: str = MAML_SINUSOID) -> Row:
    """The MAML paper's sinusoids."""
    return Row(
        name=f"{algorithm}_sinusoid",
        about=f"sinusoids from 10 points, {title}, loss after 10 steps",
        paper=None,
        source=source,
        config="fomaml_sinusoid",
        training=_algorithm(algorithm),
    )


def _algorithm(name: str) -> tuple[str, ...]:
    """The override of the algorithm, where it is not the configuration's own."""
    return () if name == "fomaml" else (f"meta_learning.algorithm={name}",)


ROWS = {
    row.name: row
    for row in (
        *_reptile(
            "omniglot_5way",
            "Omniglot 5-way",
            REPTILE_OMNIGLOT,
            {1: (95.39, 97.68), 5: (98.90, 99.48)},
        ),
        *_reptile(
            "omniglot_20way",
            "Omniglot 20-way",
            REPTILE_OMNIGLOT,
            {1: (88.14, 89.43), 5: (96.65, 97.12)},
        ),
        *_reptile(
            "miniimagenet_5way",
            "mini-ImageNet 5-way",
            REPTILE_MINIIMAGENET,
            {1: (47.07, 49.97), 5: (62.74, 65.99)},
        ),
        *_omniglot_5way(
            "fomaml", "first-order MAML", REPTILE_OMNIGLOT, {1: 98.3, 5: 99.2}
        ),
        *_omniglot_5way("maml", "MAML", MAML_OMNIGLOT, {1: 98.7, 5: 99.9}),
        Row(
            "reptile_sinusoid",
            "sinusoids from 10 points, Reptile, loss after 32 steps",
            None,
            REPTILE_SINUSOID,
            "reptile_sinusoid",
        ),
        _sinusoid("fomaml", "first-order MAML"),
        _sinusoid("maml", "MAML"),
        _sinusoid("anil", "ANIL", ""),
        _sinusoid("joint", "joint training on all tasks (the paper's pretraining)"),
    )
}
"""All rows, by name. The order is that of the list and of tables."""
