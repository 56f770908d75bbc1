"""Tables for a terminal. Every cell is untrusted text: control characters are spelled out, not obeyed."""

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


def console() -> Console:
    """Return a console on stdout, without markup: text in brackets is text."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return _Pipe(width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are, their control characters spelled."""
    out = console()
    for line in lines:
        out.print(Text(plain(line)), soft_wrap=True)


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
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, name in enumerate(head):
        table.add_column(Text(plain(name)), justify="right" if place in right else "left", overflow="fold")
    for row in body:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console().print(table)


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
