"""A model and tasks of one's own, as docs/own_model.md says."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_learned_start_of_ones_own_model_beats_a_fresh_one(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "own_model.py")],
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
        cwd=tmp_path,
    )
    rows = re.findall(r"LoRA, (.+?) +after +(\d+) steps +([\d.]+)", done.stdout)
    losses = {(start, int(step)): float(loss) for start, step, loss in rows}
    learned = losses["meta-learned start", 5]
    others = [loss for (start, step), loss in losses.items() if step == 5]
    assert len(others) == 4
    assert learned == min(others)
    assert learned < 0.7 * losses["fresh start", 5]


def test_without_its_base_the_model_says_how_to_get_it(tmp_path):
    """Through the command, as a user would meet it."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mlpeft.cli", "train"),
            *("--config", str(ROOT / "configs" / "own_model.yaml")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT / 'examples'}:{ROOT}", "HOME": str(tmp_path)},
    )
    assert done.returncode != 0
    assert "first: python examples/own_model.py" in done.stderr
