"""The docs site: it builds, has all that is made from the code, and fetches nothing."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from mlpeft.config import RunConfig
from tools.site import __main__ as site
from tools.site.api import public_names
from tools.site.messages import GAP, sentences
from tools.site.pages import barred, filled, linked, write_pages

ROOT = Path(__file__).resolve().parents[2]
TAG = re.compile(r"<(?:script|link|img|iframe)\b[^>]*>")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    for name in ("mlpeft", "tools"):  # what mkdocs.yml names
        (folder / name).symlink_to(ROOT / name)
    assert site.build(folder) == 0, "make docs says what is wrong"
    return folder / site.SITE


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    """The folder of the site's pages in Markdown."""
    folder = tmp_path_factory.mktemp("pages")
    write_pages(ROOT, folder)
    return folder


def navigation(entry: object) -> list[str]:
    """The pages of a part of mkdocs.yml's `nav`."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in navigation(part)]


def test_every_page_is_built_and_in_the_navigation_once(built, pages):
    nav = navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(nav) == sorted(page.name for page in pages.glob("*.md"))
    for page in nav:
        assert (built / page).with_suffix(".html").is_file()


def test_a_link_to_a_page_that_is_not_there_fails_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n[there](nowhere.md)\n")
    (tmp_path / "mkdocs.yml").write_text("site_name: test\n")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0


def test_names_of_pages_become_links_with_their_titles_outside_of_code():
    links = {"docs/when.md": ("Does it pay?", "when.md")}
    text = "See docs/when.md#rule, not `docs/when.md`.\n\n```\ndocs/when.md\n```\n"
    assert linked(text, "docs/a.md", links) == (
        "See [Does it pay?](when.md#rule), not `docs/when.md`.\n\n"
        "```\ndocs/when.md\n```\n"
    )
    assert linked("see docs/when.md", "docs/when.md", links) == "see docs/when.md"
    picture = "![p](docs/images/demo.png) [w](docs/when.md)"
    assert linked(picture, "README.md", links) == "![p](images/demo.png) [w](when.md)"


def test_a_bar_in_the_code_of_a_table_is_a_bar():
    row = r"| `dask\|ray` | `a < b \| c` |"
    assert barred(row) == (
        "| <code>dask&#124;ray</code> | <code>a &lt; b &#124; c</code> |"
    )
    assert barred(r"`grep a\|b`") == r"`grep a\|b`"


def test_a_part_that_nothing_makes_is_an_error():
    with pytest.raises(ValueError, match="no code makes 'nothing'"):
        filled("<!-- made by make docs: nothing -->", ROOT)


def test_every_command_and_option_is_on_its_page(pages):
    import coordinator.cli
    import mlpeft.cli
    import worker.cli

    text = (pages / "commands.md").read_text("utf-8")
    for app in (mlpeft.cli.app, coordinator.cli.app, worker.cli.app):
        waiting = [typer.main.get_command(app)]
        while waiting:
            command = waiting.pop()
            waiting += getattr(command, "commands", {}).values()
            for parameter in () if command.hidden else command.params:
                hidden = getattr(parameter, "hidden", False)
                if parameter.name != "version" and parameter.help and not hidden:
                    assert re.split(r"[|<\[\n]", parameter.help)[0] in text
    assert "### `mlpeft data import`" in text
    assert "### `mlpeft-coordinator workers revoke`" in text


def test_every_key_has_a_heading_its_default_and_its_meaning(pages):
    text = (pages / "configuration.md").read_text("utf-8")
    for section, field in RunConfig.model_fields.items():
        for key, entry in type(field.default).model_fields.items():
            part = text.partition(f"\n### {section}.{key}\n")[2].partition("\n###")[0]
            default = RunConfig().to_dict()[section][key]
            assert f"*Default* `{json.dumps(default)}`" in part
            assert (entry.description or "?")[1:30].replace("<", "&lt;") in part


def test_every_public_name_is_described_with_defaults_as_values(built):
    html = (built / "api.html").read_text("utf-8")
    for module, name in public_names(ROOT):
        assert f'id="{module}.{name}"' in html
    assert "_META" not in html


def all_texts() -> str:
    """Every string of the code, with what differs each time as `GAP`."""
    texts = []
    for program in ("mlpeft", "coordinator", "worker"):
        for path in (ROOT / program).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
                elif isinstance(node, ast.JoinedStr):
                    values = [getattr(part, "value", GAP) for part in node.values]
                    parts = [part if isinstance(part, str) else GAP for part in values]
                    texts.append("".join(parts))
    return "\n".join(texts)


def test_every_message_that_troubleshooting_quotes_exists():
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    quoted = re.findall(r"^\| `([^`]+)`", page, re.MULTILINE)
    assert len(quoted) > 20
    known = all_texts()
    foreign = {"No route to host"}  # macOS says it
    assert [text for text in quoted if text not in known and text not in foreign] == []


def test_messages_that_are_raised_and_returned_are_found():
    code = """
def f(path):
    if path:
        raise DataError(f"no file at {path}; give the path of one")
    raise AssertionError("this is our own mistake")

def g(worker):
    log.warning("worker %s is slow; look at it", worker)
    log.info("worker %s has joined this run", worker)

def write_problem(n):
    return f"{n} files cannot be written; free some space" if n else None
"""
    assert set(sentences(ast.parse(code))) == {
        "no file at …; give the path of one",
        "worker … is slow; look at it",
        "… files cannot be written; free some space",
    }


def test_lists_follow_a_blank_line_as_python_markdown_needs(pages):
    wrong = []
    for page in pages.glob("*.md"):
        fenced, before = False, ""
        for line in page.read_text("utf-8").splitlines():
            fenced ^= line.lstrip().startswith("```")
            begins = re.match(r"(- |\d+\. )", line)
            inside = re.match(r"(- |\d+\. |\s|$)", before)
            if begins and not inside and not fenced:
                wrong.append(f"{page.name}: {line}")
            before = line
    assert wrong == []


def test_the_site_fetches_nothing_from_elsewhere(built):
    found = {
        address
        for page in built.glob("*.html")
        for tag in TAG.findall(page.read_text("utf-8"))
        for address in re.findall(r"(?:src|href)=[\"']?(https?:[^\"' >]*)", tag)
    }
    assert found == set()


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
def test_the_search_finds_a_key_without_a_server(built):
    driver = pytest.importorskip("playwright.sync_api")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        page = browser.new_page()
        outside: list[str] = []
        page.on("request", lambda request: outside.append(request.url))
        page.goto((built / "index.html").as_uri())
        page.keyboard.press("Control+k")
        page.get_by_role("combobox").fill("inner_grad_clip")
        page.get_by_role("option", name="meta_learning.inner_grad_clip").click()
        page.wait_for_url("**/configuration.html*")
        browser.close()
    assert [url for url in outside if url.startswith("http")] == []
