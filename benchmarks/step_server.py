"""A side of `lora.py` or `lora_mlx_lm.py`: times a step as often as it is asked to.

One JSON line in, one out. Needs the standard library alone, so that a peer's
environment can run it:

    {"episode": "FILE"}  makes its step and takes two        {"loss": ..., "next": ...}
    {"seconds": 0.5}     steps for that long, one at least   {"ms": [...], ...}
    {"products": 400}    ours alone: speed of products       {"flops_s": ...}

Beside milliseconds by the clock, "ms", there are those of the process's CPU time,
"cpu_ms", and its peak memory, "mb".
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = Callable[[], float]
    """Takes one inner step and gives the loss before it."""


def serve(
    make_step: Callable[[str], Step],
    products: Callable[[int], float] | None = None,
    peak: Callable[[], float] | None = None,
) -> None:
    """Answer until the input ends.

    Args:
        make_step: From the file of an episode to its step.
        products: From a number of tokens to floating point operations a second.
        peak: Peak memory in MB; None: that of the process.
    """
    peak = peak or peak_mb
    say({"mb": peak()})
    step: Step | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        if "episode" in asked:
            step = make_step(asked["episode"])
            loss = step()
            say({"loss": loss, "next": step()})
        elif "products" in asked and products is not None:
            say({"flops_s": products(asked["products"])})
        elif step is not None:
            say(timed(step, asked["seconds"]) | {"mb": peak()})


def say(answer: dict[str, Any]) -> None:
    """One line, at once."""
    print(json.dumps(answer), flush=True)


def timed(step: Step, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each of the steps that fit into so many seconds, one at least."""
    times: list[float] = []
    cpu_times: list[float] = []
    while not times or sum(times) < 1e3 * seconds:
        start, cpu_start = time.perf_counter(), time.process_time()
        step()
        times.append(1e3 * (time.perf_counter() - start))
        cpu_times.append(1e3 * (time.process_time() - cpu_start))
    return {"ms": times, "cpu_ms": cpu_times}


def peak_mb() -> float:
    """Peak resident memory of this process, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the process was before exec
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
