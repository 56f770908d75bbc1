"""Notebooks in JupyterLab in a real browser, as a person has them: opened, run, typed into, looked at."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any, Literal

import nbformat
from nbformat.notebooknode import NotebookNode
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page

from browser.guard import Guard
from browser.server import LabServer

__all__ = ["OUTPUTS", "Lab", "Theme"]

Theme = Literal["light", "dark"]

OUTPUTS = ".jp-Notebook .jp-Cell-outputArea"
"""CSS selector of what cells showed: ours, where the rest of the page is JupyterLab's."""

_THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
_TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_VIEWPORT = {"width": 1280, "height": 1600}
_RUNNING_TAKES_AT_MOST = 120_000  # ms
_ANSWERING_TAKES_AT_MOST = 20_000  # ms

_PANEL = "const panel = window.jupyterapp?.shell?.currentWidget; const session = panel?.sessionContext;"

# A callback of a widget that raises writes to no cell: its traceback would be lost. No error is what JupyterLab does
# at every start: it asks for the widgets of a kernel that has no ipywidgets yet, over a comm of its own, and the kernel
# says that it knows neither. So a comm counts only where the kernel had opened it.
_LISTEN = f"""() => {{ {_PANEL}
    window.storekitRaised = [];
    const opened = new Set();
    const greeting = line => line === 'No such comm target registered: jupyter.widget.control'
        || (line.startsWith('No such comm: ') && !opened.has(line.slice('No such comm: '.length)));
    session.iopubMessage.connect((_, message) => {{
        const asked = message.parent_header.msg_type;
        const told = message.header.msg_type;
        if (told === 'comm_open') opened.add(message.content.comm_id);
        if (asked === 'execute_request') return;
        if (told === 'error') window.storekitRaised.push(message.content.traceback.join('\\n'));
        if (told === 'stream' && message.content.name === 'stderr') {{
            const lines = message.content.text.split('\\n').filter(line => line && !greeting(line));
            if (lines.length) window.storekitRaised.push(lines.join('\\n'));
        }}
    }});
}}"""

_IDLE = f"() => {{ {_PANEL} return session?.session?.kernel?.status === 'idle'; }}"

# Messages of a kernel are answered in order: once it answers this, it has done what it was asked before.
_ASK = f"() => {{ {_PANEL} window.storekitAnswered = false;"
_ASK += " session.session.kernel.requestKernelInfo().then(() => { window.storekitAnswered = true; }); }"
_ANSWERED = f"() => {{ {_PANEL} return window.storekitAnswered && session?.session?.kernel?.status === 'idle'; }}"

# The command's promise is seldom left open although every cell has run (its reply overtakes a message of the kernel's
# start), so the cells are asked as well: the last one has a new number, and nothing runs.
_START = f"""() => {{ {_PANEL}
    const cells = Array.from(panel.content.model.cells).filter(
        cell => cell.type === 'code' && cell.sharedModel.source.trim());
    const last = cells[cells.length - 1];
    const before = last?.executionCount;
    let failed = false, done = false;
    window.storekitDone = () => done || (session.session.kernel.status === 'idle'
        && cells.every(cell => cell.executionState !== 'running')
        && last.executionCount && last.executionCount !== before);
    window.storekitFailed = () => failed;
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(
        result => {{ failed = result === false; done = true; }});
}}"""

_ERRORS = f"""() => {{ {_PANEL}
    const cells = Array.from(panel.content.model.cells).map(cell => cell.toJSON());
    return cells.flatMap((cell, at) => (cell.outputs || []).filter(each => each.output_type === 'error').map(
        each => `cell ${{at + 1}}:\\n${{each.traceback.join('\\n')}}`));
}}"""


class Lab:
    """JupyterLab in a browser.

    Parameters
    ----------
    server, browser, guard
        What it runs on; their owner closes them.
    """

    def __init__(self, server: LabServer, browser: Browser, guard: Guard) -> None:
        self.server, self.guard = server, guard
        self._browser = browser
        self._contexts: dict[Theme, BrowserContext] = {}
        self._console: dict[Page, list[str]] = {}
        self._serial = itertools.count(1)

    @property
    def files(self) -> Path:
        """The folder that notebooks are opened from."""
        return self.server.files

    def write(self, name: str, cells: list[str] | NotebookNode) -> Path:
        """Write a notebook of code cells (or a whole one) and return its file. JupyterLab does not trust it."""
        if not isinstance(cells, NotebookNode):
            cells = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
            cells.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        file = (self.files / name).with_suffix(".ipynb")
        file.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(cells, file)
        return file

    def open(self, notebook: str | Path, theme: Theme = "light") -> Page:
        """Open a notebook below `files`, with a kernel that is idle, in a window of its own."""
        path = (self.files / notebook).with_suffix(".ipynb").relative_to(self.files).as_posix()
        self.server.set("@jupyterlab/apputils-extension/themes", {"theme": _THEMES[theme]})
        page = self.new_page(theme)
        page.goto(f"{self.server.url}/doc/workspaces/w{next(self._serial)}/tree/{path}?token={self.server.token}")
        page.wait_for_function(_IDLE, timeout=_RUNNING_TAKES_AT_MOST)
        page.wait_for_selector(f"body[data-jp-theme-light={str(theme == 'light').lower()}]", state="attached")
        page.evaluate(_LISTEN)
        return page

    def open_file(self, file: Path, theme: Theme = "light") -> Page:
        """Open an HTML file as it lies on the disk, where a browser asks for the given colours."""
        page = self.new_page(theme)
        page.goto(file.resolve().as_uri())
        return page

    def new_page(self, theme: Theme = "light") -> Page:
        """Open an empty, guarded window."""
        context = self._contexts.get(theme)
        if context is None:  # one for all windows of a theme: JupyterLab is loaded from its cache from the second on
            context = self._browser.new_context(viewport=_VIEWPORT, color_scheme=theme, reduced_motion="reduce")
            self.guard.watch(context)
            self._contexts[theme] = context
        page = context.new_page()
        page.set_default_timeout(_ANSWERING_TAKES_AT_MOST)
        said = self._console[page] = []
        page.on("console", lambda message: _keep(said, message))
        page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
        return page

    def run_all(self, page: Page) -> None:
        """Run all cells and wait until the kernel has done what they asked for.

        Raises
        ------
        AssertionError
            A cell raised: its number and its traceback.
        """
        page.evaluate(_START)
        page.wait_for_function("() => window.storekitDone()", timeout=_RUNNING_TAKES_AT_MOST)
        self.wait_idle(page)
        raised = [_TERMINAL_COLOURS.sub("", each) for each in page.evaluate(_ERRORS)]
        assert not raised, "\n".join(raised)
        assert not page.evaluate("() => window.storekitFailed()"), "a cell failed, and none shows an error"

    def wait_idle(self, page: Page) -> None:
        """Wait until the kernel has answered what the page has sent it so far.

        Not what a key press does: it may be sent a moment later, and callbacks may run on a thread beside (a subshell).
        For those, wait for what the callback writes last, with ``expect(locator)``.
        """
        page.evaluate(_ASK)
        page.wait_for_function(_ANSWERED, timeout=_RUNNING_TAKES_AT_MOST)

    def trust(self, page: Page) -> None:
        """Trust the notebook, as the command and its dialog do."""
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:trust'); }")
        page.get_by_role("dialog").get_by_role("button", name="Trust").click()

    def save(self, page: Page) -> None:
        """Save the notebook."""
        page.evaluate("() => { window.jupyterapp.commands.execute('docmanager:save'); }")
        page.wait_for_function(f"() => {{ {_PANEL} return !panel.context.model.dirty; }}")

    def errors(self, page: Page) -> list[str]:
        """Return what went wrong unseen: errors on the console, uncaught ones, and callbacks that raised."""
        raised = page.evaluate("() => window.storekitRaised || []")
        return [*self._console[page], *(_TERMINAL_COLOURS.sub("", each) for each in raised)]

    def output(self, page: Page, cell: int) -> Locator:
        """Find what a code cell showed; the first is 0."""
        return page.locator(".jp-CodeCell").nth(cell).locator(".jp-Cell-outputArea")

    def screenshot(self, page: Page, file: Path, selector: str = ".jp-Notebook") -> Path:
        """Write a PNG of the whole of an element, in a window tall enough that nothing of it is scrolled away."""
        part = page.locator(selector).first
        needed = part.evaluate("part => part.getBoundingClientRect().top + part.scrollHeight")
        page.set_viewport_size({"width": _VIEWPORT["width"], "height": max(_VIEWPORT["height"], int(needed) + 80)})
        part.screenshot(path=file, animations="disabled")
        page.set_viewport_size(_VIEWPORT)
        return file

    def close_pages(self) -> None:
        """Close all windows and end their kernels."""
        for page in self._console:
            page.close()
        self._console.clear()
        for session in self.server.ask("GET", "/api/sessions"):
            self.server.ask("DELETE", f"/api/sessions/{session['id']}")


def _keep(said: list[str], message: ConsoleMessage) -> None:
    where: Any = message.location
    text = f"{message.text} ({where.get('url', '')})"
    if message.type == "error":
        said.append(text)
