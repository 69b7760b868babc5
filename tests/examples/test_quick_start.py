"""The examples run, and show what they say."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_quick_start_gains_accuracy_on_new_tasks():
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "quick_start.py")],
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    rows = re.findall(r"after +(\d+) steps +([\d.]+) +([\d.]+)", done.stdout)
    assert [int(step) for step, *_ in rows] == [0, 1, 5, 10]
    gains = {int(step): float(after) - float(before) for step, before, after in rows}
    assert gains[0] > 0.1
    assert gains[5] > 0  # a fresh start is now and then good by luck
