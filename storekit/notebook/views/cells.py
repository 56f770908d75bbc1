"""Rows of a DataFrame as the texts of a table's cells: safe, short, and for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from storekit.frames.display import human_bytes, human_count, human_instant, human_margin, plain

__all__ = [
    "MISSING",
    "Column",
    "bytes_of",
    "count_of",
    "facet_items",
    "heads",
    "instant_of",
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
    """

    name: str
    label: str
    said: Callable[[Row], str]
    numeric: bool = False
    sortable: bool = True


def heads(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return the columns as the table part takes them."""
    return [
        {"name": each.name, "label": each.label, "numeric": each.numeric, "sortable": each.sortable} for each in columns
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
    return plain(row["task_id"]) if _missing(index) or index == -1 else f"{plain(row['task_id'])}[{index}]"


def object_of(row: Row) -> str:
    """Return the Dag of a task row, or the asset of an asset row."""
    if not _missing(row["dag_id"]):
        return plain(row["dag_id"])
    return f"asset {plain(row['asset_name'])}" if "asset_name" in row and not _missing(row["asset_name"]) else "asset"


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
