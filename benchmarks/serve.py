"""A load test of `mlpeft serve`: latency, texts per second, and whether memory grows.

A server of its own gets adapters of some of Banking77's intents, and then requests
from several callers at once, each with the next as soon as it has its answer.

    python -m benchmarks.serve                             # 5,000 requests of one text
    python -m benchmarks.serve --callers 1                 # latency without company
    python -m benchmarks.serve --texts 32 --requests 500   # texts per second
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import numpy as np

from mlpeft.datasets.intents import intent_files
from mlpeft.datasets.rows import read_rows

LABELS, EACH = 20, 10
PARTS = 5
"""Memory is read after each of so many equal parts."""


class Connection:
    """A caller's connection, which is kept."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)

    def __call__(self, method: str, path: str, body: object = None) -> bytes:
        """The body of an answer; an error ends the benchmark."""
        text = None if body is None else json.dumps(body)
        headers = {"content-type": "application/json"}
        self._connection.request(method, path, text, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise SystemExit(f"{method} {path}: {answer.status} {content.decode()}")
        return content


def main() -> None:
    """Start a server, teach it, call it, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--texts", type=int, default=1, help="of a request")
    parser.add_argument("--adapters", type=int, default=3)
    args = parser.parse_args()
    process, url = start_server()
    try:
        queries = teach(url, args.adapters)
        ask(url, queries, args.texts, args.adapters, args.callers, 20 * args.callers)
        print(f"{args.requests} requests of {args.texts} texts, {args.callers} callers")
        print("| requests | p50 | p95 | p99 | texts/s | of processor time | memory |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for part in range(1, PARTS + 1):
            count = args.requests // PARTS
            began, processor = (
                time.perf_counter(),
                metric(url, "process_cpu_seconds_total"),
            )
            took = ask(url, queries, args.texts, args.adapters, args.callers, count)
            speed = count * args.texts / (time.perf_counter() - began)
            processor = metric(url, "process_cpu_seconds_total") - processor
            memory = metric(url, "process_resident_memory_bytes") / 1e6
            p50, p95, p99 = 1000 * np.percentile(took, [50, 95, 99])
            print(
                f"| {part * count} | {p50:.0f} ms | {p95:.0f} ms | {p99:.0f} ms "
                f"| {speed:.0f} | {count * args.texts / processor:.0f} "
                f"| {memory:.0f} MB |",
                flush=True,
            )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def start_server() -> tuple[subprocess.Popen[str], str]:
    """A server of one core's threads, and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mlpeft", "serve", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    line = process.stdout.readline() if process.stdout else ""
    found = re.search(r"http://[\d.:]+", line)
    if found is None:
        raise SystemExit("the server did not start")
    return process, found[0]


def teach(url: str, adapters: int) -> list[str]:
    """Make adapters of different intents; the texts to predict."""
    texts: dict[str, list[str]] = {}
    for row in read_rows(intent_files("banking77").utterances):
        texts.setdefault(row.values["label"], []).append(row.values["text"])
    call, names = Connection(url), sorted(texts)
    for number in range(adapters):
        own = [names[(number * LABELS + n) % len(names)] for n in range(LABELS)]
        examples = [
            {"text": text, "label": name} for name in own for text in texts[name][:EACH]
        ]
        body = {"id": f"bank{number}", "examples": examples, "reject_below": "auto"}
        made = json.loads(call("POST", "/adapters", body))
        print(
            f"learned {LABELS} labels from {len(examples)} texts: {made['seconds']} s"
        )
    return [text for name in names for text in texts[name][EACH : EACH + 60]]


def ask(
    url: str, queries: list[str], texts: int, adapters: int, callers: int, count: int
) -> list[float]:
    """Seconds of each of some requests."""
    numbers = iter(range(count))
    took: list[float] = []
    lock = threading.Lock()

    def run(seed: int) -> None:
        call, rng = Connection(url), random.Random(seed)  # noqa: S311 - not a secret
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            chosen = rng.sample(queries, texts)
            body = {"adapter": f"bank{number % adapters}", "texts": chosen}
            began = time.perf_counter()
            call("POST", "/predict", body)
            with lock:
                took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def metric(url: str, name: str) -> float:
    """One of the server's metrics."""
    text = Connection(url)("GET", "/metrics").decode()
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else float("nan")


if __name__ == "__main__":
    main()
