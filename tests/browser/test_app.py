"""The app over a real Airflow database, driven by the keyboard: the page shows what the Python call returns."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
from playwright.sync_api import expect

import storekit as sk
from browser.app_page import CLOCK, NOW, AppPage, open_app
from browser.lab import Lab
from storekit.frames.display import human_bytes

# What the page has of a Python line drawn: its path, and a mark that a new element would not bear.
_MARK = "() => { document.querySelector('.main-svg').dataset.seen = 'before'; }"
_LINES = """() => { const svg = document.querySelector('.main-svg');
    return [svg.dataset.seen, ...Array.from(svg.querySelectorAll('path.js-line'), line => line.getAttribute('d'))]; }"""
_TABBED = """() => { const at = document.activeElement;
    const table = at.closest('.sk-table')?.querySelector('caption').textContent;
    const name = at.getAttribute('aria-label') || at.labels?.[0]?.textContent || at.textContent;
    return [Boolean(at.closest('.sk-app')), table ? `table ${table}` : '', name.trim()];
}"""
_MOST_STOPS = 90
_PASSED = (
    " churn_model",
    *(f"table Rows {each}" for each in ("Rows", "key", "metrics", "Next page", "Rows per page")),
    " The same in Python",
)


def test_contents_are_searched_narrowed_sorted_and_paged_by_keyboard(lab: Lab) -> None:
    app, file = open_app(lab, "contents")
    snap, page = _store(file).snapshot(), app.page
    _shows(app, snap, snap.select(now=NOW))
    cells = app.cells()

    stops = _tab_through(app)
    names = [name for _, name in stops]
    wanted = ["Search", "Rows of", "Clear filters"]
    assert names[:3] == wanted
    order = [next(at for at, stop in enumerate(stops) if " ".join(stop).startswith(each)) for each in _PASSED]
    assert order == sorted(order)
    keys = set(snap.select(now=NOW).rows()["key"])
    assert len([name for table, name in stops if table and name in keys]) == 1, "twenty-five rows are one stop"

    box = app.root.get_by_role("textbox", name="Search")
    box.focus()
    page.keyboard.type("cursor")
    found = snap.select(now=NOW, text="cursor")
    assert len(found) == 16
    _shows(app, snap, found)
    app.press("Clear filters", "Space")
    _shows(app, snap, snap.select(now=NOW))
    expect(box).to_have_value("")

    facet = app.root.get_by_role("group", name="Dag", exact=True)
    line = facet.get_by_role("button", name=re.compile("orders_etl"))
    found = snap.select(now=NOW, dag_id="orders_etl")
    expect(line).to_contain_text(f"{len(found)}")
    expect(line).to_contain_text(human_bytes(found.value_bytes))
    line.focus()
    assert app.cells() == cells
    page.keyboard.type("abddxy")  # Lab's own commands: a cell above, one below, this one deleted, cut, …
    page.keyboard.press("Enter")
    expect(line).to_have_attribute("aria-pressed", "true")
    _shows(app, snap, found)
    assert app.cells() == cells

    size = app.table("Rows").get_by_role("button", name=re.compile("^size"))
    size.press("Enter")
    _shows(app, snap, found, sort="value_bytes")
    size.press("Enter")
    expect(app.table("Rows").locator("th[aria-sort]")).to_have_attribute("aria-sort", "descending")
    _shows(app, snap, found, sort="value_bytes", descending=True)
    app.table("Rows").get_by_role("button", name="Last page").press("Enter")
    last = (len(found) - 1) // 25 * 25
    _shows(app, snap, found, offset=last, sort="value_bytes", descending=True)
    expect(app.table("Rows").get_by_role("spinbutton", name="Page")).to_have_value(str(last // 25 + 1))

    # A value is there when it was asked for, and not before.
    (row,) = found.rows(1, last, sort="value_bytes", descending=True).to_dict("records")
    value = _stored(file, row)
    assert value not in page.locator(".sk-app").inner_text().split("\n")
    app.table("Rows").locator("tbody button").first.press("Enter")
    app.press("Show the value")
    shown = app.root.get_by_role("group", name=re.compile("^Value: "))
    expect(shown).to_have_text(value)
    app.agree(lambda given: _equal(given[-1].tolist(), [value]), snap=snap, store=_store(file))

    # What cannot be answered says so with its remedy; what was there stays.
    app.type_into("Judge at (UTC)", "tomorrow")
    expect(app.alert).to_contain_text("tomorrow")
    expect(app.alert.locator(".sk-hint")).to_contain_text("2026-11-22T10:00:00Z")
    _shows(app, snap, found, offset=last, sort="value_bytes", descending=True)
    app.type_into("Judge at (UTC)", NOW)
    expect(app.alert).to_have_count(0)
    assert lab.errors(page) == []


def test_a_slider_draws_the_lines_and_says_the_numbers_of_a_simulation(lab: Lab) -> None:
    app, file = open_app(lab, "lab")
    snap, page = _store(file).snapshot(), app.page
    cells = app.cells()
    app.open("What if")
    policies = [sk.Policy(name="A: as written"), _days("B", 30), _days("C", 14)]
    _lab_shows(app, snap, policies, "forward")

    page.wait_for_function("() => document.querySelectorAll('.main-svg path.js-line').length > 5")
    page.evaluate(_MARK)
    before = page.evaluate(_LINES)
    slider = app.root.get_by_role("slider", name="B: 30 days, days")
    slider.focus()
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    page.keyboard.type("bddx")
    expect(app.root.get_by_role("slider", name="B: 21 days, days")).to_be_focused()
    policies[1] = _days("B", 21)
    _lab_shows(app, snap, policies, "forward")
    page.wait_for_function(f"before => JSON.stringify(({_LINES})()) !== JSON.stringify(before)", arg=before)
    after = page.evaluate(_LINES)
    assert after[0] == "before", "the figure was made anew"
    assert len(after) == len(before)
    assert app.cells() == cells

    # A section that was left and opened again is as it was, and its figure goes on.
    app.open("Preview")
    app.open("What if")
    slider = app.root.get_by_role("slider", name="B: 21 days, days")
    before = page.evaluate(_LINES)
    slider.press("ArrowLeft")
    policies[1] = _days("B", 20)
    _lab_shows(app, snap, policies, "forward")
    page.wait_for_function(f"before => JSON.stringify(({_LINES})()) !== JSON.stringify(before)", arg=before)
    assert lab.errors(page) == []

    # The box beside it, and another way of asking.
    box = app.root.get_by_role("spinbutton", name="C: 14 days, days")
    box.fill("2")
    policies[2] = _days("C", 2)
    mode = app.root.get_by_role("combobox", name="Rows that exist")
    mode.press("ArrowDown")
    _lab_shows(app, snap, policies, "as-if")
    app.root.get_by_role("combobox", name="and die under").press("ArrowDown")
    simulation = _lab_shows(app, snap, policies, "as-if", compared=("A: as written", policies[2].name))
    differ = simulation.difference("A: as written", policies[2].name)
    assert len(differ) > 50
    app.expect_total("Rows that differ", f"{len(differ)} rows, {human_bytes(int(differ['value_bytes'].sum()))}")
    app.expect_column("Rows that differ", 0, differ["key"].head(10).tolist())

    dag = app.root.get_by_role("combobox", name="Dag", exact=True)
    dag.fill("orders_etl")
    dag.press("Enter")
    _lab_shows(app, snap, policies, "as-if", compared=("A: as written", policies[2].name), dag_id="orders_etl")
    exported = app.root.get_by_role("group", name=re.compile("TOML")).inner_text()
    assert "default_retention_days = 2" in exported
    assert lab.errors(page) == []


def test_a_preview_is_that_of_python_in_force_and_under_a_policy(lab: Lab) -> None:
    app, file = open_app(lab, "preview")
    snap = _store(file).snapshot()
    app.open("Preview")
    preview = snap.preview(NOW)
    big = app.root.locator(".sk-big:visible")
    expect(big).to_have_text([f"{preview.deleted:,}", f"{preview.kept:,}"])
    _preview_shows(app, snap, snap.select(now=NOW, verdict="delete").rows(25), preview.deleted)
    told, _ = app.run_python(snap=snap)
    assert (told.deleted, told.kept, told.deleted_bytes) == (preview.deleted, preview.kept, preview.deleted_bytes)

    app.root.get_by_role("combobox", name="Group by").press("ArrowDown")
    by_task = preview.by("task_id").head(10)
    app.expect_column("By task", 1, [f"{each:,}" for each in by_task["deleted"]])
    app.root.get_by_role("combobox", name="Rows listed").press("ArrowDown")
    _preview_shows(app, snap, snap.select(now=NOW, verdict="keep").rows(25), preview.kept)

    under = app.root.get_by_role("combobox", name="Policy", exact=True)
    for _ in range(3):
        under.press("ArrowDown")
    policy = _days("C", 14)
    (line,) = snap.simulate(policy, "1d", "as-if", now=NOW, future=False).summary.to_dict("records")
    expect(big.first).to_have_text(_span(line["deleted_now"], line["deleted_now_high"]))
    unsure = line["deleted_now_high"] - line["deleted_now"]
    expect(big.last).to_have_text(_span(line["kept_now"] - unsure, line["kept_now"]))
    app.agree(lambda given: _equal(given[0]["deleted_now"].tolist(), [line["deleted_now"]]), snap=snap)
    app.expect_column("Rows", 0, app.run_python(snap=snap)[1]["key"].tolist())
    assert lab.errors(app.page) == []


def test_nothing_is_deleted_but_by_the_phrase_and_all_of_it_comes_back(lab: Lab) -> None:
    restore = (
        "done = app.state.plan.report\nif done:\n    print(sk.restore(done.archive, store, dry_run=False).restored)"
    )
    app, file = open_app(lab, "cleaning", restore)
    page, store = app.page, _store(file)
    snap, before = store.snapshot(), _rows(file)
    plan = snap.plan(NOW)
    # Planned ahead: what has not expired by the store's clock is kept.
    due = [row for row in before if row[-1] is not None and pd.Timestamp(row[-1], tz="UTC") < CLOCK]
    assert 0 < len(due) < len(plan) < len(before)

    app.open("Plan & clean")
    app.press("Make the plan")
    app.expect_total("Rows to delete", f"{len(plan)} rows, {human_bytes(plan.value_bytes)}")
    app.expect_column("Rows to delete", 0, plan.rows(10, 0)["key"].tolist())
    app.table("Rows to delete").get_by_role("button", name="Last page").press("Enter")
    app.expect_column("Rows to delete", 0, plan.rows(10, len(plan) // 10 * 10)["key"].tolist())
    app.press("Dry run")
    expect(app.root).to_contain_text("dry run")
    assert _rows(file) == before

    phrase = f"delete {len(plan)} rows"
    box, button = (
        app.root.get_by_role("textbox", name=f"Type {phrase} to confirm"),
        app.root.get_by_role("button", name=f"Delete {len(plan)} rows", exact=True),
    )
    for typed in ("delete", phrase.upper(), f"delete {len(plan) + 1} rows", f"{phrase} now"):
        box.fill(typed)
        expect(button).to_be_disabled()
        box.press("Enter")
    box.fill(phrase)
    expect(button).to_be_enabled()
    box.press("Enter")  # a habit, no confirmation
    app.press("Cancel")
    expect(box).to_have_value("")
    expect(button).to_be_disabled()
    lab.wait_idle(page)
    assert _rows(file) == before
    assert not list(lab.files.glob("archive-*"))

    calls = app.python
    box.focus()
    page.keyboard.type(phrase)
    page.keyboard.press("Tab")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    report = app.root.locator(".sk-box", has_text="To undo it")
    expect(report).to_be_visible()
    expect(app.root).to_contain_text(f"{len(due)} rows")
    assert sorted(_rows(file)) == sorted(set(before) - set(due))
    (archive,) = lab.files.glob("archive-*")
    assert archive.name in calls
    assert archive.name in report.inner_text()

    # What is gone is gone from every view, without asking.
    left = store.snapshot()
    assert len(left) == len(snap) - len(due)
    app.open("Contents")
    _shows(app, left, left.select(now=NOW))
    app.open("Preview")
    expect(app.root.locator(".sk-big:visible").first).to_have_text(str(len(plan) - len(due)))

    page.locator(".jp-CodeCell").nth(1).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    expect(lab.output(page, 1)).to_have_text(str(len(due)))
    assert _rows(file) == before
    app.press("Read again")
    app.open("Contents")
    _shows(app, snap, snap.select(now=NOW))
    assert lab.errors(page) == []


def test_two_apps_in_a_notebook_share_nothing(lab: Lab) -> None:
    app, file = open_app(lab, "two", f"other = sk.explore(store, now={NOW!r})\nother")
    other = AppPage(lab, app.page, 1)
    snap = _store(file).snapshot()
    everything, found = snap.select(now=NOW), snap.select(now=NOW, dag_id="churn_model")
    _shows(other, snap, everything)
    app.root.get_by_role("button", name=re.compile("churn_model")).press("Enter")
    _shows(app, snap, found)
    other.open("What if")
    other.root.get_by_role("slider", name="C: 14 days, days").press("ArrowRight")
    expect(other.root.get_by_role("slider", name="C: 15 days, days")).to_be_visible()
    other.type_into("Judge at (UTC)", "2026-11-24T00:00:00Z")
    expect(app.root.get_by_role("textbox", name="Judge at (UTC)", exact=True)).to_have_value(NOW)
    app.open("What if")
    expect(app.root.get_by_role("slider", name="C: 14 days, days")).to_be_visible()
    other.open("Contents")
    _shows(other, snap, snap.select(now="2026-11-24T00:00:00Z"))
    app.open("Contents")
    _shows(app, snap, found)
    assert lab.errors(app.page) == []


def test_dates_stay_dates_when_a_slider_moves(lab: Lab) -> None:
    app, _ = open_app(lab, "dates")
    app.open("What if")
    ticks = app.page.locator(".xtick text")
    expect(ticks.first).to_be_visible()
    before = ticks.all_text_contents()
    app.page.evaluate(_MARK)
    lines = app.page.evaluate(_LINES)
    slider = app.root.get_by_role("slider", name="B: 30 days, days")
    slider.focus()
    for _ in range(3):
        app.page.keyboard.press("ArrowLeft")
    expect(app.root.get_by_role("slider", name="B: 27 days, days")).to_be_visible()
    app.page.wait_for_function(f"before => JSON.stringify(({_LINES})()) !== JSON.stringify(before)", arg=lines)
    assert ticks.all_text_contents() == before
    for each in before:
        assert re.match(r"^(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d+", each), each
    assert lab.errors(app.page) == []


def test_who_presses_at_the_end_of_a_plan_sees_what_came_of_it(lab: Lab) -> None:
    slow = "import time\nclean = type(store).cleanup\n"
    slow += "def slowly(self, *args, progress, **named):\n"
    slow += "    for done in range(600):\n        progress(done, 600)\n        time.sleep(0.05)\n"
    slow += "type(store).cleanup = slowly"
    app, file = open_app(lab, "beside", slow)
    page, before = app.page, _rows(file)
    app.open("Plan & clean")
    app.press("Make the plan")
    phrase = app.root.locator(".sk-expected:visible").inner_text()
    box = app.root.get_by_role("textbox", name=f"Type {phrase} to confirm")
    box.fill(phrase)
    page.set_viewport_size({"width": 1280, "height": 700})
    box.press("Tab")
    page.keyboard.press("Enter")
    stop = app.root.get_by_role("button", name="Stop: Deleting").last
    expect(stop).to_be_in_viewport()
    expect(app.root.get_by_role("button", name="Make the plan")).to_be_disabled()
    expect(box).to_be_disabled()
    stop.press("Enter")
    expect(app.alert).to_contain_text("stopped")
    expect(app.alert).to_be_in_viewport()
    expect(box).to_be_enabled()
    assert _rows(file) == before
    assert lab.errors(page) == []


def test_a_saved_app_shows_its_tables_again_without_a_kernel_and_once_only_with_one(lab: Lab) -> None:
    inside = "import ipywidgets\nout = ipywidgets.Output()\nwith out:\n"
    inside += f"    display(sk.explore(store, now={NOW!r}))\nout"
    two = f"display(sk.notebook.PlanReview(store, now={NOW!r}))\nsk.notebook.PreviewTable(store, now={NOW!r})"
    app, _ = open_app(lab, "saved-app", inside, two)
    page = app.page
    for cell, shown in ((0, 1), (1, 1), (2, 2)):
        output = lab.output(page, cell)
        stand_ins = output.locator(".sk-stand-in")
        expect(stand_ins).to_have_count(shown)
        expect(output.get_by_role("group", name="The same in Python", exact=True)).to_have_count(shown)
        for at in range(shown):
            expect(stand_ins.nth(at)).to_be_hidden()
    errors = lab.errors(page)
    lab.save(page)
    lab.close_pages()
    page = lab.open("saved-app")
    for cell, text in ((0, "orders_etl"), (2, "No plan yet"), (2, "spark/application_id")):
        expect(lab.output(page, cell).locator(".sk-stand-in").filter(has_text=text)).to_be_visible()
    assert errors == []


def _store(file: Path) -> sk.Store:
    return sk.connect(file, clock=sk.ManualClock(CLOCK))


def _days(letter: str, days: int) -> sk.Policy:
    return sk.Policy(name=f"{letter}: {days} days", default_retention_days=days)


def _shows(app: AppPage, snap: sk.Snapshot, found: Any, offset: int = 0, **order: Any) -> None:
    """The contents are those of a selection: totals, keys, sizes; and the text beside it gives the same page."""
    app.expect_total("Rows", f"{len(found)} rows, {human_bytes(found.value_bytes)}")
    rows = found.rows(25, offset, **order)
    app.expect_column("Rows", 0, rows["key"].tolist())
    app.expect_column("Rows", 4, [human_bytes(int(each)) for each in rows["value_bytes"]])
    app.agree(lambda given: pd.testing.assert_frame_equal(given[0], rows), most=1, snap=snap)


def _lab_shows(
    app: AppPage, snap: sk.Snapshot, policies: list[sk.Policy], mode: str, compared: Any = None, **asked: Any
) -> Any:
    """The lab has the numbers of a simulation; and the text beside it gives the same one."""
    simulation = snap.simulate(policies, "90d", mode, now=NOW, **asked)
    lines = simulation.summary.to_dict("records")
    table = app.root.get_by_role("table").filter(has=app.page.get_by_role("columnheader", name="deleted now"))
    for line in lines:
        row = table.get_by_role("row").filter(has_text=line["policy"])
        expect(row).to_contain_text(f"{_span(line['deleted_now'], line['deleted_now_high'])} rows")
        expect(row).to_contain_text(f"{_span(line['end_rows_low'], line['end_rows_high'])} rows")
        expect(row).to_contain_text(human_bytes(round(line["end_bytes_high"])))
    for each in simulation.assumptions:
        expect(app.root).to_contain_text(" ".join(each.split())[:80])
    a, b = compared or (policies[0].name, policies[1].name)

    def same(given: list[Any]) -> None:
        pd.testing.assert_frame_equal(given[0], simulation.over_time())
        pd.testing.assert_frame_equal(given[1], simulation.difference(a, b, limit=10))

    app.agree(same, snap=snap)
    return simulation


def _preview_shows(app: AppPage, snap: sk.Snapshot, rows: pd.DataFrame, count: int) -> None:
    app.expect_total("Rows", f"{count} rows")
    app.expect_column("Rows", 0, rows["key"].tolist())
    app.agree(lambda given: pd.testing.assert_frame_equal(given[1], rows), snap=snap)


def _equal(given: Any, wanted: Any) -> None:
    assert given == wanted


def _span(low: float, high: float) -> str:
    low, high = round(low), round(high)
    return f"{low:,}" if low == high else f"{low:,} … {high:,}"


def _rows(file: Path) -> list[tuple[Any, ...]]:
    """Read all task rows, without storekit; the last column is the expiry."""
    with sqlite3.connect(file) as connection:
        names = "run_id, task_id, map_index, key, value, updated_at, expires_at"
        asked = f"select {names} from task_state_store order by 1, 2, 3, 4"  # noqa: S608 - names of ours
        return connection.execute(asked).fetchall()


def _stored(file: Path, row: dict[str, Any]) -> str:
    found = {tuple(each[:4]): each[4] for each in _rows(file)}
    return str(found[row["run_id"], row["task_id"], row["map_index"], row["key"]])


def _tab_through(app: AppPage) -> list[tuple[str, str]]:
    """Press Tab from the search box on, until the focus has left the app; return what it was on."""
    app.root.get_by_role("textbox", name="Search").focus()
    stops = []
    for _ in range(_MOST_STOPS):
        inside, table, name = app.page.evaluate(_TABBED)
        if not inside:
            return stops
        stops.append((table, name))
        app.page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not leave the app: {stops[-5:]}")
