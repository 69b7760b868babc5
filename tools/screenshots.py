"""Take the pictures of the dashboard in docs/images.

    python tools/screenshots.py          # needs chromium, and the dev group

The cluster is the staged one of the tests, the browser is real.
"""

# ruff: noqa: INP001, T201 - a script

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 300_000
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402

from mlpeft.cluster.overview import RunProgress  # noqa: E402
from mlpeft.config import RunConfig  # noqa: E402
from mlpeft.dashboard.log_tail import LogTail  # noqa: E402
from mlpeft.dashboard.monitor import Monitor  # noqa: E402
from mlpeft.dashboard.run_folder import RunFolder  # noqa: E402
from mlpeft.dashboard.web.access import Access  # noqa: E402
from mlpeft.dashboard.web.serve import DashboardServer  # noqa: E402
from tests.dashboard.staged import lab, write_log, write_run  # noqa: E402


def monitor(folder: Path) -> Monitor:
    """A lab in the middle of a run."""
    run = write_run(folder / "intents", 5412, 400)
    changes = ["run.name=intents", "meta_learning.num_meta_iterations=8000"]
    config = RunConfig.load(ROOT / "configs" / "intents.yaml", changes)
    (run / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    source = lab()
    progress = RunProgress(5412, 8000, 4.2, 616.0, "")
    source.shown = replace(source.shown, progress=progress)
    return Monitor(source, [RunFolder(run)], LogTail(write_log(folder)))


def shoot(browser: Browser, url: str, name: str, width: int, scheme: str) -> None:
    """A picture of the whole page."""
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type] - light or dark
        reduced_motion="reduce",
    )
    page.goto(url)
    page.locator("[data-chart=validation] svg .band").first.wait_for()
    page.locator("[data-chart=speed] svg .line").first.wait_for()
    page.wait_for_timeout(1500)
    path = IMAGES / name
    page.screenshot(path=path, full_page=True)
    page.close()
    _shrink(path)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size / 1000:.0f} kB")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has more than {MOST_BYTES} bytes")


def _shrink(path: Path) -> None:
    """Keep 255 colours: screens of text and curves look the same with them."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(255, dither=Image.Dither.NONE)
        small.save(path, optimize=True)


def main() -> None:
    """All pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no chromium on PATH; install one (apt-get install chromium)")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        access = Access(open_to_all=True, local=True)
        server = DashboardServer(monitor(Path(folder)), access)
        url = server.start("127.0.0.1", 0)
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        shoot(browser, url, "dashboard.png", 1280, "light")
        shoot(browser, url, "dashboard_dark.png", 1280, "dark")
        shoot(browser, url, "dashboard_phone.png", 390, "light")
        browser.close()
        server.close()


if __name__ == "__main__":
    main()
