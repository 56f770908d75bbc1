"""axe-core on every section of the app and on every widget that stands alone, in light and dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from profiles import on_ci_only

from browser.app_page import NOW, SECTIONS, AppPage, open_app
from browser.axe import axe
from browser.lab import OUTPUTS, Lab, Theme

_ALONE = ("ContentsBrowser", "PolicyLab", "PreviewTable", "PlanReview")


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=on_ci_only("the same walk in other colours"))])
def test_axe_finds_nothing_serious_in_any_section_nor_in_a_widget_alone(lab: Lab, theme: Theme) -> None:
    alone = [f"sk.notebook.{name}(store, now={NOW!r})" for name in _ALONE]
    app, _ = open_app(lab, f"access-{theme}", *alone, theme=theme)
    page = app.page
    for at in range(len(alone)):
        expect(lab.output(page, at + 1).get_by_role("group", name="The same in Python", exact=True)).to_be_visible()
    expect(page.locator(".main-svg").first).to_be_visible()
    AppPage(lab, page, 4).press("Make the plan")
    assert axe(page, OUTPUTS) == []  # all outputs: the app's first section, and the widgets alone
    for section in SECTIONS[1:]:
        app.open(section)
        if section == "Plan & clean":
            app.press("Make the plan")
            expect(app.root.get_by_role("textbox", name="Type delete 32 rows to confirm")).to_be_visible()
            app.press("Dry run")
        app.type_into("Judge at (UTC)", "tomorrow")  # with what is said of an error
        expect(app.alert).to_be_visible()
        assert axe(page, ".jp-CodeCell:first-child .jp-Cell-outputArea") == []
        app.type_into("Judge at (UTC)", NOW)
        expect(app.alert).to_have_count(0)
    assert lab.errors(page) == []
