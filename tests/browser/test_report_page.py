"""The report as it lies on a disk: whole without a server, inert, and readable to all."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect
from small_store import HOSTILE, fill

import storekit as sk
from browser.app_page import CLOCK, NOW
from browser.axe import axe
from browser.lab import Lab, Theme
from browser.server import REPOSITORY
from storekit.frames.display import human_bytes

_BRIGHTNESS = """() => { const c = document.createElement('canvas').getContext('2d');
    c.fillStyle = 'white'; c.fillRect(0, 0, 1, 1);
    for (const each of [document.documentElement, document.body]) {
        c.fillStyle = getComputedStyle(each).backgroundColor; c.fillRect(0, 0, 1, 1); }
    return Array.from(c.getImageData(0, 0, 1, 1).data.slice(0, 3)).reduce((a, b) => a + b); }"""
_CUT = """() => Array.from(document.querySelectorAll('#contents .sk-scroll')).filter(
    each => each.scrollWidth > each.clientWidth).map(each => each.textContent.slice(0, 40))"""
_PICTURES = "() => Array.from(document.images, each => [each.naturalWidth > 0, each.alt])"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_report_has_the_numbers_of_python_and_nothing_against_it(lab: Lab, tmp_path: Path, theme: Theme) -> None:
    store = sk.connect(REPOSITORY / "data/fixtures/airflow-3.3.2.db", clock=sk.ManualClock(CLOCK))
    snap = store.snapshot()
    page = lab.open_file(sk.report(snap, tmp_path / "store.html", now=NOW), theme)
    body, preview = page.locator("body"), snap.preview(NOW)
    expect(body).to_contain_text(f"{preview.deleted}")
    expect(body).to_contain_text(human_bytes(preview.deleted_bytes))
    (line,) = snap.simulate(sk.Policy(default_retention_days=7), "90d", "as-if", now=NOW, future=False).summary.to_dict(
        "records"
    )
    row = page.locator("#as-if").get_by_role("row").filter(has_text="7 days").last
    expect(row).to_contain_text(f"{line['deleted_now']:,}")
    expect(row).to_contain_text(human_bytes(line["deleted_now_bytes"]))
    pictures = page.evaluate(_PICTURES)
    assert pictures
    assert all(drawn and alt for drawn, alt in pictures)
    assert (page.evaluate(_BRIGHTNESS) > 600) == (theme == "light")
    assert axe(page) == []
    assert page.evaluate(_CUT) == [], "a table of the contents is wider than its place"
    assert lab.errors(page) == []


def test_a_report_of_a_hostile_store_is_inert(lab: Lab, tmp_path: Path) -> None:
    now = fill(tmp_path / "small.db")
    backend = sk.MetastoreStateBackend(f"sqlite:///{tmp_path / 'small.db'}", clock=sk.ManualClock(now))
    large = sk.TaskStoreAccessor(backend, sk.TaskScope("etl", "run 0", "load 0", -1), clock=sk.ManualClock(now))
    large.set(HOSTILE[4], "x" * 5_000)  # among the largest, which are shown
    backend.close()
    snap = sk.connect(tmp_path / "small.db", clock=sk.ManualClock(now)).snapshot()
    page = lab.open_file(sk.report(snap, tmp_path / "store.html"))
    shown = page.locator("body").inner_text()
    assert HOSTILE[0][:24] in shown
    assert "a\\u202egnp.exe\\u202c" in shown
    assert "\u202e" not in page.content()
    assert page.evaluate("() => window.storekitHit") is None
    assert page.locator("body [onerror], body [onmouseover], body a[href^=javascript], body script").count() == 0
    expect(page.locator("h1").first).to_be_visible()
    assert lab.errors(page) == []
