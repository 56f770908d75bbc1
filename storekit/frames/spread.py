"""Distributions of a selection's rows, by size and by age, as tables to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from storekit.frames.display import escape, human_bytes, human_count
from storekit.frames.report import bar, html_table

__all__ = ["age_name", "ages_html", "size_name", "sizes_html"]

Row = Mapping[Any, Any]


def size_name(row: Row) -> str:
    """Return what a line of `Selection.sizes` is called."""
    if row["to_bytes"] == 0:
        return "empty"
    return f"{human_bytes(row['from_bytes'])} to {human_bytes(row['to_bytes'])}"


def age_name(row: Row) -> str:
    """Return what a line of `Selection.ages` is called."""
    first, end = row["from_age"], row["to_age"]
    if pd.isna(first):
        return "after the snapshot"
    if pd.isna(end):
        return "more than a year"
    return f"{first.days} to {end.days} days" if first.days else "less than a day"


def sizes_html(sizes: pd.DataFrame) -> str:
    """Return `Selection.sizes` as a table with a bar for each line's rows."""
    return _table("size", [(size_name(row), row) for row in sizes.to_dict("records")])


def ages_html(ages: pd.DataFrame) -> str:
    """Return `Selection.ages` as a table with a bar for each line's rows."""
    return _table("age", [(age_name(row), row) for row in ages.to_dict("records")])


def _table(what: str, lines: list[tuple[str, Row]]) -> str:
    most = max((row["rows"] for _, row in lines), default=0) or 1
    body = [
        f'<th scope="row">{escape(name)}</th><td class="sk-n">{human_count(row["rows"])}</td>'
        f'<td class="sk-n">{human_bytes(row["value_bytes"])}</td>'
        f'<td class="sk-wide">{bar(row["rows"] / most)}</td>'
        for name, row in lines
    ]
    return html_table([what, "rows", "bytes", "rows, to scale"], body)
