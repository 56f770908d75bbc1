"""The parts in a real browser, without Jupyter: keyboard, focus, what is sent, hostile texts, what axe-core says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from parts import chromium, require
from parts_page import PartsPage

from storekit.notebook.parts import Code, Confirm, Facet, Notice, Part, Retention, Table, Tabs, Work

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright; bring it with `pip install playwright`")
expect = sync_api.expect

HOSTILE = [
    "<script>window.__hit=1</script>",
    "<img src=x onerror='window.__hit=1'>",
    '"><svg onload=window.__hit=1>',
    "' onmouseover='window.__hit=1",
    "{{constructor.constructor('window.__hit=1')()}} ${window.__hit=1}",
    "</style><style>*{display:none}",
    "</script><script>window.__hit=1</script>",
    "\u202eevil\u202c \u2066x",
    "__proto__",
    "שלום a  b",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    require("chromium")
    with sync_api.sync_playwright() as playwright:
        expect.set_options(timeout=15_000)
        opened = playwright.chromium.launch(executable_path=str(chromium()), args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A page that fails the test if its script did, or if it asked anybody for anything."""
    page = browser.new_page(viewport={"width": 900, "height": 1500}, reduced_motion="reduce")
    page.set_default_timeout(15_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith("blob:") else wrong.append(request.url))
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def page(tab: Any) -> PartsPage:
    return PartsPage(tab)


def a_table(**values: Any) -> Table:
    columns = [
        {"name": "key", "label": "Key", "sortable": True},
        {"name": "note", "label": "Note"},
        {"name": "size", "label": "Size", "numeric": True, "sortable": True},
    ]
    rows = [[f"key {row}", f"note {row}", str(row)] for row in range(4)]
    given = {"caption": "Rows", "columns": columns, "rows": rows, "pages": 7, "page_size": 4, "page_sizes": [4, 8]}
    return Table(**{**given, **values})


# Table


def test_a_table_is_a_table(page: PartsPage) -> None:
    shown = page.show("t", a_table(marks=["", "delete", "danger"], sort="size", descending=True, total="28 rows"))
    expect(shown.get_by_role("table", name="Rows")).to_be_visible()
    expect(shown.get_by_role("region", name="Rows")).to_have_attribute("tabindex", "0")
    assert shown.get_by_role("columnheader").all_inner_texts()[1:3] == ["cleanup", "Note"]
    expect(shown.get_by_role("columnheader", name="Size")).to_have_attribute("aria-sort", "descending")
    expect(shown.locator("[aria-sort]")).to_have_count(1)
    expect(shown.get_by_role("rowheader")).to_have_count(4)
    expect(shown.get_by_role("row").nth(2)).to_contain_text("✕ delete")
    expect(shown.get_by_role("row").nth(3)).to_contain_text("⚠ danger")
    expect(shown.locator(".sk-mark").nth(2)).to_have_attribute(
        "title", "Something may still need this row, or something else than cleanup deletes it"
    )
    expect(shown.get_by_text("28 rows")).to_be_visible()
    expect(shown.get_by_text("of 7")).to_be_visible()
    assert shown.locator("tbody tr").first.locator("th, td").all_inner_texts() == ["key 0", "", "note 0", "0"]
    left = "all => new Set(all.map(each => each.getBoundingClientRect().left)).size"
    assert shown.locator(".sk-mark:not(:empty)").evaluate_all(left) == 1
    page.kernel("t", marks=[])  # there is nothing to tell apart
    expect(shown.get_by_role("columnheader")).to_have_count(3)
    assert shown.locator("tbody tr").first.locator("th, td").all_inner_texts() == ["key 0", "note 0", "0"]


def test_sorting_by_keyboard_keeps_the_focus(page: PartsPage) -> None:
    shown = page.show("t", a_table())
    button = shown.get_by_role("button", name="Size")
    button.focus()
    page.page.keyboard.press("Enter")
    assert page.sent("t") == [{"sort": "size"}]
    page.kernel("t", rows=[["z", "z", "9"]] * 3)
    expect(shown.get_by_role("rowheader")).to_have_count(3)
    expect(button).to_be_focused()
    expect(shown.get_by_role("columnheader", name="Size")).to_have_attribute("aria-sort", "ascending")
    page.page.keyboard.press("Space")
    assert page.sent("t") == [{"descending": True}]
    expect(shown.get_by_role("columnheader", name="Size")).to_have_attribute("aria-sort", "descending")
    shown.get_by_role("button", name="Key").click()
    assert page.sent("t") == [{"sort": "key", "descending": False}]


def test_paging_by_buttons_keeps_the_focus_at_the_ends(page: PartsPage) -> None:
    shown = page.show("t", a_table(pages=3))
    names = ["First page", "Previous page", "Next page", "Last page"]
    buttons = {name: shown.get_by_role("button", name=name, exact=True) for name in names}

    def usable() -> list[bool]:
        return [buttons[name].get_attribute("aria-disabled") is None for name in names]

    assert usable() == [False, False, True, True]
    for name, wanted, open_to in [
        ("Next page", 1, [True, True, True, True]),
        ("Next page", 2, [True, True, False, False]),
        ("Previous page", 1, [True, True, True, True]),
        ("Last page", 2, [True, True, False, False]),
        ("First page", 0, [False, False, True, True]),
    ]:
        buttons[name].focus()
        page.page.keyboard.press("Enter")
        assert page.sent("t") == [{"page": wanted}]
        page.kernel("t", rows=[[f"{wanted}", "", ""]])
        expect(shown.get_by_role("rowheader")).to_have_text(str(wanted))
        expect(buttons[name]).to_be_focused()
        expect(shown.get_by_role("spinbutton", name="Page")).to_have_value(str(wanted + 1))
        assert usable() == open_to
    page.page.keyboard.press("Enter")  # "First page", at the first page
    assert page.sent("t") == []


def test_the_page_box_takes_pages_that_are_there(page: PartsPage) -> None:
    shown = page.show("t", a_table())
    box = shown.get_by_role("spinbutton", name="Page")
    for text in ("0", "8", "1.5", "-1"):
        box.fill(text)
        box.press("Enter")
        expect(box).to_have_attribute("aria-invalid", "true")
        expect(shown.get_by_text("Pages go from 1 to 7")).to_be_visible()
    assert page.sent("t") == []
    box.fill("7")
    box.press("Enter")
    assert page.sent("t") == [{"page": 6}]
    expect(box).not_to_have_attribute("aria-invalid", "true")
    page.kernel("t", rows=[["last", "", ""]])
    expect(shown.get_by_role("rowheader")).to_have_text("last")
    expect(box).to_be_focused()
    shown.get_by_label("Rows per page").select_option("8")
    assert page.sent("t") == [{"page_size": 8}]


def test_rows_are_chosen_by_arrows_enter_and_space(page: PartsPage) -> None:
    shown = page.show("t", a_table())
    press = page.page.keyboard.press
    shown.get_by_role("button", name="key 0").focus()
    press("ArrowDown")
    press("ArrowDown")
    assert page.focused() == "key 2"
    press("Enter")
    assert page.sent("t") == [{"selected": 2}]
    expect(shown.get_by_role("button", name="key 2")).to_have_attribute("aria-pressed", "true")
    press("ArrowUp")
    press("Space")
    assert page.sent("t") == [{"selected": 1}]
    expect(shown.locator("[aria-pressed=true]")).to_have_count(1)
    press("End")
    assert page.focused() == "key 3"
    press("ArrowDown")
    assert page.focused() == "key 3"
    page.kernel("t", rows=[["one", "", ""], ["two", "", ""]], selected=-1)
    expect(shown.get_by_role("button", name="two")).to_be_focused()
    expect(shown.locator("tbody button[tabindex='0']")).to_have_count(1)
    press("Enter")
    press("Enter")
    assert page.sent("t") == [{"selected": 1}, {"selected": -1}]
    shown.get_by_role("cell").first.click()  # the mouse takes the whole row
    assert page.sent("t") == [{"selected": 0}]
    page.kernel("t", rows=[])
    expect(shown.get_by_text("No rows")).to_be_visible()
    expect(shown.get_by_role("region")).to_be_focused()


def test_only_what_changed_is_drawn(page: PartsPage) -> None:
    shown = page.show("t", a_table())
    page.page.evaluate(
        """() => { window.drawn = []; new MutationObserver(all => drawn.push(...all.map(
             each => each.target.className || each.target.tagName))).observe(
             document.querySelector('#t'),
             {subtree: true, childList: true, characterData: true, attributes: true}); }"""
    )
    rows = [[f"key {row}", f"note {row}", str(row)] for row in range(4)]
    rows[2][1] = "other"
    page.kernel("t", rows=rows)
    expect(shown.get_by_text("other")).to_be_visible()
    assert set(page.page.evaluate("drawn")) == {"sk-cell"}
    assert len(page.page.evaluate("drawn")) == 2  # the text and its title


def test_a_wide_table_scrolls_inside(page: PartsPage) -> None:
    columns = [{"name": str(at)} for at in range(30)]
    shown = page.show("t", Table(columns=columns, rows=[["x" * 200] * 30]), width="500px")
    region = shown.get_by_role("region")
    assert region.evaluate("e => e.scrollWidth > 5 * e.clientWidth")
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    region.focus()
    page.page.keyboard.press("ArrowRight")
    expect(region).to_be_focused()
    cell = shown.get_by_role("cell").first.locator("span")
    expect(cell).to_have_attribute("title", "x" * 200)
    assert cell.evaluate("e => e.scrollWidth > e.clientWidth")
    page.page.wait_for_function("document.querySelector('#t .sk-scroll').scrollLeft > 0")
    # A shadow says where there is more.
    shade = "(e, side) => getComputedStyle(e, side).opacity"
    edges = shown.locator(".sk-edges")
    for left, wanted in ((0, ["0", "1"]), (400, ["1", "1"]), (100_000, ["1", "0"])):
        region.evaluate("(e, left) => { e.scrollLeft = left; }", left)
        page.page.wait_for_function(
            "wanted => JSON.stringify(['::before', '::after'].map(side => "
            "getComputedStyle(document.querySelector('#t .sk-edges'), side).opacity)) === JSON.stringify(wanted)",
            arg=wanted,
        )
    page.kernel("t", columns=[{"name": "0"}], rows=[["x"]])
    expect(edges).to_have_class("sk-edges")
    assert [edges.evaluate(shade, side) for side in ("::before", "::after")] == ["0", "0"]


def test_a_run_is_told_by_its_second_and_whole_when_pointed_at(page: PartsPage) -> None:
    runs = [
        "scheduled__2026-09-25T11:34:21.090171+00:00",
        "manual__2026-09-25T00:00:00+00:00_AbC",
        "nightly",
        "x" * 30 + "y" * 30,
    ]
    columns = [{"name": "key"}, {"name": "run", "short": True}]
    shown = page.show("t", Table(columns=columns, rows=[["k", run] for run in runs]))
    cells = shown.locator("td .sk-cell")
    assert cells.all_text_contents() == [
        "scheduled__2026-09-25T11:34:21…",
        "manual__2026-09-25T00:00:00…_AbC",
        "nightly",
        f"{'x' * 28}…{'y' * 10}",
    ]
    assert [cell.get_attribute("title") for cell in cells.all()] == runs


# Facet


ITEMS = [
    {"value": "a", "text": "dag a", "rows": "10", "size": "1.0 kB", "share": 1.0},
    {"value": "b", "text": "dag b", "rows": "5", "size": "0.5 kB", "share": 0.5},
    {"value": "", "text": "(none)", "rows": "1", "size": "9 B", "share": 0.1, "missing": True},
]


def test_a_facet_is_chosen_and_cleared(page: PartsPage) -> None:
    shown = page.show("f", Facet(label="Dag", items=ITEMS, more="and 12 more"))
    expect(shown.get_by_role("group", name="Dag")).to_be_visible()
    expect(shown.get_by_text("and 12 more")).to_be_visible()
    button = shown.get_by_role("button", name="dag b")
    button.focus()
    page.page.keyboard.press("Enter")
    assert page.sent("f") == [{"selected": "b"}]
    expect(button).to_have_attribute("aria-pressed", "true")
    page.kernel("f", items=[ITEMS[2], ITEMS[1], ITEMS[0]])
    expect(shown.locator("li").first).to_contain_text("(none)")
    expect(button).to_be_focused()
    page.page.keyboard.press("Space")
    assert page.sent("f") == [{"selected": None}]
    expect(shown.get_by_role("button", name="Clear Dag")).to_be_hidden()
    shown.get_by_role("button", name="(none)").click()
    assert page.sent("f") == [{"selected": ""}]
    shown.get_by_role("button", name="Clear Dag").click()
    assert page.sent("f") == [{"selected": None}]
    expect(shown.get_by_role("button").first).to_be_focused()


def test_a_chosen_value_that_is_gone_stays_on_top(page: PartsPage) -> None:
    shown = page.show("f", Facet(label="Dag", items=ITEMS, selected="b"))
    page.kernel("f", items=[ITEMS[0]])
    first = shown.locator("li button").first
    expect(first).to_contain_text("dag b")
    expect(first).to_have_attribute("aria-pressed", "true")
    page.kernel("f", selected="never\u202eseen")
    expect(first).to_contain_text("never\\u202eseen")
    first.click()
    assert page.sent("f") == [{"selected": None}]
    expect(shown.locator("li")).to_have_count(1)


# Retention


def test_the_slider_by_keyboard_says_what_is_used(page: PartsPage) -> None:
    shown = page.show("r", Retention(label="A", value=30, maximum=90, note="0: no expiry"))
    slider, box = shown.get_by_role("slider", name="A, days"), shown.get_by_role("spinbutton", name="A, days")
    slider.focus()
    page.page.keyboard.press("ArrowRight")
    expect(box).to_have_value("31")
    expect(shown.get_by_text("31 days used", exact=True)).to_be_visible()
    expect(slider).to_have_attribute("aria-valuetext", "31 days")
    page.page.keyboard.press("End")
    page.page.wait_for_function("models.r.sent.length === 2")
    assert page.sent("r") == [{"value": 31}, {"value": 90}]
    page.page.keyboard.press("Home")
    page.page.keyboard.press("ArrowRight")
    expect(shown.get_by_text("1 day used", exact=True)).to_be_visible()
    expect(shown.get_by_role("group", name="A")).to_be_visible()


def test_the_last_value_of_a_drag_is_sent_and_few_between(page: PartsPage) -> None:
    shown = page.show("r", Retention(value=0, maximum=1000))
    shown.get_by_role("slider").evaluate(
        "e => { for (let at = 1; at <= 500; at++) { e.value = at; e.dispatchEvent(new Event('input')); } }"
    )
    page.page.wait_for_function("models.r.sent.some(message => message.value === 500)")
    assert page.sent("r") == [{"value": 1}, {"value": 500}]
    expect(shown.get_by_text("500 days used")).to_be_visible()


def test_a_drag_is_not_pulled_back_by_the_kernel(page: PartsPage) -> None:
    shown = page.show("r", Retention(value=5, maximum=1000))
    shown.get_by_role("slider").evaluate(
        """e => { for (const at of [10, 20]) { e.value = at; e.dispatchEvent(new Event('input')); }
                  models.r.fromKernel({value: 7}); return new Promise(queueMicrotask); }"""
    )
    page.page.wait_for_function("models.r.sent.some(message => message.value === 20)")
    expect(shown.get_by_role("slider")).to_have_value("20")
    expect(shown.get_by_role("spinbutton")).to_have_value("20")
    page.sent("r")
    page.kernel("r", value=8)  # when nothing waits, the kernel's word counts
    expect(shown.get_by_role("spinbutton")).to_have_value("8")


def test_what_waits_is_sent_when_the_view_goes(page: PartsPage) -> None:
    shown = page.show("r", Retention(value=0, maximum=1000))
    shown.get_by_role("slider").evaluate(
        "e => { for (const at of [10, 20]) { e.value = at; e.dispatchEvent(new Event('input')); } ends.r(); }"
    )
    assert page.sent("r") == [{"value": 10}, {"value": 20}]


def test_the_box_goes_beyond_the_slider_and_says_so(page: PartsPage) -> None:
    shown = page.show("r", Retention(value=30, maximum=90, hard_maximum=4000))
    slider, box = shown.get_by_role("slider"), shown.get_by_role("spinbutton")
    box.fill("1200")
    assert page.sent("r") == [{"value": 1200}]
    expect(slider).to_have_value("90")
    expect(shown.get_by_text("1,200 days used; the slider ends at 90")).to_be_visible()
    expect(slider).to_have_attribute("aria-valuetext", "1,200 days, beyond this slider")
    expect(box).to_be_focused()
    expect(box).to_have_value("1200")


def test_what_is_no_whole_number_is_said_and_not_sent(page: PartsPage) -> None:
    shown = page.show("r", Retention(value=30, hard_maximum=4000))
    box = shown.get_by_role("spinbutton")
    for text in ("4001", "-1", "1.5", "1e3"):
        box.fill(text)
        expect(box).to_have_attribute("aria-invalid", "true")
        complaint = shown.locator(f"#{box.get_attribute('aria-describedby').split()[0]}")
        expect(complaint).to_have_text("Not a whole number of days from 0 to 4,000; 30 days used still")
        expect(complaint).to_be_visible()
    box.fill("")
    expect(shown.get_by_text("A whole number of days is needed, from 0 to 4,000; 30 days used still")).to_be_visible()
    assert page.sent("r") == []
    expect(shown.get_by_text("30 days used", exact=True)).to_be_visible()
    box.fill("4000")
    assert page.sent("r") == [{"value": 4000}]
    expect(box).not_to_have_attribute("aria-invalid", "true")
    expect(shown.locator(".sk-complaint")).to_be_hidden()


def test_as_written_hides_both(page: PartsPage) -> None:
    shown = page.show("r", Retention(label="A", allow_unset=True, note="0: no expiry"))
    shown.get_by_role("checkbox", name="A: as written").check()
    assert page.sent("r") == [{"unset": True}]
    expect(shown.get_by_role("slider")).to_have_count(0)  # a number that is not used is not shown
    expect(shown.get_by_role("spinbutton")).to_have_count(0)
    expect(shown.get_by_text("as written: no retention set here")).to_be_visible()
    expect(shown.get_by_text("0: no expiry")).to_have_count(0)
    page.kernel("r", unset=False)
    expect(shown.get_by_role("slider")).to_be_enabled()
    expect(shown.get_by_text("0: no expiry")).to_be_visible()


# Code, Notice, Work


def test_code_is_copied_or_marked(page: PartsPage) -> None:
    shown = page.show("c", Code(text="preview = store.preview()\n", label="This view"))
    button = shown.get_by_role("button", name="Copy: This view")
    button.click()  # this page is not secure: no clipboard
    expect(shown.get_by_role("status")).to_contain_text("Selected")
    assert page.page.evaluate("getSelection().toString()").strip() == "preview = store.preview()"
    page.page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async text => { window.copied = text; }}})"
    )
    button.click()
    expect(shown.get_by_role("status")).to_have_text("Copied")
    assert page.page.evaluate("copied") == "preview = store.preview()\n"
    expect(shown.get_by_role("group", name="This view")).to_have_attribute("tabindex", "0")


def test_a_notice_is_an_alert_only_for_errors(page: PartsPage) -> None:
    shown = page.show("n", Notice())
    alert, status = shown.get_by_role("alert"), shown.get_by_role("status")
    assert shown.inner_text().strip() == ""
    page.kernel("n", kind="error", message="No such day", hint="Give another")
    expect(alert).to_have_text("✕Error: No such dayGive another")
    expect(status).to_be_empty()
    page.kernel("n", kind="warning")
    expect(status).to_contain_text("Warning: No such day")
    expect(alert).to_be_empty()
    page.kernel("n", kind="")
    expect(status).to_be_empty()
    assert shown.bounding_box()["height"] < 8


def test_work_shows_how_far_and_stops_once(page: PartsPage) -> None:
    shown = page.show("w", Work(label="Deleting", running=True, stoppable=True))
    bar = shown.get_by_role("progressbar", name="Deleting")
    assert bar.get_attribute("value") is None
    page.kernel("w", total=2000, done=1999)
    expect(shown.locator(".sk-worded")).to_have_text("Deleting: 1,999 of 2,000 (99 %)")
    expect(bar).to_have_attribute("value", "1999")
    stop = shown.get_by_role("button", name="Stop: Deleting")
    stop.focus()
    page.page.keyboard.press("Enter")
    page.page.keyboard.press("Enter")
    assert page.sent("w") == [{"stops": 1}]
    expect(shown.get_by_role("button")).to_have_text("Stopping…")
    page.kernel("w", running=False)
    expect(bar).to_be_hidden()
    expect(shown).to_be_focused()
    page.kernel("w", running=True, done=0)
    expect(shown.get_by_role("button")).to_have_text("Stop")
    page.kernel("w", stoppable=False)
    expect(shown.get_by_role("button")).to_have_count(0)


def test_of_two_views_of_one_work_one_is_read_aloud(page: PartsPage) -> None:
    shown = page.show("w", Work(label="Deleting", running=True, stoppable=True, aloud=False))
    expect(shown.get_by_role("progressbar", name="Deleting")).to_be_visible()
    page.kernel("w", total=2000, done=1999)
    expect(shown.locator(".sk-worded")).to_have_text("Deleting: 1,999 of 2,000 (99 %)")
    expect(shown.get_by_role("status")).to_be_empty()


def test_work_is_read_aloud_seldom(page: PartsPage) -> None:
    shown = page.show("w", Work(label="Deleting", total=100, running=True))
    page.page.evaluate(
        """() => { window.aloud = []; const said = document.querySelector('#w [role=status]');
             new MutationObserver(() => aloud.push(said.textContent)).observe(said, {childList: true}); }"""
    )
    # All within one task: no timer comes between, however slow the machine is.
    page.page.evaluate(
        """async () => { for (let done = 1; done <= 50; done++) {
             models.w.fromKernel({done}); await new Promise(queueMicrotask); } }"""
    )
    expect(shown.locator(".sk-worded")).to_contain_text("50 of 100")
    page.page.wait_for_function("aloud.at(-1) === 'Deleting: 50 of 100 (50 %)'")
    assert len(page.page.evaluate("aloud")) <= 2  # the first may be told at once


# Confirm


def test_what_is_typed_arms_and_only_a_click_fires(page: PartsPage) -> None:
    part = Confirm(prompt="13 rows would go", expected="delete 13", label="Delete 13 rows")
    calls: list[str] = []
    part.on_fire(calls.append)
    shown = page.show("c", part)
    box, fire = (
        shown.get_by_role("textbox", name="Type delete 13 to confirm"),
        shown.get_by_role("button", name="Delete"),
    )
    expect(fire).to_be_disabled()
    box.press_sequentially("delete 1")
    expect(fire).to_be_disabled()
    box.press_sequentially("3")
    expect(fire).to_be_enabled()
    box.press("Enter")
    sent = page.sent("c")
    assert sent[-1] == {"typed": "delete 13", "armed": True}
    assert not any("fired" in message for message in sent)
    fire.dblclick()
    assert page.sent("c") == [{"fired": {"typed": "delete 13", "about": "", "count": 1}, "typed": "", "armed": False}]
    assert calls == ["delete 13"]
    expect(fire).to_be_disabled()
    expect(box).to_have_value("")
    box.fill("delete 13")
    box.press("Tab")
    page.page.keyboard.press("Enter")
    assert page.sent("c")[-1]["fired"]["count"] == 2
    assert len(calls) == 2


def test_cancel_clears_and_a_closed_box_arms_nothing(page: PartsPage) -> None:
    shown = page.show("c", Confirm(expected="yes"))
    box, fire = shown.get_by_role("textbox"), shown.get_by_role("button", name="Confirm")
    box.fill("yes")
    shown.get_by_role("button", name="Cancel").click()
    assert page.sent("c")[-1] == {"typed": "", "armed": False}
    expect(fire).to_be_disabled()
    expect(box).to_be_focused()
    box.fill("yes")
    expect(fire).to_be_enabled()
    page.kernel("c", expected="yes, all 14")  # what is expected changed under the user
    expect(fire).to_be_disabled()
    assert page.sent("c")[-1] == {"armed": False}
    box.fill("yes, all 14")
    page.kernel("c", disabled=True)
    expect(fire).to_be_disabled()
    expect(box).to_be_disabled()
    page.kernel("c", disabled=False, expected="", typed="")
    expect(fire).to_be_disabled()


# Tabs


def test_tabs_rove(page: PartsPage) -> None:
    shown = page.show("s", Tabs(titles=["Contents", "What-if", "Preview"], label="Store"))
    expect(shown.get_by_role("tablist", name="Store")).to_be_visible()
    press = page.page.keyboard.press
    press("Tab")
    assert page.focused() == "Contents"
    for key, title, sent in [
        ("ArrowRight", "What-if", [{"selected": 1}]),
        ("End", "Preview", [{"selected": 2}]),
        ("ArrowRight", "Preview", []),
        ("ArrowLeft", "What-if", [{"selected": 1}]),
        ("Home", "Contents", [{"selected": 0}]),
    ]:
        press(key)
        expect(shown.get_by_role("tab", name=title)).to_be_focused()
        expect(shown.get_by_role("tab", selected=True)).to_have_text(title)
        assert page.sent("s") == sent
    expect(shown.locator("[tabindex='0']")).to_have_count(1)
    shown.get_by_role("tab", name="Preview").click()
    assert page.sent("s") == [{"selected": 2}]
    page.kernel("s", selected=1)
    expect(shown.get_by_role("tab", name="What-if")).to_be_focused()


# All of them


def every_part(texts: list[str]) -> dict[str, Part]:
    """One of each, everything that is a text being one of these."""
    first, second = texts[0], texts[-1]
    columns = [{"name": f"{at}{text}", "label": text, "sortable": at % 2 == 0} for at, text in enumerate(texts)]
    items = [{"value": text, "text": text, "rows": text, "size": text, "share": 0.5} for text in texts]
    return {
        "tabs": Tabs(titles=texts, label=first),
        "notice": Notice(kind="error", message=first, hint=second),
        "facet": Facet(label=first, items=items, more=second, selected=f"gone {first}"),
        "retention": Retention(label=first, note=second, allow_unset=True),
        "table": Table(
            caption=first, columns=columns, rows=[texts, texts[::-1]], total=second, pages=3, sort=columns[0]["name"]
        ),
        "empty": Table(caption=second, columns=columns, empty=first),
        "code": Code(text="\n".join(texts), label=first),
        "work": Work(label=first, total=3, done=1, running=True, stoppable=True),
        "confirm": Confirm(prompt=first, expected=second if second.isprintable() else "x", label=first),
    }


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_texts_are_texts(page: PartsPage, place: int) -> None:
    texts = [*HOSTILE[place:], *HOSTILE[:place]]
    before = page.page.evaluate("document.querySelectorAll('script, style, img, svg').length")
    for name, part in every_part(texts).items():
        shown = page.show(name, part)
        assert texts[0] in shown.evaluate("e => e.textContent"), name
        page.kernel(name, **{key: f"{value} {texts[0]}" for key, value in _plain_texts(part).items()})
    expect(page.page.locator("#notice")).to_contain_text(texts[-1])
    for label in page.page.locator("button, input, select, [title]").all()[:60]:
        label.dispatch_event("mouseover")
    assert page.page.evaluate("window.__hit") is None
    assert page.page.evaluate("document.querySelectorAll('script, style, img, svg').length") == before
    assert page.page.evaluate(
        "[...document.querySelectorAll('main *')].every(e => [...e.attributes].every(a => !a.name.startsWith('on')))"
    )
    cells = page.page.locator("#table tbody tr").first.locator("th, td")
    assert cells.evaluate_all("all => all.map(e => e.querySelector('.sk-cell').textContent)") == texts


def _plain_texts(part: Part) -> dict[str, str]:
    names = {"label", "caption", "message", "hint", "note", "more", "total", "empty", "prompt", "text"}
    return {name: getattr(part, name) for name in names if isinstance(getattr(part, name, None), str)}


def test_blanks_in_a_key_are_seen(page: PartsPage) -> None:
    shown = page.show("t", Table(columns=[{"name": "k"}], rows=[["a b"], ["a  b"]], selectable=False))
    widths = shown.locator("tbody .sk-cell").evaluate_all(
        """all => all.map(e => { const range = document.createRange(); range.selectNodeContents(e);
             return range.getBoundingClientRect().width; })"""
    )
    assert widths[0] < widths[1]


def filled_page(tab: Any, theme: str) -> PartsPage:
    """All parts as an app would fill them."""
    page = PartsPage(tab, theme)
    columns = [
        {"name": "dag", "label": "Dag", "sortable": True},
        {"name": "key", "label": "Key", "sortable": True},
        {"name": "written", "label": "Last written", "sortable": True},
        {"name": "size", "label": "Size", "numeric": True, "sortable": True},
    ]
    rows = [
        ["ingest_orders", "cursor", "2026-03-01 04:00:00 UTC", "1.2 kB"],
        [
            "ingest_orders",
            "a key that is a good deal longer than the column that shows it",
            "2026-02-11 04:00:00 UTC",
            "34.5 MB",
        ],
        ["train_model", "weights/آخر", "2026-01-30 23:10:09 UTC", "999 B"],
        ["nightly", "<b>not bold</b>", "2025-12-01 00:00:00 UTC", "12.0 kB"],
    ]
    page.show("tabs", Tabs(titles=["Contents", "What-if", "Preview", "Plan"], selected=1))
    for kind in ("info", "warning", "error"):
        hint = "Ask for another day, or open the store for writing." if kind == "error" else ""
        page.show(f"notice-{kind}", Notice(kind=kind, message="1,204 rows have no expiry", hint=hint))
    items = [
        {"value": "a", "text": "ingest_orders", "rows": "12,345", "size": "34.5 MB", "share": 1.0},
        {"value": "b", "text": "train_model", "rows": "4,321", "size": "9.1 MB", "share": 0.35},
        {"value": "c", "text": "(none)", "rows": "12", "size": "1.2 kB", "share": 0.02, "missing": True},
    ]
    page.show("facet", Facet(label="Dag", items=items, selected="b", more="and 12 more"), width="320px")
    page.show("r1", Retention(label="Airflow's default", value=30, colour="#3b82c4", note="0: no expiry"))
    page.show("r2", Retention(label="Short", value=400, maximum=90, colour="#c4703b", allow_unset=True))
    page.show("r3", Retention(label="As it is", unset=True, allow_unset=True, colour="#5a9a4a"))
    page.show(
        "table",
        Table(
            caption="What cleanup would delete", columns=columns, rows=rows, marks=["", "delete", "danger", "delete"],
            sort="size", descending=True, selected=1, pages=1234, page=3, total="12,345 rows", busy=True,
        ),
    )  # fmt: skip
    page.show("empty", Table(caption="Nothing", columns=columns, empty="No row is like that", page_sizes=[]))
    page.show("code", Code(text='preview = snapshot.preview(policy="short.toml")\npreview.rows()', label="This view"))
    page.show("work", Work(label="Deleting", total=13_000, done=4_200, running=True, stoppable=True))
    page.show("endless", Work(label="Reading", running=True))
    page.show(
        "confirm",
        Confirm(prompt="13 rows will be archived, then deleted.", expected="delete 13", label="Delete 13 rows"),
    )
    page.show(
        "armed", Confirm(prompt="The same, typed.", expected="delete 13", typed="delete 13", label="Delete 13 rows")
    )
    tab.locator("#r1").get_by_role("spinbutton").fill("1.5")
    return page


@pytest.mark.parametrize("theme", ["light", "dark", "bare-light", "bare-dark"])
def test_axe_finds_nothing(tab: Any, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.base", reason="no axe; `pip install axe-playwright-python`")
    filled_page(tab, theme)
    tab.evaluate(axe.AXE_SCRIPT)
    found = tab.evaluate(
        """async () => (await axe.run('main',
             {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']}))
             .violations.flatMap(v => v.nodes.map(n => [v.id, v.impact, n.html.slice(0, 200), n.failureSummary]))"""
    )
    # The page of the test has no heading and no landmark of its own.
    assert [each for each in found if each[0] not in {"region", "page-has-heading-one", "landmark-one-main"}] == []


def test_jupyterlab_takes_no_key_from_what_can_have_the_focus(tab: Any) -> None:
    filled_page(tab, "light")
    # JupyterLab asks the focused element itself, before those around it.
    bare = "e => e.filter(each => !each.hasAttribute('data-lm-suppress-shortcuts')).map(each => each.outerHTML)"
    controls = tab.locator("main :is(button, input, select, textarea, a, [tabindex])")
    assert controls.count() > 40
    assert controls.evaluate_all(bare) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_has_the_focus_is_seen(tab: Any, theme: str) -> None:
    filled_page(tab, theme)
    tab.locator("body").click(position={"x": 1, "y": 1})
    seen = 0
    for _ in range(60):
        tab.keyboard.press("Tab")
        outline = tab.evaluate(
            """() => { const e = document.activeElement; const s = getComputedStyle(e);
                 const width = parseFloat(s.outlineWidth);
                 return e === document.body ? null : [s.outlineStyle, width, e.outerHTML.slice(0, 80)]; }"""
        )
        if outline is None:
            break
        seen += 1
        assert outline[0] == "solid", outline
        assert outline[1] >= 2, outline
    assert seen > 25
