"""A language model imitates somebody's writing after reading four messages.

    mlpeft train --config configs/style.yaml      # minutes
    python examples/writing_style.py

Adapts the trained LoRA start to four messages of a person whom training has not
seen, and lets it write others. For comparison it does the same from a random start, and
without adaptation.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import mlpeft
from mlpeft.adapters.adapter import bare_model
from mlpeft.datasets.completions import read_completions
from mlpeft.meta import state
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.training.trained import load_trained

RUN = "checkpoints/style"
MESSAGES = 4
PROMPTS = 3
LONGEST = 30
"""Most tokens of a message."""


def main(run: str = RUN) -> None:
    """Adapt to one person of the test split, and print what the model writes."""
    if not Path(run).is_dir():
        sys.exit(f"no run at {run}; first: mlpeft train --config configs/style.yaml")
    trained = load_trained(run)
    people = read_completions(Path(__file__).with_name("writing_styles.jsonl"))
    name = people.splits["test"][0]
    known = people.examples[name][:MESSAGES]
    asked = people.examples[name][MESSAGES : MESSAGES + PROMPTS]
    inner = InnerLoop.from_config(trained.config.meta_learning)
    model = bare_model(trained.config)
    random = dataclasses.replace(
        trained, meta=state.initial(get_params(model), inner, model)
    )
    pairs = [(message.prompt, message.completion) for message in known]
    writers = {
        "the model as it is": mlpeft.adapt(random, pairs, steps=0),
        "from a random start": mlpeft.adapt(random, pairs),
        "from the trained start": mlpeft.adapt(trained, pairs),
    }
    print(f"{name}, whom training has not seen, writes:\n")
    for message in known:
        print(f"  {message.prompt:32} {message.completion}")
    steps = writers["from the trained start"].history["steps"]
    print(f"\nAfter {steps} steps on these {MESSAGES} messages:")
    for message in asked:
        print(f"\n  {message.prompt:32} {name}: {message.completion}")
        for who, writer in writers.items():
            (text,) = writer.predict([message.prompt], LONGEST)
            print(f"    {who:30} {text!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
