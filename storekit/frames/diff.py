"""What changed between two snapshots."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

import pandas as pd
import pyarrow as pa

from storekit.engines.duckdb import DuckDBEngine
from storekit.engines.texts import NO_LIMIT
from storekit.errors import QueryError
from storekit.frames.answers import answer_frame
from storekit.frames.contract import ROWS
from storekit.frames.display import human_bytes, human_count, human_instant, plain
from storekit.frames.paging import check_page

if TYPE_CHECKING:
    from storekit.frames.snapshot import Snapshot

__all__ = ["CHANGES", "Change", "SnapshotDiff", "same_rows"]

Change = Literal["appeared", "disappeared", "rewritten", "expiry"]
CHANGES: tuple[Change, ...] = ("appeared", "disappeared", "rewritten", "expiry")

_TYPES = {column.name: column.type for column in ROWS.columns}
_INSTANT = _TYPES["updated_at"]
_SCHEMA = pa.schema(
    [
        pa.field("change", pa.string(), nullable=False),
        pa.field("expiry_changed", pa.bool_(), nullable=False),
        pa.field("store", pa.string(), nullable=False),
        *(
            pa.field(name, _TYPES[name])
            for name in ("dag_id", "run_id", "task_id", "map_index", "region_id", "asset_name", "asset_uri")
        ),
        pa.field("key", pa.string(), nullable=False),
        pa.field("older_value_bytes", pa.int64()),
        pa.field("value_bytes", pa.int64()),
        pa.field("older_updated_at", _INSTANT),
        pa.field("updated_at", _INSTANT),
        pa.field("older_expires_at", _INSTANT),
        pa.field("expires_at", _INSTANT),
    ]
)


def _both(older: Snapshot, newer: Snapshot) -> DuckDBEngine:
    engine = DuckDBEngine()
    try:
        engine.load("older", older.to_reader())
        engine.load("newer", newer.to_reader())
        engine.freeze()
    except BaseException:
        engine.close()
        raise
    return engine


def same_rows(one: Snapshot, other: Snapshot) -> bool:
    """Tell whether two snapshots hold equal rows, each as often, in every column."""
    if len(one) != len(other):
        return False
    engine = _both(one, other)
    try:
        return bool(engine.query("same_rows")["entries"][0].as_py() == 0)
    finally:
        engine.close()


class SnapshotDiff:
    """What changed from an older snapshot to a newer one, key by key.

    A task row is known by dag_id, run_id, task_id, map_index, region_id and key; an asset row by asset_name,
    asset_uri and key: an id may be reused. Made by `Snapshot.diff`.
    """

    def __init__(self, *, older: Snapshot, newer: Snapshot) -> None:
        self._engine = _both(older, newer)
        self.older = older.info
        self.newer = newer.info

    @cached_property
    def _counts(self) -> list[dict[str, int | str | bool]]:
        return list(self._engine.query("difference_counts").to_pylist())

    def _count(self, change: Change) -> int:
        return sum(int(row["entries"]) for row in self._counts if row["change"] == change)

    @property
    def appeared(self) -> int:
        """Rows in the newer snapshot only."""
        return self._count("appeared")

    @property
    def disappeared(self) -> int:
        """Rows in the older snapshot only."""
        return self._count("disappeared")

    @property
    def rewritten(self) -> int:
        """Rows in both, with another ``updated_at`` or size."""
        return self._count("rewritten")

    @property
    def expiry_changed(self) -> int:
        """Rows in both, with another expiry or flag, whether rewritten (as is usual) or not."""
        return sum(int(row["entries"]) for row in self._counts if row["expiry_changed"])

    @property
    def added_bytes(self) -> int:
        """Bytes of values in the newer snapshot less those in the older; negative: it shrank."""
        return sum(int(row["value_bytes"]) - int(row["older_value_bytes"]) for row in self._counts)

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self._counts)

    def rows(self, change: Change | None = None, *, limit: int | None = None, offset: int = 0) -> pd.DataFrame:
        """Return the rows that differ, task rows first, then by natural key.

        Parameters
        ----------
        change
            Only ``appeared``, ``disappeared``, ``rewritten`` or ``expiry`` (changed without a rewrite); None: all.
        limit, offset
            Which part of them.

        Returns
        -------
        DataFrame
            change (str), expiry_changed (bool), store, dag_id, run_id, task_id (str), map_index (Int64), region_id,
            asset_name, asset_uri, key (str), older_value_bytes, value_bytes (Int64), older_updated_at, updated_at,
            older_expires_at, expires_at (datetime64[us, UTC]). ``older_…`` is missing where the row appeared, the
            others where it disappeared.
        """
        if change is not None and change not in CHANGES:
            raise QueryError(f"there is no change {change!r}", hint=f"choose from {', '.join(CHANGES)}")
        check_page(limit, offset)
        table = self._engine.query(
            "difference_rows",
            {"change": change or "", "size": NO_LIMIT if limit is None else int(limit), "skip": int(offset)},
        )
        return answer_frame(table.cast(_SCHEMA))

    @property
    def notes(self) -> list[str]:
        """What to know before reading the numbers."""
        notes = []
        if self.older.taken_at > self.newer.taken_at:
            notes.append("The snapshot given as older was taken later.")
        if self.older.database != self.newer.database:
            notes.append(f"They are of two databases: {plain(self.older.database)} and {plain(self.newer.database)}.")
        if self.older.layout != self.newer.layout:
            notes.append(
                f"The layout changed from {plain(self.older.layout)} to {plain(self.newer.layout)}: where only one has "
                "regions, no task row of the one is a task row of the other."
            )
        return notes

    def __repr__(self) -> str:
        span = f"{human_instant(self.older.taken_at)} to {human_instant(self.newer.taken_at)}"
        counts = "\n".join(
            f"  {name:<16}{human_count(count):>12}"
            for name, count in (
                ("appeared", self.appeared),
                ("disappeared", self.disappeared),
                ("rewritten", self.rewritten),
                ("expiry changed", self.expiry_changed),
            )
        )
        sign = "-" if self.added_bytes < 0 else "+"
        size = f"  {'values':<16}{sign + human_bytes(abs(self.added_bytes)):>12}"
        return "\n".join([f"storekit diff, {span}", counts, size, *(f"  note: {note}" for note in self.notes)])
