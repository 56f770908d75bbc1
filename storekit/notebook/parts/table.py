"""A table of texts that is paged and sorted elsewhere."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Dict, Int, List, TraitError, Unicode, validate

from storekit.notebook.parts.base import Part, script
from storekit.notebook.parts.checks import records

__all__ = ["MARKS", "Table"]

MARKS = ("", "delete", "danger")
"""What a row may be marked as; each is shown as a sign and a word with a title."""


class Table(Part):
    """One page of a table, with sorting, paging and the choice of a row.

    The part sorts and pages nothing: it says what was asked for, and shows the rows that it is given. Sorting does not
    change the page, and paging does not change the selection: whoever fills the table decides.

    Attributes
    ----------
    caption : str
        The table's name.
    columns : list of dict
        ``name`` (str), ``label`` (str; the name where left out), ``numeric`` (bool: aligned right),
        ``sortable`` (bool), ``short`` (bool: an instant within is shown to the second, and what is long is cut in the
        middle; the whole is the cell's title).
    rows : list of list of str
        The texts of this page, a list per row, one per column. The first is the row's header.
    marks : list of str
        One of `MARKS` per row, in a column of their own; a list that is too short marks no further row, and with an
        empty one there is no such column.
    sort : str
        The column's name, or empty. *Set by the user.*
    descending : bool
        *Set by the user*: a column asked for again is turned round.
    page : int
        From 0. *Set by the user.*
    pages : int
        How many there are; with 0 or 1 the paging buttons are not shown.
    total : str
        Such as ``1,234 rows``.
    page_size : int
        Rows per page. *Set by the user.*
    page_sizes : list of int
        What can be chosen; with fewer than two there is no choice.
    selected : int
        The row on this page, from 0; -1 for none. *Set by the user*: a row chosen again is none.
    selectable : bool
        Whether rows can be chosen.
    busy : bool
        Whether the rows shown are about to be replaced.
    empty : str
        What is said where there are no rows.

    Raises
    ------
    traitlets.TraitError
        Also where a row has not one text per column.
    """

    _esm = script("table")

    caption = Unicode().tag(sync=True)
    columns = List(Dict()).tag(sync=True)
    rows = List(List(Unicode())).tag(sync=True)
    marks = List(Unicode()).tag(sync=True)
    sort = Unicode().tag(sync=True)
    descending = Bool().tag(sync=True)
    page = Int(min=0).tag(sync=True)
    pages = Int(1, min=0).tag(sync=True)
    total = Unicode().tag(sync=True)
    page_size = Int(20, min=1).tag(sync=True)
    page_sizes = List(Int(min=1), [10, 20, 50, 100]).tag(sync=True)
    selected = Int(-1, min=-1).tag(sync=True)
    selectable = Bool(True).tag(sync=True)
    busy = Bool().tag(sync=True)
    empty = Unicode("No rows").tag(sync=True)

    @validate("columns")
    def _columns(self, proposal: Any) -> list[dict[str, Any]]:
        optional = {"label": "", "numeric": False, "sortable": False, "short": False}
        columns = records("columns", proposal["value"], {"name": str}, optional)
        names = [column["name"] for column in columns]
        if len(set(names)) < len(names):
            raise TraitError(f"columns have one name twice: {', '.join(names)}")
        return [{**column, "label": column["label"] or column["name"]} for column in columns]

    @validate("rows")
    def _rows(self, proposal: Any) -> list[list[str]]:
        rows: list[list[str]] = proposal["value"]
        for place, row in enumerate(rows):
            if len(row) != len(self.columns):
                raise TraitError(f"rows[{place}] has {len(row)} texts for {len(self.columns)} columns")
        return rows

    @validate("marks")
    def _marks(self, proposal: Any) -> list[str]:
        marks: list[str] = proposal["value"]
        for mark in marks:
            if mark not in MARKS:
                raise TraitError(f"a mark is {mark!r}; it may be one of {', '.join(map(repr, MARKS))}")
        return marks
