"""Makes starts of intents for `TextClassifier`.

A start meta-learns from the training texts of the data sets that it names; texts of
their official tests are not read. Intents that are held out validate it.

    python -m benchmarks.make_start                          # on both data sets
    python -m benchmarks.make_start --train-on clinc150      # to judge on Banking77
    python -m benchmarks.make_start --train-on banking77     # to judge on CLINC150
    python -m benchmarks.make_start --ship                   # into the package

The command goes on where it was stopped. `benchmarks.judge_starts` compares starts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mlpeft import params
from mlpeft.adapters.classifier import Classifier
from mlpeft.adapters.start import as_adapter
from mlpeft.adapters.starts import FOLDER, HUB_BASE
from mlpeft.adapters.store import CARD, RECORD, save
from mlpeft.config import RunConfig
from mlpeft.datasets.intents import intent_files
from mlpeft.datasets.rows import read_rows
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from mlpeft.training.run_folder import run_folder
from mlpeft.training.trained import load_trained

if TYPE_CHECKING:
    from mlpeft.training.trained import Trained

DATA_SETS = ("banking77", "clinc150")
HELD_OUT = 20
"""Intents for validation, and as many for the test."""
TEXTS, SPLITS = "texts.jsonl", "splits.json"
LICENCES = {
    "banking77": "Banking77 (Casanueva et al. 2020, CC BY 4.0)",
    "clinc150": "CLINC150 (Larson et al. 2019, CC BY 3.0)",
}
"""What adapters of a start say of its texts, as the licences ask."""


def main() -> None:
    """Write the texts and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--train-on", nargs="+", choices=DATA_SETS, default=list(DATA_SETS)
    )
    parser.add_argument("--out", type=Path, default=Path("results/starts"))
    parser.add_argument("--config", type=Path, default=Path("benchmarks/start.yaml"))
    parser.add_argument("--ship", action="store_true", help="write it into the package")
    args = parser.parse_args()
    chosen = sorted(args.train_on)
    folder = args.out / "-".join(chosen)
    texts = write_texts(folder, chosen)
    config = RunConfig.load(args.config)
    config = config.with_changes(
        paths={"checkpoint_dir": str(folder)},
        task_distribution={"task_params": config.task_distribution.task_params | texts},
    )
    found, _ = checkpoint.newest(run_folder(config))
    print(train(config, resume=found is not None))
    if args.ship:
        trained = load_trained(run_folder(config))
        print(write_start(trained, folder, FOLDER / config.run.name))


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
    texts, file = folder / TEXTS, folder / SPLITS
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file.write_text(json.dumps({"splits": {"all": splits}}))
    return {"dataset": str(texts), "class_splits": str(file)}


def write_start(trained: Trained, folder: Path, output: Path) -> Path:
    """Write a run's start as the package has it: without this machine's paths.

    Args:
        trained: The run.
        folder: Of its texts.
        output: The start's folder.
    """
    start = as_adapter(trained)
    splits = json.loads((folder / SPLITS).read_text())["splits"]["all"]
    rows = [json.loads(line) for line in (folder / TEXTS).open()]
    learned = set(splits["train"])
    config = start.config.with_changes(
        paths={"checkpoint_dir": "checkpoints"},
        task_distribution={
            "task_params": start.config.task_distribution.task_params
            | {"dataset": ", ".join(LICENCES.values()), "class_splits": SPLITS}
        },
    )
    history = {"meta_iterations": trained.iteration, "results": {}}
    save(Classifier(config=config, leaves=start.leaves, history=history), output)
    record = json.loads((output / RECORD).read_text())
    # The digest is that of the hub's file, which a package may carry, too.
    record["config"]["model"]["weights"] = HUB_BASE
    (output / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    card = Path(__file__).with_name("start_card.md").read_text()
    card = card.replace("{train}", str(len(learned)))
    card = card.replace("{texts}", f"{sum(row['label'] in learned for row in rows):,}")
    card = card.replace("{iterations}", str(trained.iteration))
    card = card.replace("{parameters}", f"{params.count(start.leaves):,}")
    (output / CARD).write_text(card)
    return output


if __name__ == "__main__":
    main()
