"""The page in a real Chromium."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from mlpeft.dashboard.run_folder import RunFolder
from mlpeft.report.failures import png
from mlpeft.report.page import render
from tests.dashboard.staged import go_on, overview, worker

DOT = png(np.zeros((2, 2, 1), np.uint8))
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


def test_the_page_fills_with_run_curves_workers_timeline_and_log(page):
    assert page.locator("#run-name").text_content() == "intents"
    assert page.locator("#iteration").text_content() == "412"
    page.locator("[data-chart=loss] svg .line").first.wait_for()
    page.locator("[data-chart=validation] svg .band").first.wait_for()
    assert page.locator("#tiles > li").count() == 8
    assert "began" in page.locator("#lines").text_content()
    filled = page.evaluate(
        """() => {
          const c = document.getElementById("lanes");
          return c.getContext("2d").getImageData(0, 0, c.width, c.height)
            .data.some((value) => value !== 0);
        }"""
    )
    assert filled


def test_who_needs_attention_comes_first_with_the_reason_in_words(page):
    first = page.locator("#tiles > li").first
    assert first.locator("h3").text_content() == "mac-08"
    assert "3 failed attempts in a row" in first.locator(".reason").text_content()
    second = page.locator("#tiles > li").nth(1)
    assert "a backup runs on mac-02" in second.locator(".reason").text_content()
    assert "for 9 s" in page.locator("#question").text_content()


def test_the_page_follows_the_run_without_a_reload(page, source, log_file):
    go_on(source, 88)
    with log_file.open("a") as file:
        line = {"time": 2.0, "level": "WARNING", "logger": "x", "text": "mac-09 left"}
        file.write(json.dumps(line) + "\n")
    page.locator("#iteration", has_text="500").wait_for()
    page.locator("#lines .WARNING").wait_for()


def test_a_worker_that_left_stays_greyed_with_its_reason(page):
    page.locator("#departed summary").click()
    left = page.locator("#departed li")
    assert "mac-09" in left.text_content()
    assert "the connection broke" in left.text_content()


def test_the_page_comes_back_after_a_restart_of_its_server(page, served, source):
    served.stop()
    page.locator("#link.broken").wait_for()
    go_on(source, 10)
    served.start()
    page.locator("#link.live").wait_for()
    page.locator("#iteration", has_text="422").wait_for()


def test_the_page_says_that_the_coordinator_is_gone_and_keeps_what_was(page, source):
    source.gone = "no coordinator answers at head:50051"
    page.locator("#question.problem").wait_for()
    assert "no coordinator answers" in page.locator("#question").text_content()
    assert page.locator("#tiles > li").count() == 8
    source.gone = ""
    page.locator("#question.problem").wait_for(state="detached")


def test_a_button_asks_once_and_says_what_happened(page, source):
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_role("button", name="Cancel").click()
    assert source.asked == []
    page.get_by_role("button", name="Drain mac-01").click()
    page.locator("#confirm-yes").click()
    page.locator("#answer", has_text="drain mac-01 is done").wait_for()
    assert source.asked == [("drain", "mac-01", "a user of the dashboard")]


def test_a_hostile_worker_name_stays_text(page, source, log_file):
    hostile = worker(HOSTILE, quarantined=HOSTILE, device=HOSTILE)
    source.shown = overview([hostile], wait=HOSTILE, run="intents")
    with log_file.open("a") as file:
        line = {"time": 2.0, "level": "INFO", "logger": HOSTILE, "text": HOSTILE}
        file.write(json.dumps(line) + "\n")
    page.locator("#tiles h3", has_text="onerror").wait_for()
    page.locator("#lines .text", has_text="onerror").wait_for()
    assert page.locator("main img").count() == 0
    assert page.evaluate("window.hacked") is None


def test_dragging_over_a_curve_zooms_and_hovering_shows_values(page):
    chart = page.locator("[data-chart=loss] svg")
    chart.locator(".line").first.wait_for()
    box = chart.bounding_box()
    middle = box["y"] + 100
    page.mouse.move(box["x"] + 200, middle)
    page.locator("#tip", has_text="query loss").wait_for()
    page.mouse.down()
    page.mouse.move(box["x"] + 350, middle)
    page.mouse.up()
    page.locator("#unzoom").click()
    page.locator("#unzoom").wait_for(state="hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_violation(page, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.locator("[data-chart=validation] svg .band").first.wait_for()
    result = axe.Axe().run(page)
    assert result.response["violations"] == [], result.generate_report()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width


def test_the_keyboard_reaches_a_button_and_its_dialog(page, source):
    page.get_by_role("button", name="Stop after this round").focus()
    page.keyboard.press("Enter")
    page.locator("#confirm[open]").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#answer", has_text="done").wait_for()
    assert source.asked[0][0] == "stop"


def test_two_hundred_workers_are_shown_without_a_mile_of_tiles(page, source):
    many = [worker(f"mac-{i:03}") for i in range(200)]
    many[150] = replace(many[150], quarantined="too many failures")
    source.shown = overview(many)
    page.locator("#all-workers", has_text="Show all 200").wait_for()
    assert page.locator("#tiles > li").count() == 24
    assert page.locator("#tiles h3").first.text_content() == "mac-150"
    page.locator("#all-workers").click()
    assert page.locator("#tiles > li").count() == 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_a_report(browser, run_dir, tmp_path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    folder = RunFolder(run_dir)
    folder.read()
    record = {
        "episodes": 2,
        "classes": [{"name": n, "accuracy": 0.5, "queries": 2} for n in "ab"],
        "pairs": [["a", "a", 1, 2], ["a", "b", 1, 2], ["b", "b", 1, 2]],
        "tasks": [{"classes": ["a", "b"], "accuracy": 0.5}],
        "examples": [
            {"class": "a", "taken_for": "b", "text": "where is it"},
            {"class": "a", "taken_for": "b", "image": base64.b64encode(DOT).decode()},
        ],
    }
    path = tmp_path / "report.html"
    path.write_text(render([folder], {"intents": record}))
    page = browser.new_page(color_scheme=scheme)
    # The report forbids scripts; only this test lets one in, to look at it.
    page.set_content(path.read_text().replace("default-src &#x27;none&#x27;;", ""))
    result = axe.Axe().run(page)
    page.close()
    assert result.response["violations"] == [], result.generate_report()
