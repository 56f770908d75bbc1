"""What is in a store: facets, search, a page of rows, distributions, and a value on request."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pandas as pd
from traitlets import Bool, Instance, Int, Unicode

from storekit.errors import QueryError
from storekit.frames.display import human_bytes, plain
from storekit.frames.selection import Selection
from storekit.notebook.state.calls import Raw, call
from storekit.notebook.state.paging import Page, Paged, ordered

__all__ = ["FACETS", "Contents", "ContentsShown", "Value"]

FACETS = ("dag_id", "task_id", "key", "writer")
"""The columns that are counted beside the table."""

_FACET_LINES = 12
_LARGEST_VALUE = 1_000_000  # bytes; what is larger is no thing to look at in a notebook
_VALUE_SHOWN = 4_000  # characters
_TASK_KEY = ("dag_id", "run_id", "task_id", "map_index", "key")
_ASSET_KEY = ("asset_id", "key")


@dataclass(frozen=True)
class Value:
    """A value that was asked for, as it may be shown: control characters are spelled, and it is cut.

    Attributes
    ----------
    text : str
        The stored text; JSON over several lines, where that loses nothing.
    cut : bool
        Whether there is more.
    about : str
        What it is, in a few words.
    """

    text: str
    cut: bool
    about: str


@dataclass(frozen=True, eq=False)
class ContentsShown:
    """What `Contents` shows.

    Attributes
    ----------
    selection : Selection
        The rows that pass the filters.
    total_rows, total_bytes : int
        Of it.
    rows : DataFrame
        The page, as `Selection.rows`.
    page : Page
        Which one.
    facets : dict of str to DataFrame
        For each of `FACETS` its values, as `Selection.by`, counted under the other filters.
    more : frozenset of str
        Those of which there are more values than the table holds.
    sizes, ages : DataFrame
        As `Selection.sizes` and `Selection.ages`.
    call : str
        The Python call that returns the page.
    """

    selection: Selection
    total_rows: int
    total_bytes: int
    rows: pd.DataFrame
    page: Page
    facets: dict[str, pd.DataFrame]
    more: frozenset[str]
    sizes: pd.DataFrame
    ages: pd.DataFrame
    call: str


class Contents(Paged):
    """What is in a store.

    Attributes
    ----------
    text : str
        Searched for, whatever the case, in Dag, run, task, key and asset.
    store : str or None
        ``task`` or ``asset``.
    dag_id, task_id, key, writer : str or None
        Exactly these; None: all.
    sort : str
        The column that orders the rows; empty: the natural key.
    descending : bool
        Whether the largest come first.
    page, page_size : int
        Which rows are shown, from page 0.
    selected : int
        A row of the page, from 0; -1: none.
    value : Value or None
        What `reveal` read; gone with the next change.
    """

    inputs: ClassVar = (
        "text",
        "store",
        "dag_id",
        "task_id",
        "key",
        "writer",
        "sort",
        "descending",
        "page",
        "page_size",
    )
    text = Unicode("")
    store = Unicode(None, allow_none=True)
    dag_id = Unicode(None, allow_none=True)
    task_id = Unicode(None, allow_none=True)
    key = Unicode(None, allow_none=True)
    writer = Unicode(None, allow_none=True)
    sort = Unicode("")
    descending = Bool(False)
    selected = Int(-1)
    value = Instance(Value, allow_none=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._selection: Selection | None = None
        self._counted: dict[str, Any] = {}
        super().__init__(*args, **kwargs)
        self.observe(self._forget, ["selected", "shown"])

    def clear(self) -> None:
        """Take all filters back."""
        self.set(text="", store=None, dag_id=None, task_id=None, key=None, writer=None, page=0)

    def _answer(self) -> ContentsShown:
        filters = self._asked()
        if self._turned(*filters.values()) or self._selection is None:
            self._selection = self.source.snapshot.select(now=self.source.instant, **filters)
            self._counted = self._count(filters)
        selection = self._selection
        page = self._turn(len(selection))
        order = ordered(self.sort, descending=self.descending)
        rows = selection.rows(page.size, page.offset, **order)
        self.selected = -1
        asked = call("snap.select", **{**filters, "now": self.source.now_argument})
        return ContentsShown(
            selection=selection,
            total_rows=len(selection),
            total_bytes=selection.value_bytes,
            rows=rows,
            page=page,
            call=call(f"{asked}.rows", *page.arguments, **order),
            **self._counted,
        )

    def _asked(self) -> dict[str, Any]:
        return {
            "text": self.text or None,
            "store": self.store,
            **{name: getattr(self, name) for name in FACETS},
        }

    def _count(self, filters: dict[str, Any]) -> dict[str, Any]:
        assert self._selection is not None  # noqa: S101 - set by the caller
        facets, more = {}, set()
        for name in FACETS:
            # By the other filters: what else could be chosen.
            others = self._selection
            if filters[name] is not None:
                others = self.source.snapshot.select(now=self.source.instant, **{**filters, name: None})
            lines = others.by(name, limit=_FACET_LINES + 1)
            if len(lines) > _FACET_LINES:
                more.add(name)
            facets[name] = lines.head(_FACET_LINES)
        return {
            "facets": facets,
            "more": frozenset(more),
            "sizes": self._selection.sizes(),
            "ages": self._selection.ages(),
        }

    # --- a value -----------------------------------------------------------------------------------------------

    def reveal(self) -> None:
        """Read the value of the selected row from the store: it may be a secret, so nothing else reads one."""
        self._begin()
        try:
            self.value = self._read()
        except Exception as error:
            self._fail(error)

    def _read(self) -> Value:
        row = self._selected_row()
        store = self.source.store
        if store is None:
            raise QueryError("a snapshot holds no values", hint="explore the store itself: sk.explore(sk.connect(url))")
        where = self._where(row)
        if row["value_bytes"] > _LARGEST_VALUE:
            raise QueryError(
                f"the value is {human_bytes(int(row['value_bytes']))}, too large to be shown",
                hint=f"read it in Python: {self._reading(row, where)}",
            )
        table = store.tasks if row["store"] == "task" else store.assets
        found = table(where=where)
        if row["store"] == "task" and not pd.isna(row["region_id"]):
            found = found[found["region_id"] == row["region_id"]]
        if len(found) != 1:
            raise QueryError("the row is not in the store any more", hint="refresh, to see what is there now")
        value = _shown(str(found["value"].iloc[0]))
        # The table beside it is of the snapshot.
        again = found["updated_at"].iloc[0] != row["updated_at"]
        return replace(value, about=f"{value.about}, written again since the snapshot") if again else value

    @property
    def value_call(self) -> str:
        """The Python call that reads the value of the selected row; empty: none is selected."""
        if not self._is_selected:
            return ""
        row = self._selected_row()
        return self._reading(row, self._where(row))

    @property
    def _is_selected(self) -> bool:
        return self.shown is not None and 0 <= self.selected < len(self.shown.rows)

    def _selected_row(self) -> dict[Any, Any]:
        if not self._is_selected:
            raise QueryError("no row is selected", hint="select a row of the table")
        row: dict[Any, Any] = self.shown.rows.iloc[self.selected].to_dict()
        return row

    @staticmethod
    def _where(row: dict[Any, Any]) -> dict[str, Any]:
        names = _TASK_KEY if row["store"] == "task" else _ASSET_KEY
        return {name: int(row[name]) if name in {"map_index", "asset_id"} else str(row[name]) for name in names}

    @staticmethod
    def _reading(row: dict[Any, Any], where: dict[str, Any]) -> str:
        rows = call(f"store.{row['store']}s", where=Raw(repr(where)))
        if row["store"] == "task" and not pd.isna(row["region_id"]):
            return f'{rows}.query("region_id == @region", local_dict={{"region": {row["region_id"]!r}}})["value"]'
        return f'{rows}["value"]'

    def _forget(self, _change: Any) -> None:
        self.value = None


def _shown(text: str) -> Value:
    size = human_bytes(len(text.encode()))
    try:
        laid_out, what = _laid_out(text), "JSON"
    except (ValueError, RecursionError):
        laid_out, what = text, "text, not JSON"
    lines = "\n".join(plain(line) for line in laid_out[: _VALUE_SHOWN * 2].split("\n"))
    return Value(lines[:_VALUE_SHOWN], len(laid_out) > _VALUE_SHOWN or len(lines) > _VALUE_SHOWN, f"{what}, {size}")


def _laid_out(text: str) -> str:
    """Return JSON over several lines, if nothing of it is lost by that; else as it is stored.

    A key that is there twice, 1.10 and a number of 25 digits would not survive being read.
    """
    read = json.loads(text)
    if isinstance(read, str):
        return text
    for separators in ((", ", ": "), (",", ":")):
        for ascii_only in (True, False):
            if json.dumps(read, separators=separators, ensure_ascii=ascii_only) == text:
                return json.dumps(read, indent=2, ensure_ascii=False)
    return text
