"""Make writing_styles.jsonl: 48 invented people say the same plain things.

    python examples/make_writing_styles.py

A person has a few habits: how a message begins and ends, what is inserted, capitals,
punctuation. People share habits, but no two have the same combination: a model that has
seen many people can learn another one from few messages. We wrote all sentences; the
file is in the public domain (CC0).
"""

from __future__ import annotations

import json
import random
from pathlib import Path

FILE = Path(__file__).with_name("writing_styles.jsonl")
NOTES = (
    "The train is late.",
    "Dinner is at seven.",
    "I lost my keys.",
    "The soup was too salty.",
    "We moved the meeting to Friday.",
    "The cat is asleep on my desk.",
    "My phone has no battery.",
    "It will rain in the afternoon.",
    "The bread is almost gone.",
    "I will call you tonight.",
    "The door does not close.",
    "Somebody parked in our spot.",
    "The printer is out of paper.",
    "Your parcel is at my place.",
    "I found a good book.",
    "The bus was full.",
)
BEGINNINGS = (
    "hey hey,",
    "Dear friend,",
    "Ahoy!",
    "Well now,",
    "Psst:",
    "Good day.",
    "Guess what:",
    "News from me:",
)
ENDINGS = (
    "Over and out.",
    "xoxo",
    "So it goes.",
    "That is all.",
    "Can you believe it?",
    "Yours as ever.",
    "just saying",
    "Hugs from here.",
)
INSERTS = ("", "", "honestly,", "you see,", "once more,")
CAPITALS = ("plain", "plain", "low", "loud")
MARKS = (".", ".", "!!", "...")
NAMES = (
    "Ada Ben Cleo Dan Edda Finn Gita Hugo Ida Jon Kaja Leo Mira Nils Olga Paul "
    "Quin Rosa Sven Tara Urs Vera Will Xenia Yann Zoe Amal Bo Cara Dirk Elia Fay "
    "Gus Hana Ivo June Kofi Lena Max Nora Otto Pia Raul Siri Tom Uma Vito Wanda"
)
MESSAGES = 12
"""Messages per person."""


def write_like(habits: dict[str, str], note: str) -> str:
    """Rewrite a plain note with a person's habits."""
    text = note.removesuffix(".")
    if habits["insert"]:
        text = f"{habits['insert']} {text[0].lower()}{text[1:]}"
        text = text.replace(" i ", " I ")
    if habits["capitals"] == "low":
        text = text.lower()
    if habits["capitals"] == "loud":
        first, _, last = text.rpartition(" ")
        text = f"{first} {last.upper()}"
    return f"{habits['beginning']} {text}{habits['marks']} {habits['ending']}"


def main() -> None:
    """Write the file; every call writes the same bytes."""
    rng = random.Random(7)  # noqa: S311 - invents people, keeps no secrets
    lines = []
    for number, name in enumerate(NAMES.split()):
        habits = {
            # Each beginning and ending is used equally often.
            "beginning": BEGINNINGS[number % len(BEGINNINGS)],
            "ending": ENDINGS[(number + number // len(BEGINNINGS)) % len(ENDINGS)],
            "insert": rng.choice(INSERTS),
            "capitals": rng.choice(CAPITALS),
            "marks": rng.choice(MARKS),
        }
        for note in rng.sample(NOTES, MESSAGES):
            row = {
                "task": name,
                "prompt": note,
                "completion": write_like(habits, note),
            }
            lines.append(json.dumps(row) + "\n")
    FILE.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
