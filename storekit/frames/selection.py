"""Rows of a snapshot, filtered, searched, grouped, sorted and paged without being held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from storekit.engines.texts import NO_LIMIT
from storekit.errors import QueryError
from storekit.frames.answers import answer_frame
from storekit.frames.dangers import Danger
from storekit.frames.instants import as_instant, as_text
from storekit.frames.natural import NATURAL, Numbers
from storekit.frames.ordering import ORDERABLE, By, RowOrder, sorted_by
from storekit.frames.paging import check_page
from storekit.frames.selectionview import (
    SCHEMA,
    SELECTION_GROUPS,
    SORT_COLUMNS,
    counted,
    field,
    selection_html,
    selection_text,
)
from storekit.retention.held import Held
from storekit.retention.verdicts import Fate, Reason
from storekit.state import WriterKind

if TYPE_CHECKING:
    from storekit.frames.snapshot import Snapshot

__all__ = ["NOT_RECORDED", "SELECTION_GROUPS", "SORT_COLUMNS", "Selection"]

NOT_RECORDED = "not recorded"
"""The writer of an asset row of which none is recorded."""

_DAY = timedelta(days=1)
_AGES = (0, 1, 7, 30, 90, 365)
_MOST = 2**63 - 1
_SIZES_SCHEMA = pa.schema(counted("from_bytes", "to_bytes", "rows", "value_bytes"))
_AGES_SCHEMA = pa.schema(
    [
        pa.field("from_age", pa.duration("us")),
        pa.field("to_age", pa.duration("us")),
        *counted("rows", "value_bytes"),
    ]
)

PAGE = 10_000
"""A page of more rows than this is sorted and streamed by DuckDB, not looked up row by row."""

_HELD = 2


class Selection:
    """The rows of a snapshot that were asked for. Nothing is read before it is asked, and no row is held.

    Made by `Snapshot.select`, which says what the parameters mean. What is kept: the totals, and the numbers of the
    rows in the last two orders that were paged through, 4 bytes a row each; by the snapshot, for all its selections,
    those of its rows in natural order.

    Raises
    ------
    QueryError
        If a filter cannot be one.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        text: str | None = None,
        *,
        store: str | None = None,
        dag_id: str | None = None,
        run_id: str | None = None,
        task_id: str | None = None,
        key: str | None = None,
        asset_name: str | None = None,
        writer: str | None = None,
        verdict: str | None = None,
        reason: Reason | str | None = None,
        danger: Danger | str | None = None,
        now: datetime | str | None = None,
    ) -> None:
        self._snapshot, self._engine = snapshot, snapshot._engine
        self.now = snapshot.info.taken_at if now is None else as_instant(now)
        names = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "key": key, "asset_name": asset_name}
        asked = {
            "text": None if text == "" else _text("text", text),
            "store": _choice("store", store, ("task", "asset")),
            **{name: _text(name, given) for name, given in names.items()},
            "writer": _choice("writer", writer, (*WriterKind, NOT_RECORDED)),
            "verdict": _choice("verdict", verdict, tuple(Fate)),
            "reason": _choice("reason", reason, tuple(Reason)),
            "danger": _danger(danger),
        }
        self.filters: Mapping[str, str] = {name: given for name, given in asked.items() if given is not None}
        self._values = {
            **asked,
            "now": self.now.isoformat(timespec="microseconds"),
            "before": None,
            "airflow": snapshot.info.layout.startswith("airflow-"),
        }
        self._orders: Held[RowOrder] = Held(_HELD)

    @cached_property
    def _totals(self) -> tuple[int, int]:
        if not self.filters:
            return len(self._snapshot), self._snapshot.value_bytes
        (totals,) = self._engine.query("selected_totals", self._values).to_pylist()
        return totals["entries"], totals["value_bytes"]

    def __len__(self) -> int:
        return self._totals[0]

    @property
    def value_bytes(self) -> int:
        """The size of the selected rows' values in bytes."""
        return self._totals[1]

    def rows(
        self, limit: int | None = None, offset: int = 0, *, sort: str | None = None, descending: bool = False
    ) -> pd.DataFrame:
        """Return selected rows in a total order: no row stands on two pages.

        Parameters
        ----------
        limit, offset
            Which part of them; None: all from ``offset`` on. For more than fits in memory, see `batches`.
        sort
            One of `SORT_COLUMNS`; rows alike in it are in natural order, and missing values last. Texts go by code
            point. None: the natural order, which is that of `Preview.rows`, task rows first.
        descending
            The largest of ``sort`` first.

        Returns
        -------
        DataFrame
            store, dag_id, run_id, task_id (str), map_index (Int64), region_id (str), asset_id (Int64), asset_name,
            asset_uri (str), active (boolean), key (str), value_bytes (int64), updated_at, expires_at
            (datetime64[us, UTC]), never_expire (boolean), writer (str: task, watcher, api or not recorded; missing
            for task rows), task_state (str), is_reference (bool), verdict (str: delete, keep), reason (str: a value
            of `storekit.retention.Reason`), margin (timedelta64[us]: expiry less ``now``; missing without an
            expiry), dangers (str: values of `storekit.frames.dangers.Danger` joined by ", "; missing where none).

        Raises
        ------
        QueryError
            If ``limit`` or ``offset`` is no number of rows, or ``sort`` no such column.
        """
        check_page(limit, offset)
        by = sorted_by(sort, descending)
        start = min(int(offset), len(self))
        stop = len(self) if limit is None else min(start + int(limit), len(self))
        if stop - start > PAGE:
            return answer_frame(self._stream(by, start, stop - start).read_all())
        return answer_frame(self._numbered(self._order(by).numbers(start, stop)))

    def batches(
        self, limit: int | None = None, offset: int = 0, *, sort: str | None = None, descending: bool = False
    ) -> pa.RecordBatchReader:
        """Return what `rows` returns as a stream of Arrow batches, in bounded memory.

        Parameters
        ----------
        limit, offset, sort, descending
            As for `rows`.

        Returns
        -------
        pyarrow.RecordBatchReader
            store, dag_id, run_id, task_id (string), map_index (int64), region_id (string), asset_id (int64),
            asset_name, asset_uri (string), active (bool), key (string), value_bytes (int64), updated_at, expires_at
            (timestamp[us, UTC]), never_expire (bool), writer, task_state (string), is_reference (bool), verdict, reason
            (string), margin (duration[us]), dangers (string). To be read once.

        Raises
        ------
        QueryError
            As for `rows`.
        SnapshotError
            If the snapshot is closed.
        """
        check_page(limit, offset)
        return self._stream(sorted_by(sort, descending), int(offset), NO_LIMIT if limit is None else int(limit))

    def _stream(self, by: By, skip: int, size: int) -> pa.RecordBatchReader:
        page, order = {"size": size, "skip": skip}, (*by, *NATURAL)
        reader = self._engine.stream("selected_rows", {**self._values, **page}, order=order, allowed=ORDERABLE)
        return pa.RecordBatchReader.from_batches(SCHEMA, _cast(reader))

    def _order(self, by: By) -> RowOrder:
        def made() -> RowOrder:
            return RowOrder(self._engine, self._snapshot._natural, self._values, by, total=len(self))

        return self._orders.get(by, made)

    def _numbered(self, numbers: Numbers) -> pa.Table:
        if not len(numbers):
            return SCHEMA.empty_table()
        table = self._engine.query("numbered_rows", {**self._values, "numbers": numbers.tolist()})
        came = table.column("row_number").to_numpy()
        sorter = np.argsort(came)
        table = table.take(sorter[np.searchsorted(came, numbers, sorter=sorter)])
        return table.drop_columns("row_number").cast(SCHEMA)

    def by(self, *columns: str, limit: int | None = None) -> pd.DataFrame:
        """Return the selected rows by columns of your choice.

        Parameters
        ----------
        *columns
            From `SELECTION_GROUPS`: the columns of `Preview.by`, and ``writer``, ``verdict``, ``reason``. Asset rows
            stand under a missing ``dag_id``, task rows under a missing ``asset_name`` or ``writer``.
        limit
            At most so many groups, the largest; None: all.

        Returns
        -------
        DataFrame
            The columns asked for, then rows, value_bytes (int64), newest_at (datetime64[us, UTC]: the last write).
            Most bytes first, then by the columns.

        Raises
        ------
        QueryError
            For no column, an unknown one, one twice, or a ``limit`` that is no number of rows.
        """
        check_page(limit, 0)
        size = NO_LIMIT if limit is None else int(limit)
        table = self._engine.query(
            "selected_by", {**self._values, "size": size}, keys=columns, allowed=SELECTION_GROUPS
        )
        schema = [field(name) for name in columns]
        schema += [*counted("rows", "value_bytes"), pa.field("newest_at", field("updated_at").type, nullable=False)]
        return answer_frame(table.rename_columns([each.name for each in schema]).cast(pa.schema(schema)))

    def sizes(self) -> pd.DataFrame:
        """Return how large the selected values are, by the number of digits of their size.

        Returns
        -------
        DataFrame
            from_bytes, to_bytes (int64: both inclusive; 0 to 0 are empty values, then 1 to 9, 10 to 99, …), rows,
            value_bytes (int64). Smallest first; what has no rows is left out.
        """
        lines = [
            {
                "from_bytes": 10 ** (row["digits"] - 1) if row["digits"] else 0,
                "to_bytes": min(10 ** row["digits"] - 1, _MOST),
                "rows": row["entries"],
                "value_bytes": row["value_bytes"],
            }
            for row in self._engine.query("selected_sizes", self._values).to_pylist()
        ]
        return answer_frame(pa.Table.from_pylist(lines, schema=_SIZES_SCHEMA))

    def ages(self) -> pd.DataFrame:
        """Return how long before the snapshot the selected rows were written last, whatever ``now``.

        Returns
        -------
        DataFrame
            from_age (timedelta64[us]: inclusive; missing: written after the snapshot was taken), to_age
            (timedelta64[us]: exclusive; missing: no end), rows, value_bytes (int64). The bounds are 0, 1, 7, 30, 90
            and 365 days. Youngest first; what has no rows is left out.
        """
        taken_at = self._snapshot.info.taken_at.isoformat(timespec="microseconds")
        table = self._engine.query("selected_ages", {**self._values, "taken_at": taken_at})
        places = np.searchsorted(_AGES, table.column("days").to_numpy(), side="right")
        entries, sizes = (table.column(name).to_numpy() for name in ("entries", "value_bytes"))
        bounds = [None, *(days * _DAY for days in _AGES), None]
        lines = [
            {
                "from_age": bounds[place],
                "to_age": bounds[place + 1],
                "rows": int(entries[places == place].sum()),
                "value_bytes": int(sizes[places == place].sum()),
            }
            for place in np.unique(places)
        ]
        return answer_frame(pa.Table.from_pylist(lines, schema=_AGES_SCHEMA))

    def __repr__(self) -> str:
        return selection_text(self, len(self._snapshot))

    def _repr_html_(self) -> str:
        return selection_html(self, len(self._snapshot))


def _cast(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        yield batch.cast(SCHEMA)


def _text(name: str, given: Any) -> str | None:
    return None if given is None else as_text(given, name)


def _choice(name: str, given: Any, choices: tuple[str, ...]) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or given not in choices:
        raise QueryError(f"there is no {name} {given!r}", hint=f"choose from {', '.join(choices)}")
    return str(given)


def _danger(given: Any) -> str | None:
    if isinstance(given, str) and given == Danger.DB_CLEAN:
        raise QueryError(
            "db-clean cannot be selected by: it needs the cutoff of airflow db clean",
            hint="snap.preview().danger_rows('db-clean', db_clean_before='2026-11-22T00:00:00Z')",
        )
    return _choice("danger", given, tuple(each for each in Danger if each is not Danger.DB_CLEAN))
