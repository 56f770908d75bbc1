"""What is in a store, to look through: facets, search, a table, distributions, a value on request."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import ipywidgets as widgets

from storekit.frames.display import human_bytes, human_rows
from storekit.frames.report import framed
from storekit.frames.snapshot import Snapshot
from storekit.frames.spread import ages_html, sizes_html
from storekit.notebook.parts import Code, Facet, Table
from storekit.notebook.state import Contents
from storekit.notebook.state.contents import FACETS, ContentsShown
from storekit.notebook.state.paging import PAGE_SIZES
from storekit.notebook.views.base import View, row, state_of
from storekit.notebook.views.cells import (
    MISSING,
    RUN,
    Column,
    at_page,
    bytes_of,
    facet_items,
    heads,
    instant_of,
    object_of,
    table_rows,
    task_of,
    text_of,
)
from storekit.notebook.views.dangers import marks
from storekit.notebook.views.still import contents_still
from storekit.store import Store

__all__ = ["ContentsBrowser"]

COLUMNS = (
    Column("key", "key", text_of("key")),
    Column("dag_id", "Dag or asset", object_of),
    Column("task_id", "task", task_of),
    RUN,
    Column("value_bytes", "size", bytes_of("value_bytes"), numeric=True),
    Column("expires_at", "expires (UTC)", instant_of("expires_at", "no expiry")),
    Column("updated_at", "last write (UTC)", instant_of("updated_at")),
    Column("task_state", "task state", text_of("task_state")),
)

_EACH_LETTER = 100_000  # rows; in what is larger, Enter searches
_SEARCHED = "in Dag, run, task, key, asset"
_LABELS = {
    "dag_id": ("Dag", "asset rows"),
    "task_id": ("Task", "asset rows"),
    "key": ("Key", "no key"),
    "writer": ("Written by (assets)", "task rows"),
}


class ContentsBrowser(View):
    """What is in a store.

    Parameters
    ----------
    store_or_snapshot
        A store, or a snapshot; of a snapshot no values can be read.
    now
        The instant at which rows are judged, aware or ISO text with a zone; None: when the snapshot was taken.
    **inputs
        Inputs of `storekit.notebook.state.Contents` to start with, such as ``dag_id="etl"``.

    Examples
    --------
    >>> sk.notebook.ContentsBrowser(store, text="cursor")  # doctest: +SKIP
    """

    state: Contents

    def __init__(
        self, store_or_snapshot: Store | Snapshot | Contents, *, now: datetime | str | None = None, **inputs: Any
    ) -> None:
        state = state_of(store_or_snapshot, Contents, now, **inputs)
        self._search = widgets.Text(description="Search", placeholder=_SEARCHED)
        self._store = widgets.Dropdown(
            description="Rows of", options=[("both stores", ""), ("tasks", "task"), ("assets", "asset")]
        )
        self._clear = widgets.Button(description="Clear filters", icon="")
        self._facets = {name: Facet(label=_LABELS[name][0]) for name in FACETS}
        self._table = Table(
            caption="Rows",
            columns=heads(COLUMNS),
            page_sizes=list(PAGE_SIZES),
            selectable=True,
        )
        self._show = widgets.Button(description="Show the value", disabled=True)
        self._value = Code(label="Value")
        self._value.layout.display = "none"
        self._spread = widgets.HTML()
        side = widgets.VBox([*self._facets.values()])
        side.add_class("sk-side")
        main = widgets.VBox([self._value, self._table, self._spread])
        main.add_class("sk-main")
        columns = widgets.HBox([side, main])
        columns.add_class("sk-columns")
        alone = state is not store_or_snapshot
        super().__init__(state, [row(self._search, self._store, self._clear, self._show), columns], alone=alone)
        self.on(self._search, "value", lambda text: state.set(text=text))
        self.on(self._store, "value", lambda store: state.set(store=store or None))
        self.click(self._clear, state.clear)
        for name, facet in self._facets.items():
            self.on(facet, "selected", partial(self._narrow, name))
        self.turns(self._table, sorts=True)
        self.on(self._table, "selected", self._select)
        self.click(self._show, state.reveal)
        state.observe(lambda _change: self._drawn(self._draw_value), ["value", "selected"])

    def _narrow(self, name: str, value: str | None) -> None:
        if value == MISSING:  # the line of the other store's rows, which have no such thing
            self.state.set(store="task" if name == "writer" else "asset")
        else:
            self.state.set(**{name: value})

    def _select(self, at: int) -> None:
        self.state.selected = at

    def draw(self, shown: ContentsShown) -> None:
        state = self.state
        # In a large store each letter would be a search of its own.
        each_letter = len(state.source.snapshot) <= _EACH_LETTER
        self._search.continuous_update = each_letter
        self._search.placeholder = _SEARCHED if each_letter else f"{_SEARCHED}; then Enter"
        self._search.value, self._store.value = state.text, state.store or ""
        for name, facet in self._facets.items():
            facet.put(
                items=facet_items(shown.facets[name], name, _LABELS[name][1]),
                selected=getattr(state, name),
                more="and more: search finds them" if name in shown.more else "",
            )
        self._table.put(
            rows=table_rows(COLUMNS, shown.rows),
            marks=marks(shown.rows),
            **at_page(shown.page),
            total=f"{human_rows(shown.total_rows)}, {human_bytes(shown.total_bytes)}",
            sort=state.sort,
            descending=state.descending,
            selected=state.selected,
            empty="No row passes these filters." if len(state.source.snapshot) else "The store is empty.",
        )
        self._spread.value = framed(_spread(shown))
        self._draw_value()

    def _draw_value(self) -> None:
        state = self.state
        value_call = state.value_call  # empty: no row is selected
        self._show.disabled = not value_call
        self._value.layout.display = "none" if state.value is None else None
        if state.value is not None:
            more = "; cut, the rest is left out" if state.value.cut else ""
            self._value.put(label=f"Value: {state.value.about}{more}", text=state.value.text)
        if state.shown is not None:
            self._code.text = f"{state.shown.call}\n{value_call}".rstrip("\n")

    def fallback(self) -> str:
        return "" if self.state.shown is None else contents_still(self.state.shown)


def _spread(shown: ContentsShown) -> str:
    tables = [
        f'<div><p class="sk-head">{title}</p>{table}</div>'
        for title, table in (
            ("By size of the value", sizes_html(shown.sizes)),
            ("By last write", ages_html(shown.ages)),
        )
    ]
    return f'<div class="sk-pair">{"".join(tables)}</div>'
