"""The shelf of notebooks, opened in JupyterLab and run as a reader does: Run All, and the app is there."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import expect
from profiles import on_ci_only

from browser.lab import OUTPUTS, Lab
from browser.server import REPOSITORY

_SHELF = REPOSITORY / "notebooks"
_OPENS_IN = {"01": "Contents", "02": "What if", "03": "Plan & clean"}


@on_ci_only("five notebooks in JupyterLab; tests/notebooks runs them without it")
def test_every_notebook_runs_and_the_first_three_end_in_the_app(lab: Lab) -> None:
    copy = lab.files / "notebooks"
    shutil.copytree(_SHELF, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"), dirs_exist_ok=True)
    names = sorted(each.stem for each in copy.glob("*.ipynb"))
    assert {name[:2] for name in names} == {"01", "02", "03", "04", "05"}
    for name in names:
        page = lab.open(Path("notebooks", name))
        lab.run_all(page)
        if section := _OPENS_IN.get(name[:2]):
            tabs = page.locator(OUTPUTS).get_by_role("tablist", name="Sections").get_by_role("tab")
            expect(tabs).to_have_text(["Contents", "What if", "Preview", "Plan & clean"])
            expect(tabs.and_(page.get_by_role("tab", selected=True))).to_have_text(section)
        assert lab.errors(page) == [], name
        lab.close_pages()
