"""Make the README's two pictures of the app, with the server and the browser of the tests.

    python docs/make_pictures.py

Needs what tests/browser needs. The store is made for it, with a seed, at an instant of its own, and with unfinished
tasks, so that there are dangers to see; the pictures differ from run to run only where fonts do.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser.conftest import FLAGS  # noqa: E402 - found where the line above says
from browser.guard import Guard  # noqa: E402
from browser.lab import Lab  # noqa: E402
from browser.server import LabServer  # noqa: E402
from parts import chromium  # noqa: E402
from playwright.sync_api import Locator, Page, ViewportSize, expect, sync_playwright  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
VIEWPORT = ViewportSize(width=1590, height=3000)  # so wide that tables are whole
SCALE = 0.8  # of the pictures, which are not to be wider than a page
WAITING_DAYS = [1, 2, 3, 5, 8, 13]
AS_OF = "2026-11-22T00:00:00+00:00"

CELL = f"""
from datetime import datetime
import storekit as sk
store = sk.connect("airflow.db", clock=sk.ManualClock(datetime.fromisoformat("{AS_OF}")))
app = sk.explore(store)
app.state.lab.mode = "as-if"
app.state.lab.horizon_days = 30
app.state.lab.compared = [0, 2]
app
"""


def main() -> None:
    """Write both files."""
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="pictures-") as home,
        Guard() as guard,
        LabServer(Path(home)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS, proxy=guard.proxy)
        lab = Lab(server, browser, guard)
        context = browser.new_context(viewport=VIEWPORT, device_scale_factor=SCALE, reduced_motion="reduce")
        guard.watch(context)
        lab._contexts["light"] = context
        generate = [sys.executable, str(ROOT / "data/fixtures/generate.py"), str(lab.files / "airflow.db")]
        waiting = [word for days in WAITING_DAYS for word in ("--waiting", str(days))]
        subprocess.run([*generate, "--rows", "20000", "--seed", "0", *waiting], check=True)  # noqa: S603 - our own script
        lab.write("pictures", [CELL])
        page = lab.open("pictures")
        expect.set_options(timeout=60_000)
        lab.run_all(page)
        page.evaluate("() => window.jupyterapp.shell.collapseLeft()")

        page.get_by_role("tab", name="What if", exact=True).click()
        expect(page.locator(".main-svg path.js-line").nth(8)).to_be_attached()
        heading = page.get_by_role("heading", name="Who lives under one and dies under another")
        expect(heading).to_be_visible()
        meanings = page.locator(".sk-view:visible p.sk-soft", has_text="deleted now")  # of the table's headings
        take(page, PICTURES / "lab.png", until=meanings)

        page.get_by_role("tab", name="Preview", exact=True).click()
        page.get_by_label("Danger", exact=True).select_option("unfinished task")
        rows = page.locator(".sk-table:visible").last.locator("tbody tr")
        expect(rows.first).to_contain_text("unfinished-task")
        take(page, PICTURES / "preview.png", through=rows.last)
        browser.close()


def take(page: Page, file: Path, *, until: Locator | None = None, through: Locator | None = None) -> None:
    """Write the app as a PNG, from its tabs to an element that is left out, or the last one that is not."""
    page.mouse.move(0, 0)
    page.evaluate("() => document.activeElement.blur()")
    page.wait_for_timeout(1_000)  # plotly draws its last line when nobody asks any more
    box = page.get_by_role("tablist", name="Sections").bounding_box()
    last = (until or through).bounding_box() if until or through else None
    if box is None or last is None:
        raise SystemExit(f"nothing to take a picture of: {file.name}")
    bottom = last["y"] if until else last["y"] + last["height"] + 1
    clip = {"x": box["x"] - 8, "y": box["y"], "width": box["width"] + 16, "height": bottom - box["y"]}
    taken = page.screenshot(clip=clip, animations="disabled")  # type: ignore[arg-type]
    file.write_bytes(taken)
    print(f"{file.relative_to(ROOT)}: {len(taken) / 1000:.0f} kB")  # noqa: T201 - a script says what it did


if __name__ == "__main__":
    main()
