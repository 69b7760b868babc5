"""The dashboard of a real coordinator, and one beside it."""

import json
import sys
import urllib.request

import pytest

pytest.importorskip("uvicorn", reason="needs the extra dashboard")

from tests.coordinator.conftest import PATIENCE_S, Watched

FOREVER = (
    "--set=meta_learning.num_meta_iterations=100000",
    "--set=meta_learning.eval_interval=100000",
)


def state(url):
    with urllib.request.urlopen(f"{url}/state.json", timeout=PATIENCE_S) as answer:  # noqa: S310
        return json.load(answer)


def page(watched):
    return watched.wait_for(r"dashboard at (http://127\.0\.0\.1:\d+)").group(1)


def test_the_page_of_a_coordinator_shows_its_run_and_ends_it(cluster):
    coordinator = cluster.coordinator(
        "--local-workers", "1", "--dashboard", "127.0.0.1:0", *FOREVER
    )
    url = page(coordinator)
    with urllib.request.urlopen(f"{url}/events", timeout=PATIENCE_S) as events:  # noqa: S310
        for line in events:
            if line.startswith(b"data: ") and shows_a_shard(line):
                break
    arguments = ["dashboard", "--coordinator", cluster.address, "--listen=127.0.0.1:0"]
    beside = Watched("mlpeft.cli", arguments, cluster.folder)
    cluster.started.append(beside)
    shown = state(page(beside))
    assert (shown["run"]["name"], len(shown["workers"])) == ("tiny", 1)
    assert shown["source"]["sampled"]
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310
        token = answer.read().decode().partition('mlpeft-token" content="')[2]
    request = urllib.request.Request(  # noqa: S310
        f"{url}/control",
        json.dumps({"action": "stop"}).encode(),
        {"origin": url, "x-mlpeft-token": token.partition('"')[0]},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
        assert "ends after this round" in json.load(answer)["text"]
    assert coordinator.end() == 0, coordinator.text
    (story,) = json.loads((run_folder(cluster) / "cluster.json").read_text())[
        "sessions"
    ].values()
    assert story["workers"]["local-0"]["shards_done"] == story["counted"] > 0


def run_folder(cluster):
    return cluster.folder / "checkpoints" / "tiny"


def shows_a_shard(event):
    bars = json.loads(event.removeprefix(b"data: ")).get("bars", [])
    return any(bar[-1] == "in" for bar in bars)


def test_without_tls_the_page_is_refused_off_loopback(cluster):
    coordinator = cluster.start_coordinator("--dashboard", "0.0.0.0:0")
    assert coordinator.end() == 2
    assert "0.0.0.0 can be reached from other machines" in coordinator.text


def test_a_coordinator_without_a_dashboard_does_not_load_one(cluster):
    code = (
        "import sys, coordinator.session, coordinator.cli; "
        "sys.exit(any(n.startswith(('uvicorn', 'starlette', 'mlpeft.dashboard.')) "
        "for n in sys.modules))"
    )
    import subprocess

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
