"""A selection's columns, and a selection as text and as HTML. Every text from the store is untrusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from storekit.frames.contract import ROWS
from storekit.frames.display import escape, human_bytes, human_count, human_instant, plain, task_name
from storekit.frames.preview import GROUP_COLUMNS
from storekit.frames.report import cut, framed, html_table
from storekit.retention.verdicts import Fate

if TYPE_CHECKING:
    from storekit.frames.selection import Selection

__all__ = ["SCHEMA", "SELECTION_GROUPS", "SORT_COLUMNS", "counted", "field", "selection_html", "selection_text"]

_TYPES = {column.name: column for column in ROWS.columns}
_OURS = {
    "writer": pa.field("writer", pa.string()),
    "verdict": pa.field("verdict", pa.string(), nullable=False),
    "reason": pa.field("reason", pa.string(), nullable=False),
    "margin": pa.field("margin", pa.duration("us")),
    "dangers": pa.field("dangers", pa.string()),
}


def field(name: str) -> pa.Field:
    """Return a column of a selection's, with its type."""
    if name in _OURS:
        return _OURS[name]
    return pa.field(name, _TYPES[name].type, nullable=_TYPES[name].nullable)


def counted(*names: str) -> list[pa.Field]:
    """Return columns that hold counts."""
    return [pa.field(name, pa.int64(), nullable=False) for name in names]


_NAMES = (
    *("store", "dag_id", "run_id", "task_id", "map_index", "region_id", "asset_id", "asset_name", "asset_uri"),
    *("active", "key", "value_bytes", "updated_at", "expires_at", "never_expire", "writer", "task_state"),
    *("is_reference", "verdict", "reason", "margin", "dangers"),
)
SCHEMA = pa.schema([field(name) for name in _NAMES])
"""The columns of `Selection.rows`."""

SORT_COLUMNS = tuple(name for name in _NAMES if name != "dangers")
"""What `Selection.rows` can sort by: each of its columns but dangers, which are a list."""

SELECTION_GROUPS = (*GROUP_COLUMNS, "writer", "verdict", "reason")
"""What `Selection.by` can group by."""

_SHOWN = 10
_NARROW = 28


def selection_text(selection: Selection, of: int) -> str:
    """Return the filters and the totals as text; ``of``: how many rows the snapshot has."""
    return "\n".join(["storekit selection", *(f"  {name:<15}{value}" for name, value in _card(selection, of))])


def selection_html(selection: Selection, of: int) -> str:
    """Return the filters, the totals and the first rows as HTML."""
    card = "".join(
        f'<tr><th scope="row">{name}</th><td>{escape(value)}</td></tr>' for name, value in _card(selection, of)
    )
    parts = [
        '<p class="sk-title">storekit selection</p>',
        f'<table class="sk-card"><tbody>{card}</tbody></table>',
    ]
    if rows := len(selection):
        head = "Rows" if rows <= _SHOWN else f"The first {_SHOWN} of {human_count(rows)} rows"
        parts += [f'<p class="sk-head">{head}</p>', _table(selection.rows(_SHOWN))]
    return framed("".join(parts))


def _card(selection: Selection, of: int) -> list[tuple[str, str]]:
    return [
        *((name, repr(plain(given))) for name, given in selection.filters.items()),
        ("judged at", human_instant(selection.now)),
        ("rows", f"{human_count(len(selection))} of {human_count(of)}"),
        ("values", human_bytes(selection.value_bytes)),
    ]


def _table(rows: pd.DataFrame) -> str:
    lines = [
        f'<th scope="row">{cut(row["key"])}</th><td>{row["store"]}</td>'
        + "".join(f"<td>{'-' if each is None else cut(each, _NARROW)}</td>" for each in _place(row))
        + f'<td class="sk-n">{human_bytes(row["value_bytes"])}</td><td>{row["updated_at"]:%Y-%m-%d %H:%M}</td>'
        + f"<td{' class=sk-delete' if row['verdict'] == Fate.DELETE else ''}>{row['verdict']}</td>"
        + f"<td>{escape(row['reason'])}</td>"
        for row in rows.to_dict("records")
    ]
    return html_table(
        ["key", "store", "Dag or asset", "run", "task", "bytes", "last write", "verdict", "reason"], lines
    )


def _place(row: Mapping[Any, Any]) -> tuple[str | None, str | None, str | None]:
    if row["store"] == "asset":
        return row["asset_name"], None, None
    return row["dag_id"], row["run_id"], task_name(row["task_id"], row["map_index"])
