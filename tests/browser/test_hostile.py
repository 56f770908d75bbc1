"""Keys and names that would do something if they were markup: shown as text everywhere, and nothing runs."""

from __future__ import annotations

from pathlib import Path

import nbformat
from playwright.sync_api import Page, expect
from small_store import HOSTILE, fill

import storekit as sk
from browser.app_page import SECTIONS, AppPage
from browser.lab import OUTPUTS, Lab

_ALONE = ("ContentsBrowser", "PolicyLab", "PreviewTable", "PlanReview")
_UNSEEN = {0x202E: "\\u202e", 0x202C: "\\u202c", 0x200B: "\\u200b"}
_PLANTED = "[onerror], [onmouseover], [href^='javascript'], script:not([type='application/json']), img[src='x'], iframe"
_TEXTS = "outputs => Array.from(outputs, each => each.textContent).join('\\n')"


def test_nothing_of_a_store_runs_in_the_app_or_in_a_widget_alone(lab: Lab) -> None:
    now = fill(lab.files / "hostile.db")
    opened = (
        "from datetime import datetime\nimport storekit as sk\n"
        f"clock = sk.ManualClock(datetime.fromisoformat({now.isoformat()!r}))\n"
        "store = sk.connect('hostile.db', writable=True, clock=clock)\n"
    )
    named = f"policies=[sk.Policy(name={HOSTILE[0]!r}), sk.Policy(default_retention_days=3)]"
    lab.write(
        "hostile",
        [f"{opened}app = sk.explore(store, {named})\napp", *(f"sk.notebook.{name}(store)" for name in _ALONE)],
    )
    page = lab.open("hostile")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    lab.run_all(page)
    app = AppPage(lab, page)
    expect(app.root.get_by_role("tab", name="Contents", exact=True)).to_be_visible()

    # A row whose key and value are markup: found, chosen, its value shown.
    box = app.root.get_by_role("textbox", name="Search")
    box.focus()
    page.keyboard.type(HOSTILE[1])
    expect(box).to_have_value(HOSTILE[1])
    app.expect_column("Rows", 0, [HOSTILE[1]])
    app.table("Rows").locator("tbody button").first.press("Enter")
    app.press("Show the value")
    expect(app.root.locator(".sk-code pre", has_text="window.storekitHit='script'").first).to_contain_text(HOSTILE[1])
    names = {"sk": sk, "snap": sk.connect(lab.files / "hostile.db", clock=sk.ManualClock(now)).snapshot()}
    assert app.run_python(most=1, **names)[0]["key"].tolist() == [HOSTILE[1]]
    app.press("Clear filters")
    # A facet whose value is markup.
    facet = app.root.get_by_role("group", name="Dag", exact=True)
    facet.get_by_role("button").filter(has_text=HOSTILE[0]).press("Enter")
    expect(app.table("Rows").locator("tbody [data-at='1'] .sk-cell").first).to_have_text(HOSTILE[0])
    app.press("Clear filters")
    app.table("Rows").get_by_label("Rows per page").select_option("100")

    for section in SECTIONS:
        app.open(section)
        if section == "Plan & clean":
            app.press("Make the plan")
            expect(app.table("Rows to delete")).to_be_visible()
        expect(app.root).to_contain_text(HOSTILE[0])
        if section == "What if":
            expect(app.root.locator(".legendtext").first).to_have_text(f"A: {HOSTILE[0]}")
    for at in range(1, len(_ALONE) + 1):
        expect(lab.output(page, at).get_by_role("group", name="The same in Python", exact=True)).to_be_visible()
    shown = page.locator(OUTPUTS).evaluate_all(_TEXTS)
    for each in HOSTILE:
        assert each.translate(_UNSEEN) in shown, each
    # What the mouse passes over, and what has the focus, does nothing either.
    for cell in app.root.locator(".sk-cell:visible").filter(has_text="window.storekitHit").all()[:5]:
        cell.hover()
    _inert(lab, page)
    assert dialogs == []


def test_nothing_of_a_store_runs_where_no_widget_can_be(lab: Lab, tmp_path: Path) -> None:
    now = fill(tmp_path / "small.db")
    app = sk.explore(sk.connect(tmp_path / "small.db", clock=sk.ManualClock(now)))
    app.state.section = "preview"
    shown = [app.fallback(), *(getattr(sk.notebook, name)(app.state.source.snapshot).fallback() for name in _ALONE)]
    cells = [
        nbformat.v4.new_code_cell(
            "app", outputs=[nbformat.v4.new_output("display_data", {"text/html": html, "text/plain": "app"})]
        )
        for html in shown
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    lab.write("still", nbformat.v4.new_notebook(cells=cells, metadata=metadata))
    page = lab.open("still")
    expect(lab.output(page, 0).get_by_role("table").first).to_be_visible()
    pictures = lab.output(page, 0).get_by_role("img")
    expect(pictures.first).to_be_visible()
    assert all(pictures.evaluate_all("all => all.map(each => each.naturalWidth > 0)"))
    text = page.locator(OUTPUTS).evaluate_all(_TEXTS)
    assert HOSTILE[0][:24] in text
    _inert(lab, page)
    lab.trust(page)  # with nothing taken out any more
    expect(lab.output(page, 0).get_by_role("table").first).to_be_visible()
    _inert(lab, page)


def _inert(lab: Lab, page: Page) -> None:
    assert page.evaluate("() => window.storekitHit") is None
    outputs = page.locator(OUTPUTS)
    assert outputs.locator(_PLANTED).count() == 0
    for each in "\u202e\u202c":  # ipywidgets writes the third one itself, where a label is empty
        assert each not in outputs.evaluate_all(_TEXTS)
    assert lab.errors(page) == []
