"""The OpenAPI page in a real browser: it shows every request, and sends them."""

from __future__ import annotations

from tests.dashboard.conftest import browser  # noqa: F401 - a fixture


def test_the_page_shows_every_request_and_sends_one(browser, served, tmp_path):  # noqa: F811
    problems = []
    page = browser.new_page(viewport={"width": 900, "height": 900})
    page.set_default_timeout(8000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text))
    page.goto(f"{served.url}/docs")
    api = served.json("GET", "/openapi.json")[1]
    shown = page.locator("details")
    shown.first.wait_for()
    assert shown.count() == sum(len(methods) for methods in api["paths"].values())
    learning = page.locator("details", has_text="POST/adaptersMake")
    learning.locator("summary").click()
    learning.get_by_role("button", name="Send").click()
    learning.locator("pre", has_text='"id": "tickets"').wait_for()
    predicting = page.locator("details", has_text="POST/predict")
    predicting.locator("summary").click()
    predicting.get_by_role("button", name="Send").click()
    predicting.locator("pre", has_text='"label": "refund"').wait_for()
    page.screenshot(path=tmp_path / "page.png")
    page.close()
    assert problems == []
