"""Tables on stdout. Every cell is untrusted text: control characters are spelled out, not obeyed.

A pipe gets every line whole. In a terminal a table is laid out to its width, see `storekit.cli.layout`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from storekit.cli.layout import GAP, hung, laid_out
from storekit.frames.display import human_bytes, human_margin, plain

__all__ = ["console", "print_cells", "print_frame", "print_lines"]

# A pipe has no width: lines must not be cut to a terminal's.
_PIPE_WIDTH = 1_000_000

_HEADINGS = {
    "map_index": "map",
    "asset_name": "asset",
    "value_bytes": "bytes",
    "deleted_bytes": "bytes deleted",
    "kept_bytes": "bytes kept",
    "last_updated_by_kind": "written by",
    "last_updated_by_dag_id": "writer's dag",
    "last_updated_by_task_id": "writer's task",
}


class _Pipe(Console):
    """A console that lets `storekit.cli.main` say what a closed pipe means; rich would exit with 1."""

    def on_broken_pipe(self) -> None:
        raise


def console(least: int = 0) -> Console:
    """Return a console on stdout, ``least`` wide, without markup: text in brackets is text."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    made = _Pipe(width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)
    made.width = max(made.width, least)
    return made


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are, their control characters spelled; in a terminal wrapped between words, see `hung`."""
    out = console()
    for line in lines:
        for part in hung(plain(line), out.width):
            out.print(Text(part), soft_wrap=True)


def print_frame(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Print the named columns of a frame as a table."""
    heads = [_HEADINGS.get(name, name).replace("_", " ") for name in columns]
    kinds = [frame[name].dtype for name in columns]
    right = [
        place
        for place, kind in enumerate(kinds)
        if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
    ]
    rows = frame[list(columns)].itertuples(index=False, name=None)
    body = ([_cell(name, value) for name, value in zip(columns, row, strict=True)] for row in rows)
    print_cells(heads, body, right=right)


def print_cells(head: Sequence[str], body: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Print texts as a table; ``right`` says which columns stand to the right."""
    heads = [plain(name) for name in head]
    rows = ([plain(cell) for cell in row] for row in body)
    if not sys.stdout.isatty():
        console().print(_table(heads, rows, right))
        return
    layout = laid_out(heads, list(rows), console().width)
    table = _table(
        [heads[place] for place in layout.places],
        layout.rows,
        [number for number, place in enumerate(layout.places) if place in right],
        gap=layout.gap,
    )
    # What fits into no terminal is left to it: nothing is cut that was not meant to be.
    console(layout.width).print(table)
    if layout.left_out:
        print_lines([f"left out for want of room: {', '.join(layout.left_out)}"])


def _table(head: Sequence[str], body: Iterable[Sequence[str]], right: Sequence[int], gap: int = GAP) -> Table:
    # One column of the gap is the box's own.
    padding = (0, 1) if gap == GAP else (0, 1, 0, 0)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=padding)
    for place, name in enumerate(head):
        table.add_column(Text(name), justify="right" if place in right else "left", overflow="fold")
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _cell(name: str, value: Any) -> str:
    if name == "margin":
        return human_margin(None if pd.isna(value) else value)
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return "-"
    if name.endswith("bytes"):
        return human_bytes(int(value))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, timedelta):
        return human_margin(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return plain(value)
