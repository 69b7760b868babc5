"""What Prometheus is served, and that the page about it says the same."""

import re
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import yaml

from mlpeft.cluster.sim import TOY_SIZE, toy_shards
from mlpeft.errors import MlpeftError
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.executor import ClusterExecutor, Runtime
from tests.runtime.toy import CONFIG, VERSIONS, ToyRunner

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def started(port=0, runner=ToyRunner):
    runtime = Runtime(
        CONFIG.with_changes(cluster={"metrics_port": port}),
        "view",
        VERSIONS,
        lambda _: Prepared(runner(), "toy device", "view"),
    )
    runtime.start("127.0.0.1", 0, local_workers=1)
    return runtime


@pytest.fixture
def runtime():
    made = started()
    yield made
    made.close("done")


def scrape(runtime):
    """What is served: type and samples by name."""
    url = f"http://{runtime.metrics_address}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    samples = re.findall(r"^([^#\s{]+)(\{.*\})? (\S+)$", text, re.MULTILINE)
    return types, {name + labels: float(value) for name, labels, value in samples}


def run_a_round(runtime, version=4):
    theta = {"w": np.ones(TOY_SIZE, dtype=np.float32)}
    ClusterExecutor(runtime).run(version, theta, toy_shards(0))


def test_the_page_lists_what_is_served_and_nothing_else(runtime):
    """Names, types, labels, and the values of labels that are fixed."""
    types, samples = scrape(runtime)
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| (.*?) \|", PAGE.read_text("utf-8"), re.MULTILINE
    )
    listed = {name: kind for name, kind, _ in rows}
    assert listed == {
        name: kind for name, kind in types.items() if "_created" not in name
    }
    for name, _, labels in rows:
        for label, values in re.findall(r"`(\w+)`: ((?:`\w+`(?:, )?)+)", labels):
            served = {
                found.group(1)
                for sample in samples
                if sample.startswith(f"{name}{{")
                and (found := re.search(rf'{label}="(\w+)"', sample))
            }
            assert served == set(re.findall(r"\w+", values)), name


@pytest.mark.parametrize("file", ["grafana.json", "alerts.yml"])
def test_dashboard_and_alerts_name_only_what_is_served(runtime, file):
    """Metrics, and the values of labels that they select."""
    text = (PAGE.parent / "monitoring" / file).read_text("utf-8")
    asked = set(re.findall(r"\bmlpeft_\w+", text))
    types, samples = scrape(runtime)
    buckets = {f"{name}_bucket" for name, kind in types.items() if kind == "histogram"}
    assert asked <= {*types, *buckets}
    assert len(asked) > 3
    selected = re.findall(r'(state|cause|result)=~?\\?"([\w|]+)\\?"', text)
    values = {value for _, group in selected for value in group.split("|")}
    labels = " ".join(samples)
    assert [value for value in values if f'"{value}"' not in labels] == []


def test_every_alert_has_a_remedy_on_the_page_of_the_weekend():
    rules = yaml.safe_load((PAGE.parent / "monitoring" / "alerts.yml").read_text())
    (group,) = rules["groups"]
    page = (PAGE.parent / "weekend.md").read_text("utf-8")
    for rule in group["rules"]:
        assert f"| {rule['alert']} |" in page
        assert rule["annotations"]["summary"]


def test_rounds_shards_and_the_version_are_counted(runtime):
    before = scrape(runtime)[1]
    assert (before["mlpeft_theta_version"], before["mlpeft_rounds_total"]) == (-1, 0)
    run_a_round(runtime)
    run_a_round(runtime, version=5)
    after = scrape(runtime)[1]
    assert after["mlpeft_theta_version"] == 5
    assert after["mlpeft_rounds_total"] == after["mlpeft_round_seconds_count"] == 2
    assert after["mlpeft_shards_total"] == 2 * len(toy_shards(0))
    assert after["mlpeft_backups_total"] == 0
    assert after['mlpeft_workers{state="idle"}'] == 1
    assert after['mlpeft_worker_lag_seconds{worker="local-0"}'] >= 0


def test_failures_are_counted_by_cause():
    """Each shard fails once, and its second attempt counts."""
    seen = set()

    def fail_once(update):
        if update.index not in seen:
            seen.add(update.index)
            raise MlpeftError("no more memory")
        return update

    runtime = started(runner=lambda: ToyRunner(fail_once))
    run_a_round(runtime)
    samples = scrape(runtime)[1]
    runtime.close("done")
    assert samples['mlpeft_failures_total{cause="failed"}'] == len(toy_shards(0))
    assert samples['mlpeft_failures_total{cause="lost"}'] == 0


def test_a_port_that_is_taken_is_one_clear_message(runtime):
    port = int(runtime.metrics_address.rpartition(":")[2])
    with pytest.raises(
        MlpeftError, match=rf"cannot serve metrics on 127\.0\.0\.1:{port}"
    ):
        started(port)


def test_without_a_port_nothing_is_served():
    runtime = started(port=None)
    runtime.close("done")
    assert runtime.metrics_address is None
