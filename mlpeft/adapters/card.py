"""The model card that lies beside every adapter and every export.

A README.md with the front matter of the Hugging Face hub: data, settings, results, and
the licence of the base, as far as they are known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from mlpeft import __version__, params
from mlpeft.datasets.pretrained import model_folder
from mlpeft.results import percent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.adapters.adapter import Adapter
    from mlpeft.config import RunConfig

NOT_STATED = "not stated"
_CARD = """---
{front}---

# {name}, adapted to {count} labels

Made by mlpeft {version}: a meta-learned start, adapted to a few examples.

## Base

{base}
## Data

{data}
## Settings

{settings}
## Results

{results}
## Labels

{labels}

Confidences are shares of a softmax and not calibrated. The labels were learned from the
examples above alone; a text of any other kind gets one of them, too.
"""
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*\n", re.DOTALL)


def model_card(adapter: Adapter) -> str:
    """The card as Markdown."""
    config = adapter.config
    licence = base_licence(model_folder(str(config.model.weights)))
    front: dict[str, Any] = {"library_name": "mlpeft", "tags": ["mlx", "few-shot"]}
    if licence != NOT_STATED:
        front["license"] = licence
    base = {"weights": config.model.weights, "licence of the base": licence}
    labels = "\n".join(f"- {label}" for label in adapter.labels)
    return _CARD.format(
        front=yaml.safe_dump(front, sort_keys=False),
        name=config.run.name,
        count=len(adapter.labels),
        version=__version__,
        base=_table(base),
        data=_table(_data(adapter)),
        settings=_table(_settings(adapter)),
        results=_results(adapter.story.get("results", {})),
        labels=labels,
    )


def base_licence(folder: Path) -> str:
    """The licence that the base's own card states, or that none is stated."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return NOT_STATED
    matter = _FRONT_MATTER.match(text)
    try:
        stated = yaml.safe_load(matter[1]) if matter else None
    except yaml.YAMLError:
        stated = None
    licence = stated.get("license") if isinstance(stated, dict) else None
    return str(licence) if licence else NOT_STATED


def _data(adapter: Adapter) -> dict[str, object]:
    section = adapter.config.task_distribution
    return {
        "meta-trained on": ", ".join(section.task_families),
        **{
            key: value
            for key, value in section.task_params.items()
            if key in {"dataset", "class_split"}
        },
        "adapted to": f"{adapter.story['examples']} examples of "
        f"{len(adapter.labels)} labels",
    }


def _settings(adapter: Adapter) -> dict[str, object]:
    meta, peft, story = adapter.config.meta_learning, adapter.config.peft, adapter.story
    iterations = story["meta_iterations"]
    return {
        "PEFT method": peft.method,
        **_method_settings(adapter.config),
        "numbers that adapt": f"{params.count(adapter.leaves):,}",
        "head": adapter.config.model.head,
        "meta-learned by": f"{meta.algorithm}, "
        f"{iterations if iterations >= 0 else 'an unknown number of'} "
        f"meta-iterations of {meta.meta_batch_size} tasks",
        "inner loop": f"{story['steps']} steps of {meta.inner_optimizer}, step size "
        f"{story['inner_lr']:g}",
        "loss of the examples": f"{story['loss_before']:.4f} before, "
        f"{story['loss_after']:.4f} after",
    }


def _method_settings(config: RunConfig) -> dict[str, object]:
    peft = config.peft
    if peft.method != "lora":
        return {}
    return {"rank": peft.rank, "factor": f"{peft.factor:g}"}


def _results(results: Mapping[str, Any]) -> str:
    rows = [row for record in results.values() if (row := _result(record)) is not None]
    if not rows:
        return "The start was not evaluated on test tasks (`mlpeft evaluate` does).\n"
    head = "The start that this was adapted from, on tasks that training never saw:\n\n"
    table = "| task | inner steps | accuracy, 95 % interval | episodes |\n"
    return head + table + "| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"


def _result(record: Mapping[str, Any]) -> str | None:
    accuracies, widths = record.get("acc"), record.get("acc_ci95")
    if not accuracies or not widths:
        return None
    width = float("nan") if widths[-1] is None else widths[-1]
    return (
        f"| {record['num_classes']}-way {record['k_shot']}-shot "
        f"| {record['steps'][-1]} "
        f"| {percent(accuracies[-1], width)} "
        f"| {record['episodes']} |"
    )


def _table(rows: Mapping[str, object]) -> str:
    lines = ["| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(lines) + "\n"
