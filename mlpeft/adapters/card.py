"""The model card of an adapter or an export.

A README.md with the front matter of the Hugging Face hub: data, settings, results, and
the licence of the base, as far as they are known.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import yaml

from mlpeft import params
from mlpeft.config import parse_yaml
from mlpeft.errors import ConfigError, DataError
from mlpeft.models.pretrained.gguf import read_gguf
from mlpeft.models.pretrained.source import model_path
from mlpeft.results import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.adapters.adapter import Adapter
    from mlpeft.config import MetaLearningSection, RunConfig

NOT_STATED = "not stated"
_CARD = """---
{front}---

# {title}

Made by mlpeft {version}: {what}.

## Base

{base}
## Data

{data}
## Settings

{settings}
## Results

{results}
{labels}{use}"""
_LABELS = """## Labels

{names}

{confidences} The labels were learned from the examples above alone; {others}.
"""
_CALIBRATED = (
    "Confidences are calibrated by one temperature, on examples that the head was not "
    "fitted to."
)
_UNCALIBRATED = "Confidences are softmax probabilities and not calibrated."
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*\n", re.DOTALL)


def model_card(adapter: Adapter, use: str = "") -> str:
    """Write the card as Markdown.

    Args:
        adapter: The adapter that the card describes.
        use: Text of a section on how to use the card's folder.
    """
    config, labels = adapter.config, adapter.labels
    licence = base_licence(str(config.model.weights))
    front: dict[str, Any] = {"library_name": "mlpeft", "tags": ["mlx", "few-shot"]}
    if licence != NOT_STATED:
        front["license"] = licence
    names = "\n".join(f"- {label}" for label in labels)
    return _CARD.format(
        front=yaml.safe_dump(front, sort_keys=False),
        title=f"{config.run.name}, {_title(adapter)}",
        version=version("mlpeft"),
        what=_what(adapter),
        base=_table({"weights": config.model.weights, "licence of the base": licence}),
        data=_table(_data(adapter)),
        settings=_table(_settings(adapter)),
        results=_results(
            adapter.history.get("results", {}), meta_learned=_meta_learned(adapter)
        ),
        labels=_LABELS.format(
            names=names,
            confidences=_CALIBRATED if "head" in adapter.history else _UNCALIBRATED,
            others=_others(adapter),
        )
        if labels
        else "",
        use=f"\n## Use\n\n{use}\n" if use else "",
    )


def _what(adapter: Adapter) -> str:
    if not _meta_learned(adapter):
        return "a head for a few examples, on a frozen base"
    if _adapted(adapter):
        return "a meta-learned start, adapted to a few examples"
    return "a meta-learned start, from which a few steps learn a task"


def _others(adapter: Adapter) -> str:
    """What becomes of a text of no label."""
    reject_below = getattr(adapter, "reject_below", 0.0)
    none = getattr(adapter, "none_label", None)
    if none is not None:
        return f"a text that is unlike the examples of all others gets {none!r}"
    if reject_below:
        return f"a text with a confidence below {reject_below:.3g} gets none of them"
    return "a text of any other kind gets one of them, too"


def _meta_learned(adapter: Adapter) -> bool:
    return "meta_iterations" in adapter.history


def _adapted(adapter: Adapter) -> bool:
    return "examples" in adapter.history


def _title(adapter: Adapter) -> str:
    if not _adapted(adapter):
        return "a start to adapt from"
    if adapter.labels:
        return f"adapted to {len(adapter.labels)} labels"
    return f"adapted to {adapter.history['examples']} completions"


def base_licence(weights: str) -> str:
    """The licence in the base's model card or GGUF file; else `NOT_STATED`.

    Args:
        weights: The base, as in `model.weights`.
    """
    try:
        path = model_path(weights)
        if path.is_file():
            return str(read_gguf(path).metadata.get("general.license", NOT_STATED))
        text = (path / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, DataError):
        return NOT_STATED
    match = _FRONT_MATTER.match(text)
    try:
        licence = parse_yaml(match[1]).get("license") if match else None
    except ConfigError:
        licence = None
    return str(licence) if licence else NOT_STATED


def _data(adapter: Adapter) -> dict[str, object]:
    section = adapter.config.task_distribution
    rows: dict[str, object] = {}
    if _meta_learned(adapter):
        rows["meta-trained on"] = ", ".join(section.task_families)
    keys = (
        "dataset",
        "class_splits",
        "class_split",
        "split_shares",
        "min_examples",
        "label_names",
    )
    rows |= {
        key: section.task_params[key] for key in keys if key in section.task_params
    }
    if _adapted(adapter):
        count = len(adapter.labels)
        what = f"examples of {count} labels" if count else "completions"
        if adapter.history.get("label_names"):
            what += ", and the labels' names"
        rows["adapted to"] = f"{adapter.history['examples']} {what}"
    return rows


def _settings(adapter: Adapter) -> dict[str, str]:
    meta, history = adapter.config.meta_learning, adapter.history
    rows: dict[str, str] = {}
    if "head" in history:
        note = f"; {history['note']}" if "note" in history else ""
        rows["head"] = f"{history['head']}{note}"
        rows |= {
            f"accuracy of {kind} on held-out examples": f"{100 * share:.1f} %"
            for kind, share in history.get("held_out_accuracy", {}).items()
        }
    if not _meta_learned(adapter):
        return rows
    iterations = history["meta_iterations"]
    count = iterations if iterations >= 0 else "an unknown number of"
    rows |= {
        "PEFT method": adapter.config.peft.method,
        **_method_settings(adapter.config),
        "trainable parameters": f"{params.count(adapter.leaves):,}",
        "meta-learned by": f"{meta.algorithm}, {count} meta-iterations of "
        f"{_counted(meta.meta_batch_size, 'task')}, each "
        + _steps(meta.num_inner_steps, meta.inner_lr, meta),
    }
    if "steps" in history:
        rows["adapted by"] = _steps(history["steps"], history["inner_lr"], meta)
        if not history["steps"] and adapter.config.model.head in {
            "prototype",
            "cosine",
        }:
            rows["adapted by"] += "; its head is the class means of the examples"
        rows["loss of the examples"] = (
            f"{history['loss_before']:.4f} before, {history['loss_after']:.4f} after"
            if history["steps"]
            else f"{history['loss_before']:.4f}"
        )
    return rows


def _steps(count: int, lr: float, meta: MetaLearningSection) -> str:
    """A number of inner steps in words."""
    if not count:
        return "without inner steps"
    steps = _counted(count, "step")
    return f"{steps} of {meta.inner_optimizer} with step size {lr:g}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _method_settings(config: RunConfig) -> dict[str, str]:
    peft = config.peft
    if peft.method not in {"lora", "dora"}:
        return {}
    return {"rank": str(peft.rank), "factor": f"{peft.factor:g}"}


def _results(results: Mapping[str, Any], *, meta_learned: bool) -> str:
    rows = [row for record in results.values() if (row := _result(record)) is not None]
    if not rows and not meta_learned:
        return "See the accuracy on held-out examples above.\n"
    if not rows:
        return "The start was not evaluated on test tasks; `mlpeft evaluate` does.\n"
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
