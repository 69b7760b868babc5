"""The table of kinds of language models has every kind that mlx-lm knows."""

from __future__ import annotations

import pytest

pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")

from tools.language_models import __main__ as command


def test_the_table_has_every_kind_of_mlx_lm():
    text = command.PAGE.read_text(encoding="utf-8")
    assert [k for k in command._all_kinds() if f"\n| {k} |" not in text] == []


def test_a_kind_that_ends_the_process_is_told_and_the_others_go_on(monkeypatch):
    started = []

    class Child:
        """Reports all kinds up to one that kills it."""

        def __init__(self, words, **_):
            kinds = words[words.index("--child") + 1 :]
            started.append(kinds)
            alive = kinds[: kinds.index("bad")] if "bad" in kinds else kinds
            self.stdout = [f'{{"kind": "{kind}"}}\n'.encode() for kind in alive]

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(command.subprocess, "Popen", Child)
    reports = list(command._reports(["a", "bad", "b"]))
    assert [report["kind"] for report in reports] == ["a", "bad", "b"]
    assert reports[1]["missing"] == "ends the process"
    assert started == [["a", "bad", "b"], ["b"]]
