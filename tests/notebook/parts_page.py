"""A page that shows parts without Jupyter: each module beside a model that only remembers, with a theme's colours."""

from __future__ import annotations

import json
from typing import Any

import anywidget

from storekit.notebook.parts import Part

__all__ = ["THEMES", "PartsPage", "state_of"]

THEMES = {
    "light": {
        "--jp-content-font-color1": "rgba(0, 0, 0, 0.87)",
        "--jp-layout-color1": "white",
        "--jp-brand-color1": "#1976d2",
        "--jp-error-color1": "#d32f2f",
        "--jp-warn-color1": "#f57c00",
    },
    "dark": {
        "--jp-content-font-color1": "#fff",
        "--jp-layout-color1": "#212121",
        "--jp-brand-color1": "#2196f3",
        "--jp-error-color1": "#f44336",
        "--jp-warn-color1": "#ff9800",
    },
}
"""JupyterLab's colours, as far as the style sheet asks for them; ``bare`` pages have none."""

_BARE = {"bare-light": ("white", "#111"), "bare-dark": ("#1e1e1e", "#d4d4d4")}

_SCRIPT = """
window.models = {};
window.ends = {};
class Model {
  constructor(state) { this.state = state; this.changed = {}; this.sent = []; this.listeners = {}; }
  get(name) { return this.state[name]; }
  on(event, listener) { (this.listeners[event] ??= new Set()).add(listener); }
  off(event, listener) { this.listeners[event]?.delete(listener); }
  fire(name) { for (const listener of [...(this.listeners[`change:${name}`] ?? [])]) listener(); }
  set(name, value) {
    if (JSON.stringify(this.state[name]) === JSON.stringify(value)) return;
    this.state[name] = value;
    this.changed[name] = value;
    this.fire(name);
  }
  save_changes() {
    if (Object.keys(this.changed).length) this.sent.push(this.changed);
    this.changed = {};
  }
  fromKernel(changes) {
    Object.assign(this.state, changes);
    for (const name of Object.keys(changes)) this.fire(name);
  }
}
window.mount = async (name, esm, state, width) => {
  const module = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
  const el = document.createElement("div");
  el.id = name;
  if (width) el.style.width = width;
  document.querySelector("main").append(el);
  window.models[name] = new Model(state);
  window.ends[name] = module.default.render({ model: window.models[name], el });
};
null;
"""


def state_of(part: Part) -> dict[str, Any]:
    """What a front end holds of a part: its own traits, as JSON carries them."""
    names = set(part.trait_names(sync=True)) - set(anywidget.AnyWidget.class_trait_names())
    return json.loads(json.dumps({name: getattr(part, name) for name in names if not name.startswith("_")}))


class PartsPage:
    """The page, and what was sent from it.

    Parameters
    ----------
    page
        Playwright's page.
    theme
        ``light``, ``dark``, ``bare-light`` or ``bare-dark``.
    """

    def __init__(self, page: Any, theme: str = "light") -> None:
        self.page = page
        self._parts: dict[str, Part] = {}
        self._taken: dict[str, int] = {}
        paper, ink = _BARE.get(theme, ("var(--jp-layout-color1)", "var(--jp-content-font-color1)"))
        variables = ";".join(f"{name}:{value}" for name, value in THEMES.get(theme, {}).items())
        page.set_content(
            f'<!doctype html><html lang="en"><head><title>Parts</title><style>:root{{{variables}}}'
            f"body{{margin:14px;background:{paper};color:{ink}}} main>div{{margin:0 0 16px}}{Part._css}</style></head>"
            f'<body data-jp-theme-light="{str("light" in theme).lower()}"><main></main></body></html>'
        )
        page.evaluate(_SCRIPT)

    def show(self, name: str, part: Part, *, width: str = "") -> Any:
        """Mount a part; return its element's locator."""
        self._parts[name], self._taken[name] = part, 0
        state = state_of(part)
        self.page.evaluate("([n, e, s, w]) => mount(n, e, s, w)", [name, str(part._esm), state, width])
        return self.page.locator(f"#{name}")

    def kernel(self, name: str, **values: Any) -> None:
        """Set traits in the kernel; the browser is told what differs."""
        before = state_of(self._parts[name])
        self._parts[name].put(**values)
        after = state_of(self._parts[name])
        changed = {key: value for key, value in after.items() if value != before[key]}
        self.page.evaluate("([n, c]) => models[n].fromKernel(c)", [name, changed])

    def sent(self, name: str) -> list[dict[str, Any]]:
        """Messages since last asked; each is put into the part in Python, which must take it."""
        every: list[dict[str, Any]] = self.page.evaluate("n => models[n].sent", name)
        new, self._taken[name] = every[self._taken[name] :], len(every)
        for message in new:
            self._parts[name].put(**message)
        return new

    def focused(self) -> str:
        """The accessible name of what has the focus, or its text."""
        return self.page.evaluate(
            "(e => e.getAttribute('aria-label') || e.textContent.trim() || e.tagName)(document.activeElement)"
        )
