"""Does meta-learning pay? See `__main__`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Of the project."""
