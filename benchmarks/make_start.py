"""Makes starts of intents for `TextClassifier`.

A start meta-learns from the training texts of the data sets that it names; texts of
their official tests are not read. Intents that are held out validate it.

    python -m benchmarks.make_start                          # on both data sets
    python -m benchmarks.make_start --train-on clinc150      # to judge on Banking77
    python -m benchmarks.make_start --train-on banking77     # to judge on CLINC150

The command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mlpeft.config import RunConfig
from mlpeft.datasets.intents import intent_files
from mlpeft.datasets.rows import read_rows
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from mlpeft.training.run_folder import run_folder

DATA_SETS = ("banking77", "clinc150")
HELD_OUT = 20
"""Intents for validation, and as many for the test."""


def main() -> None:
    """Write the texts and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--train-on", nargs="+", choices=DATA_SETS, default=list(DATA_SETS)
    )
    parser.add_argument("--out", type=Path, default=Path("results/starts"))
    parser.add_argument("--config", type=Path, default=Path("benchmarks/start.yaml"))
    args = parser.parse_args()
    chosen = sorted(args.train_on)
    folder = args.out / "-".join(chosen)
    params = write_texts(folder, chosen)
    config = RunConfig.load(args.config)
    config = config.with_changes(
        paths={"checkpoint_dir": str(folder)},
        task_distribution={
            "task_params": config.task_distribution.task_params | params
        },
    )
    found, _ = checkpoint.newest(run_folder(config))
    print(train(config, resume=found is not None))


def write_texts(folder: Path, chosen: list[str]) -> dict[str, str]:
    """Write training texts and the split of their intents; their task_params."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, labels = [], {}
    for name in DATA_SETS:
        for row in read_rows(intent_files(name).utterances):
            if row.values["split"] == "train":
                rows.append({key: row.values[key] for key in ("text", "label")})
                labels.setdefault(row.values["label"], name)
    others = sorted(label for label, name in labels.items() if name not in chosen)
    # With every data set in use, each twelfth intent or so is held out.
    held = others or sorted(labels)[:: len(labels) // (2 * HELD_OUT)]
    valid, test = held[::2][:HELD_OUT], held[1::2][:HELD_OUT]
    splits = {
        "train": sorted(set(labels) - set(others) - set(valid) - set(test)),
        "valid": valid,
        "test": test,
    }
    texts, file = folder / "texts.jsonl", folder / "splits.json"
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file.write_text(json.dumps({"splits": {"all": splits}}))
    return {"dataset": str(texts), "class_splits": str(file)}


if __name__ == "__main__":
    main()
