"""Rows of a DataFrame as the texts of a table's cells: safe, short, and for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from storekit.frames.display import human_bytes, human_count, human_instant, human_margin, plain, task_name
from storekit.notebook.state.paging import Page

__all__ = [
    "MISSING",
    "RUN",
    "Column",
    "at_page",
    "by_dag",
    "bytes_of",
    "count_of",
    "facet_items",
    "fixed",
    "heads",
    "instant_of",
    "largest",
    "margin_of",
    "object_of",
    "table_rows",
    "task_of",
    "text_of",
]

Row = Mapping[Any, Any]

MISSING = "\0"
"""What a facet's line hands back that stands for rows without such a thing; no text of a store holds it."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    name
        By which it is sorted.
    label
        Its heading.
    said
        A row -> its cell.
    numeric
        Whether it is set to the right.
    sortable
        Whether rows can be ordered by it.
    short
        Whether an instant in it is shown to the second only, and the whole when it is pointed at.
    """

    name: str
    label: str
    said: Callable[[Row], str]
    numeric: bool = False
    sortable: bool = True
    short: bool = False


def fixed(*columns: Column) -> tuple[Column, ...]:
    """Return columns of a table whose rows stand in one order only."""
    return tuple(replace(each, sortable=False) for each in columns)


def by_dag(missing: str = "-") -> tuple[Column, ...]:
    """Return the columns of a table of Dags with their rows and bytes; ``missing``: what has none."""
    return fixed(
        Column("dag_id", "Dag", text_of("dag_id", missing)),
        Column("rows", "rows", count_of("rows"), numeric=True),
        Column("value_bytes", "bytes", bytes_of("value_bytes"), numeric=True),
    )


def largest(frame: pd.DataFrame, most: int) -> str:
    """Return what is said under a table of groups that has no place for all of them."""
    return f"the largest {most} of {len(frame):,}" if len(frame) > most else ""


def at_page(page: Page) -> dict[str, int]:
    """Return a page as the table part takes it."""
    return {"page": page.number, "pages": page.pages, "page_size": page.size}


def heads(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return the columns as the table part takes them."""
    return [
        {
            "name": each.name,
            "label": each.label,
            "numeric": each.numeric,
            "sortable": each.sortable,
            "short": each.short,
        }
        for each in columns
    ]


def table_rows(columns: Sequence[Column], frame: pd.DataFrame) -> list[list[str]]:
    """Return the rows as the table part takes them."""
    return [[each.said(row) for each in columns] for row in frame.to_dict("records")]


def _missing(cell: Any) -> bool:
    return cell is None or bool(pd.isna(cell))


def text_of(name: str, missing: str = "-") -> Callable[[Row], str]:
    """Return what says a text column."""
    return lambda row: missing if _missing(row[name]) else plain(row[name])


def count_of(name: str) -> Callable[[Row], str]:
    """Return what says a count."""
    return lambda row: "-" if _missing(row[name]) else human_count(int(row[name]))


def bytes_of(name: str) -> Callable[[Row], str]:
    """Return what says a size."""
    return lambda row: "-" if _missing(row[name]) else human_bytes(int(row[name]))


def instant_of(name: str, missing: str = "-") -> Callable[[Row], str]:
    """Return what says an instant, to the second."""

    def said(row: Row) -> str:
        if _missing(row[name]):
            return missing
        return human_instant(row[name].to_pydatetime(warn=False).replace(microsecond=0)).removesuffix(" UTC")

    return said


def margin_of(name: str = "margin") -> Callable[[Row], str]:
    """Return what says the distance to an expiry."""
    return lambda row: human_margin(None if _missing(row[name]) else pd.Timedelta(row[name]).to_pytimedelta())


def task_of(row: Row) -> str:
    """Return the task of a row, with its index where it is mapped."""
    if _missing(row["task_id"]):
        return "-"
    index = row["map_index"]
    return plain(task_name(row["task_id"], -1 if _missing(index) else index))


def object_of(row: Row) -> str:
    """Return the Dag of a task row, or the asset of an asset row."""
    if not _missing(row["dag_id"]):
        return plain(row["dag_id"])
    return f"asset {plain(row['asset_name'])}" if "asset_name" in row and not _missing(row["asset_name"]) else "asset"


RUN = Column("run_id", "run", text_of("run_id"), short=True)
"""The run of a row: what tells two of one task apart, and mostly longer than its place."""


def facet_items(frame: pd.DataFrame, name: str, missing: str) -> list[dict[str, Any]]:
    """Return the lines of a facet; what is missing can be seen and not be chosen."""
    lines: Iterable[Row] = frame.to_dict("records")
    most = max((int(row["value_bytes"]) for row in lines), default=0) or 1
    return [
        {
            "text": missing if _missing(row[name]) else plain(row[name]),
            "value": MISSING if _missing(row[name]) else str(row[name]),
            "rows": human_count(int(row["rows"])),
            "size": human_bytes(int(row["value_bytes"])),
            "share": int(row["value_bytes"]) / most,
            "missing": _missing(row[name]),
        }
        for row in lines
    ]
