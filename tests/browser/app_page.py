"""The app in a page, as a person at a keyboard has it: what is read from it, and what is done to it."""

from __future__ import annotations

import ast
import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

import storekit as sk
from browser.lab import Lab, Theme
from browser.server import REPOSITORY

__all__ = ["CLOCK", "NOW", "SECTIONS", "AppPage", "open_app"]

NOW = "2026-11-28T00:00:00Z"
CLOCK = datetime(2026, 11, 23, tzinfo=UTC)
"""The present time of the store: what the app shows is the same on every day."""

SECTIONS = ("Contents", "What if", "Preview", "Plan & clean")

_PATIENCE = 20.0  # seconds
_CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.cells.length"


class AppPage:
    """An app, or a view of its own, in a notebook's page.

    Parameters
    ----------
    lab, page
        The open notebook.
    cell
        The code cell whose output it is; the first is 0.
    """

    def __init__(self, lab: Lab, page: Page, cell: int = 0) -> None:
        self.lab, self.page = lab, page
        self.root = lab.output(page, cell)

    # --- what is read ----------------------------------------------------------------------------------------------

    def table(self, name: str) -> Locator:
        """Find a part with a table and its pager, by the table's caption."""
        return self.root.locator(".sk-table:visible").filter(
            has=self.page.locator("caption", has_text=re.compile(f"^{name}$"))
        )

    def column(self, table: str, at: int) -> list[str]:
        """Read a column of the page that a table shows."""
        return [
            row.locator(".sk-cell").nth(at).text_content() or "" for row in self.table(table).locator("tbody tr").all()
        ]

    def expect_column(self, table: str, at: int, texts: list[str]) -> None:
        """Wait until a column of a table reads so."""
        expect(self.table(table).locator(f'tbody [data-at="{at}"] .sk-cell')).to_have_text(texts, use_inner_text=False)

    def expect_total(self, table: str, text: str) -> None:
        """Wait until a table says how much it has."""
        expect(self.table(table).locator(".sk-total")).to_have_text(text)

    @property
    def alert(self) -> Locator:
        """What went wrong."""
        return self.root.get_by_role("alert").filter(has_text="Error").first

    @property
    def python(self) -> str:
        """The text of the box "The same in Python"."""
        return self.root.get_by_role("group", name="The same in Python", exact=True).inner_text()

    def run_python(self, *, most: int | None = None, **names: Any) -> list[Any]:
        """Execute that text, or its first statements, and return what each of its expressions gives."""
        names = {"sk": sk, **names}
        given = []
        for statement in ast.parse(self.python).body[:most]:
            if isinstance(statement, ast.Expr):
                given.append(eval(compile(ast.Expression(statement.value), "the page", "eval"), names))  # noqa: S307 - our text
            else:
                exec(compile(ast.Module([statement], []), "the page", "exec"), names)  # noqa: S102
        return given

    def agree(self, check: Callable[[list[Any]], object], *, most: int | None = None, **names: Any) -> None:
        """Wait until what `run_python` returns passes a check; the box is drawn a moment after the table."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                check(self.run_python(most=most, **names))
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise
            self.page.wait_for_timeout(100)

    def cells(self) -> int:
        """Count the cells of the notebook."""
        return int(self.page.evaluate(_CELLS))

    # --- what is done ----------------------------------------------------------------------------------------------

    def open(self, section: str) -> None:
        """Open a section as a keyboard does: from the tab that is chosen, by arrows."""
        tabs = self.root.get_by_role("tab")
        titles = tabs.all_inner_texts()
        chosen = self.root.get_by_role("tab", selected=True)
        steps = titles.index(section) - titles.index(chosen.inner_text())
        chosen.focus()
        for _ in range(abs(steps)):
            self.page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")
        wanted = self.root.get_by_role("tab", name=section, exact=True)
        expect(wanted).to_have_attribute("aria-selected", "true")
        expect(wanted).to_be_focused()
        expect(self.root.get_by_role("group", name="The same in Python", exact=True)).to_be_visible()
        self.lab.wait_idle(self.page)

    def press(self, name: str, key: str = "Enter") -> None:
        """Press a button by the keyboard."""
        button = self.root.get_by_role("button", name=name, exact=True)
        expect(button).to_be_enabled()
        button.press(key)

    def type_into(self, name: str, text: str) -> None:
        """Replace what stands in a box, key by key, and leave it with Enter."""
        box = self.root.get_by_role("textbox", name=name, exact=True)
        box.focus()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.press("Delete")
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")


def open_app(lab: Lab, name: str, *more: str, theme: Theme = "light") -> tuple[AppPage, Path]:
    """Open the app over a copy of the fixture, in a notebook with more cells; return it and the copy."""
    copy = lab.files / f"{name}.db"
    shutil.copy(REPOSITORY / "data" / "fixtures" / "airflow-3.3.2.db", copy)
    clock = f"sk.ManualClock(datetime.fromisoformat({CLOCK.isoformat()!r}))"
    lab.write(
        name,
        [
            "from datetime import datetime\nimport storekit as sk\n"
            f"store = sk.connect('{name}.db', writable=True, clock={clock})\n"
            f"app = sk.explore(store, now={NOW!r})\napp",
            *more,
        ],
    )
    page = lab.open(name, theme)
    lab.run_all(page)
    app = AppPage(lab, page)
    expect(app.root.get_by_role("tab", name="Contents", exact=True)).to_be_visible()
    return app, copy
