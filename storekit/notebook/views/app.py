"""`storekit.explore`: one app over all of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import ipywidgets as widgets

from storekit.frames.display import escape
from storekit.frames.preview import Preview
from storekit.frames.report import preview_html
from storekit.frames.simview import simulation_html
from storekit.frames.snapshot import Snapshot
from storekit.notebook.parts import Notice, Tabs
from storekit.notebook.state import Explorer, State, in_thread
from storekit.notebook.state.explorer import SECTIONS
from storekit.notebook.state.trouble import trouble_of
from storekit.notebook.views.base import View, WorkView, as_typed, row, say, show, still
from storekit.notebook.views.contents import ContentsBrowser
from storekit.notebook.views.figure import get_ready
from storekit.notebook.views.ground import Ground
from storekit.notebook.views.lab import PolicyLab
from storekit.notebook.views.plan import PlanReview
from storekit.notebook.views.preview import PreviewTable
from storekit.notebook.views.still import contents_still
from storekit.retention.policy import Policy
from storekit.store import Store

__all__ = ["App", "explore"]

_VIEWS: dict[str, Callable[[Any], View]] = {
    "contents": ContentsBrowser,
    "lab": PolicyLab,
    "preview": PreviewTable,
    "plan": PlanReview,
}
_PICTURE_ROWS = 300_000  # of what is larger, the lab is not simulated for a picture that nobody may see


class App(widgets.VBox):
    """The app. Made by `explore`.

    Attributes
    ----------
    state : storekit.notebook.state.Explorer
        All that is shown; setting its traits drives the app.
    """

    def __init__(self, state: Explorer) -> None:
        self.state = state
        source = state.source
        self._title = widgets.HTML()
        self._now = widgets.Text(
            description="Judge at (UTC)",
            placeholder="when the snapshot was taken",
            continuous_update=False,
            value=source.now,
        )
        self._now.add_class("sk-instant")
        self._refresh = widgets.Button(description="Read again", disabled=source.store is None)
        self._notice = Notice()
        self._tabs = Tabs(titles=list(SECTIONS.values()), label="Sections")
        self._views: dict[str, View] = {}
        self._body = widgets.VBox()
        super().__init__(
            [
                self._title,
                row(self._now, self._refresh),
                WorkView(source),
                self._notice,
                self._tabs,
                self._body,
                Ground(),
            ]
        )
        self.add_class("sk-app")
        self._now.observe(lambda change: source.set_trait("now", change["new"]), ["value"])
        self._refresh.on_click(lambda _button: state.refresh())
        self._tabs.observe(self._choose, ["selected"])
        source.observe(self._draw, ["moment", "trouble", "now"])
        source.work.observe(self._draw, ["running"])
        state.observe(self._draw, ["section"])
        self._draw(None)
        # While the user looks at the contents.
        threading.Thread(target=get_ready, name="storekit-ready").start()

    def view(self, section: str) -> View:
        """Return a section's view; made when it is first opened.

        Parameters
        ----------
        section
            One of `storekit.notebook.state.explorer.SECTIONS`: ``"contents"``, ``"lab"``, ``"preview"``, ``"plan"``.
        """
        if section not in self._views:
            state: State = self.state.states[section]
            self._views[section] = _VIEWS[section](state)
        return self._views[section]

    def _choose(self, change: Any) -> None:
        section = list(SECTIONS)[min(change["new"], len(SECTIONS) - 1)]
        if self.state.source.snapshot is not None:
            # At once: its answer may take a while, in which the last section would stand under its title. Under the
            # lock: the next tab may be chosen meanwhile, in another thread.
            with self.state.source.lock:
                self._guarded(lambda: self._show(self.view(section)))
        self.state.section = section

    def _draw(self, _change: Any) -> None:
        source = self.state.source
        with source.lock:
            say(self._notice, as_typed(source, source.trouble))
            self._guarded(self._draw_all)

    def _guarded(self, draw: Callable[[], None]) -> None:
        try:
            draw()
        except Exception as error:  # an observer's is swallowed
            say(self._notice, trouble_of(error))

    def _draw_all(self) -> None:
        source = self.state.source
        self._title.value = f'<h2 class="sk-heading">{escape(source.title)}</h2>'
        self._now.value = source.now
        self._tabs.selected = list(SECTIONS).index(self.state.section)
        if source.snapshot is not None:
            view = self.view(self.state.section)
            if isinstance(view, PreviewTable):
                view.offer(self.state.lab.policies)
            self._show(view)

    def _show(self, view: View) -> None:
        # The others are put aside, not taken out: a figure of plotly's that is taken out listens on, and what it then
        # raises keeps the new one from being drawn.
        if view not in self._body.children:
            self._body.children = (*self._body.children, view)
        for each in self._body.children:
            each.layout.display = None if each is view else "none"

    def fallback(self) -> str:
        """Return what a viewer without a kernel shows: HTML, escaped, with tables and pictures."""
        state, snapshot = self.state, self.state.source.snapshot
        if snapshot is None:
            return ""
        parts = [snapshot._repr_html_()]
        if state.contents.shown is not None:
            parts.append(contents_still(state.contents.shown))
        parts.append(preview_html(Preview(snapshot, state.source.instant)))
        if state.lab.shown is None and len(snapshot) <= _PICTURE_ROWS:
            state.lab.refresh()
        if state.lab.shown is not None:
            parts.append(simulation_html(state.lab.shown.simulation))
        return "".join(parts)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)
        bundle["text/html"] = still(self.fallback, self.state.source)
        return bundle

    def _ipython_display_(self) -> None:
        show(self._repr_mimebundle_())

    def __repr__(self) -> str:
        # ipywidgets' own would spell every widget inside.
        return f"storekit.explore({self.state.source.title})"


def explore(
    store_or_snapshot: Store | Snapshot,
    *,
    now: datetime | str | None = None,
    policies: Policy | Iterable[Policy] | None = None,
) -> App:
    """Open the app: contents, what-if, preview, plan.

    Nothing is deleted but by a plan, on a store that was opened with ``writable=True``, behind a typed confirmation.

    Parameters
    ----------
    store_or_snapshot
        A store, of which a snapshot is taken at once; or a snapshot, of which no values can be read and by which
        nothing can be deleted.
    now
        The instant at which rows are judged, aware or ISO text with a zone; None: when the snapshot was taken.
    policies
        What the lab starts with, one to six; None: as written, 30 days and 14 days.

    Returns
    -------
    App
        A widget. ``.state`` is all that it shows; several apps share nothing.

    Raises
    ------
    QueryError
        If it is neither a store nor a snapshot, ``now`` is no instant, or there are too many policies.
    """
    return App(Explorer(store_or_snapshot, now=now, policies=policies, runner=in_thread))
