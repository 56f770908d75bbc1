"""``storekit tables``: rows as they are, of a live database or a saved snapshot."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from storekit.cli.reading import is_saved_snapshot, opened, progress_bar
from storekit.errors import QueryError

if TYPE_CHECKING:
    import pandas as pd

    from storekit.frames.outcomes import Progress
    from storekit.frames.scan import TableScan
    from storekit.frames.snapshot import Snapshot
    from storekit.store import Store

__all__ = ["tables"]

_TABLE_ROWS = 20
_SHOWN = {
    "tasks": ["dag_id", "run_id", "task_id", "map_index", "key", "value_bytes", "updated_at", "expires_at"],
    "assets": [
        "asset_name",
        "asset_uri",
        "active",
        "key",
        "value_bytes",
        "updated_at",
        "last_updated_by_kind",
        "last_updated_by_dag_id",
    ],
}
_NUMBERS = frozenset({"map_index", "asset_id"})
_LARGEST = 2**63 - 1


def tables(options: argparse.Namespace) -> int:
    """List the rows of the task store and the asset store."""
    where = _where(options.where)
    names = _tables_with(where, options.store)
    if options.format == "csv" and len(names) > 1:
        raise QueryError("CSV holds one table", hint="add --store tasks or --store assets")
    with _listings(options, names, where) as (heading, listings):
        if options.format == "csv":
            _write_csv(listings[0], options.limit or None)
        elif options.format == "json":
            _write_json(listings, options.limit or None)
        else:
            _print_tables(heading, listings, options)
    return 0


# --- what is asked for -----------------------------------------------------------------------------------------


def _where(conditions: list[str]) -> dict[str, list[Any]]:
    where: dict[str, list[Any]] = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals or not name:
            raise QueryError(f"--where {condition!r} is not COLUMN=VALUE", hint="for example --where dag_id=etl")
        where.setdefault(name, []).append(_number(condition, name, value) if name in _NUMBERS else value)
    return where


def _number(condition: str, name: str, value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        number = None
    if number is None or abs(number) > _LARGEST:
        raise QueryError(f"--where {condition!r}: {name} is a whole number", hint=f"write {name}=0")
    return number


def _tables_with(where: dict[str, list[Any]], only: str | None) -> list[str]:
    """Return the tables that have every column of a filter: a row of the other table cannot be meant."""
    from storekit.metastore.scans import ASSET_FILTERS, TASK_FILTERS

    filters = {"tasks": TASK_FILTERS, "assets": ASSET_FILTERS}
    asked = [only] if only else list(filters)
    having = [name for name in asked if set(where) <= set(filters[name])]
    if not having:
        raise QueryError(
            f"--where: {' and '.join(asked)} cannot be filtered by {', '.join(map(repr, where))}",
            hint="; ".join(f"{name}: {', '.join(filters[name])}" for name in asked),
        )
    return having


# --- reading ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Listing:
    """One table's rows, to be read as often as is asked."""

    name: str
    schema: pa.Schema
    read: Callable[[], Iterator[pa.RecordBatch]]
    count: Callable[[], int]
    progress: Progress | None

    def batches(self, limit: int | None) -> Iterator[pa.RecordBatch]:
        left, done = limit, 0
        for batch in self.read():
            taken = batch if left is None else batch.slice(0, left)
            yield taken
            done += taken.num_rows
            if self.progress is not None:
                self.progress(done, 0)
            if left is not None:
                left -= taken.num_rows
                if left <= 0:
                    return

    def frames(self, limit: int | None) -> Iterator[pd.DataFrame]:
        from storekit.frames.dtypes import to_frame

        for batch in self.batches(limit):
            yield to_frame([batch], self.schema)


@contextmanager
def _listings(
    options: argparse.Namespace, names: list[str], where: dict[str, list[Any]]
) -> Iterator[tuple[str, list[_Listing]]]:
    if is_saved_snapshot(options.url):
        if options.values:
            raise QueryError("a saved snapshot holds no values", hint="leave --values out, or name the database")
        from storekit.frames.display import human_instant
        from storekit.frames.snapshot import open_snapshot

        taken = open_snapshot(options.url)
        heading = (
            f"{taken.info.database}   layout {taken.info.layout}   snapshot of {human_instant(taken.info.taken_at)}"
        )
        yield heading, [_of_snapshot(taken, name, where) for name in names]
        taken.close()
        return
    with opened(options, config=None) as store, progress_bar() as progress:
        heading = f"{store.description}   layout {store.layout.name}"
        shown = progress if options.format != "table" else None
        yield heading, [_of_store(store, name, where, values=options.values, progress=shown) for name in names]


def _of_store(
    store: Store, name: str, where: dict[str, list[Any]], *, values: bool, progress: Progress | None
) -> _Listing:
    def scan(*, values: bool) -> TableScan:
        scanned = store.scan_tasks if name == "tasks" else store.scan_assets
        return scanned(values=values, where=where)

    def count() -> int:
        return sum(batch.num_rows for batch in scan(values=False)) if where else store.counts()[name]

    wanted = scan(values=values)
    return _Listing(name, wanted.schema, lambda: iter(wanted), count, progress)


def _of_snapshot(taken: Snapshot, name: str, where: dict[str, list[Any]]) -> _Listing:
    from storekit.frames.contract import ASSETS, TASKS

    frame, table = (taken.tasks(), TASKS) if name == "tasks" else (taken.assets(), ASSETS)
    for column, wanted in where.items():
        frame = frame[frame[column].isin(wanted)]
    schema = table.schema(values=False)
    held = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    return _Listing(name, schema, lambda: iter(held.to_batches()), lambda: len(held), None)


# --- writing ---------------------------------------------------------------------------------------------------


def _write_csv(listing: _Listing, limit: int | None) -> None:
    from pyarrow import csv

    sys.stdout.flush()
    with csv.CSVWriter(sys.stdout.buffer, listing.schema) as writer:
        for batch in listing.batches(limit):
            writer.write_batch(batch)


def _write_json(listings: list[_Listing], limit: int | None) -> None:
    for number, listing in enumerate(listings):
        sys.stdout.write(("{" if number == 0 else ",\n") + json.dumps(listing.name) + ": [")
        separator = "\n"
        for frame in listing.frames(limit):
            for record in _records(frame):
                sys.stdout.write(separator + record)
                separator = ",\n"
        sys.stdout.write("\n]")
    sys.stdout.write("}\n")


def _records(frame: pd.DataFrame) -> Iterator[str]:
    text = frame.to_json(orient="records", date_format="iso", date_unit="us", lines=True, force_ascii=False)
    yield from (line for line in text.split("\n") if line)


def _print_tables(heading: str, listings: list[_Listing], options: argparse.Namespace) -> None:
    from storekit.cli.render import print_frame, print_lines

    limit = _TABLE_ROWS if options.limit is None else options.limit or None
    for number, listing in enumerate(listings):
        frames = list(listing.frames(limit))
        shown = sum(len(frame) for frame in frames)
        total = shown if limit is None or shown < limit else listing.count()
        if number == 0:
            print_lines([heading])
        print_lines(["", f"{listing.name}: {total:,} row(s)" + (f", {shown:,} listed" if shown < total else "")])
        columns = list(_SHOWN[listing.name])
        if any(frame["region_id"].notna().any() for frame in frames if "region_id" in frame):
            columns.insert(columns.index("key"), "region_id")  # 3.4: an expansion's rows differ by nothing else
        if options.values:
            columns.insert(columns.index("value_bytes"), "value")
        for frame in frames:
            if len(frame):
                print_frame(frame, columns)
