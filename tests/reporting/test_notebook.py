"""In a notebook: one bar that is redrawn, not lines."""

import sys
import types
from pathlib import Path

import pytest

from mlpeft.config import RunConfig
from mlpeft.reporting import JsonlReporter, build_reporters, usual_reporter
from mlpeft.reporting.notebook import (
    NotebookReporter,
    in_notebook,
    notebook_progress,
)

CONFIG = RunConfig.from_dict(
    {"run": {"name": "tiny"}, "meta_learning": {"num_meta_iterations": 4}}
)


class Kernel:
    """A notebook; its displays in their last state, and all states."""

    def __init__(self):
        self.displays: list[list[dict]] = []
        self.kernel = object()

    def display(self, data, raw, display_id):
        assert raw
        assert display_id is True
        states = [data]
        self.displays.append(states)

        def update(new, raw):
            assert raw
            states.append(new)

        return types.SimpleNamespace(update=update)


@pytest.fixture
def kernel(monkeypatch) -> Kernel:
    made = Kernel()
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: made
    module = types.ModuleType("IPython.display")
    module.display = made.display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return made


def test_a_training_is_one_bar(kernel, capsys):
    now = [0.0]
    reporter = NotebookReporter(lambda: now[0])
    reporter.start(CONFIG, Path("run"), 0)
    for iteration in range(1, 5):
        now[0] += 1.0
        reporter.iteration(iteration, {"support_loss": 1 / iteration})
    reporter.close()
    (states,) = kernel.displays
    assert len(states) >= 4
    assert 'max="4"' in states[-1]["text/html"]
    assert 'value="4"' in states[-1]["text/html"]
    assert "tiny 4/4" in states[-1]["text/plain"]
    assert "loss 0.250" in states[-1]["text/html"]
    assert "done" in states[-1]["text/plain"]
    assert capsys.readouterr().out == ""
    reporter.message("stopping early")
    assert capsys.readouterr().out == "stopping early\n"


def test_the_last_state_is_shown_however_quick_the_run_was(kernel):
    reporter = NotebookReporter(lambda: 0.0)
    reporter.start(CONFIG, Path("run"), 0)
    reporter.iteration(4, {"support_loss": 0.5})
    reporter.close()
    assert "4/4" in kernel.displays[0][-1]["text/plain"]


def test_names_are_escaped(kernel):
    notebook_progress("<b>bold</b>", 2)(2)
    assert "&lt;b&gt;bold" in kernel.displays[0][0]["text/html"]


def test_a_notebook_chooses_the_bar_and_other_processes_do_not(
    kernel, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert in_notebook()
    kinds = [type(each) for each in usual_reporter().reporters]
    assert kinds == [JsonlReporter, NotebookReporter]
    kinds = [type(each) for each in build_reporters(CONFIG).reporters]
    assert kinds[-1] is NotebookReporter
    del kernel.kernel  # a terminal's IPython
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()
    assert isinstance(usual_reporter(), JsonlReporter)
    assert notebook_progress("Evaluating", 2) is None
