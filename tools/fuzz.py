"""Lets atheris search for bytes that a reader does not expect.

    pip install atheris                            # in an environment with mlpeft
    python tools/fuzz.py                           # lists the targets
    python tools/fuzz.py join_token --seconds 300

The targets and their samples are in tests/fuzz/of_*.py. A finding ends the run with
its traceback and writes the bytes to crash-...; add them to a test. What comes after
`--` goes to libFuzzer, such as a file to run again or a folder of samples to keep.
"""

# ruff: noqa: INP001 - a script

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> None:
    """Fuzz one target, or list them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", nargs="?", help="one of the list; without: the list")
    parser.add_argument("--seconds", type=int, default=60, help="how long")
    parser.add_argument("--memory-mb", type=int, default=2048, help="most of memory")
    ours, theirs = sys.argv[1:], list[str]()
    if "--" in ours:
        at = ours.index("--")
        ours, theirs = ours[:at], ours[at + 1 :]
    arguments = parser.parse_args(ours)

    import atheris

    with atheris.instrument_imports(include=["mlpeft", "yaml"]):
        from tests.fuzz.targets import TARGETS
    if arguments.target is None:
        sys.stdout.write("\n".join(sorted(TARGETS)) + "\n")
        return
    target = TARGETS[arguments.target]
    with tempfile.TemporaryDirectory() as corpus:
        for number, sample in enumerate(target.samples):
            (Path(corpus) / f"sample{number}").write_bytes(sample)
        options = [
            f"-max_total_time={arguments.seconds}",
            f"-rss_limit_mb={arguments.memory_mb}",
            "-print_final_stats=1",
        ]
        call = [sys.argv[0], *options, *theirs, corpus]
        atheris.Setup(call, target.try_to_read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
