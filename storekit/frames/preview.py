"""What time-based cleanup would delete at an instant, what it would keep, and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa

from storekit.engines.texts import NO_LIMIT
from storekit.errors import QueryError
from storekit.frames.answers import answer_frame
from storekit.frames.contract import ROWS
from storekit.frames.dangers import Danger, danger_notes, danger_rows, dangers, notes
from storekit.frames.instants import as_instant
from storekit.frames.paging import check_page
from storekit.retention.verdicts import Fate

if TYPE_CHECKING:
    from storekit.frames.snapshot import Snapshot, SnapshotInfo

__all__ = ["GROUP_COLUMNS", "Preview"]

_MARGIN = pa.duration("us")
_COLUMNS = {column.name: column for column in ROWS.columns}
_SIZES_AND_INSTANTS = frozenset({"value_bytes", "updated_at", "expires_at", "run_started_at"})
GROUP_COLUMNS = tuple(name for name in _COLUMNS if name not in _SIZES_AND_INSTANTS)
"""What `Preview.by` can group by: every column of a snapshot that is not a size or an instant."""


def _field(name: str) -> pa.Field:
    return pa.field(name, _COLUMNS[name].type, nullable=_COLUMNS[name].nullable)


def _counted(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.int64(), nullable=False) for name in names]


ROWS_SCHEMA = pa.schema(
    [
        *(
            _field(name)
            for name in ("store", "dag_id", "run_id", "task_id", "map_index", "region_id", "asset_name", "asset_uri")
        ),
        *(_field(name) for name in ("key", "value_bytes", "updated_at", "expires_at")),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("margin", _MARGIN),
    ]
)
_REASONS_SCHEMA = pa.schema(
    [
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        *_counted("rows", "value_bytes"),
        pa.field("soonest_margin", _MARGIN),
        pa.field("latest_margin", _MARGIN),
    ]
)


class Preview:
    """A snapshot judged at an instant. Nothing is deleted by looking.

    Made by `Snapshot.preview`. The rule is `storekit.retention.verdicts.judge`. To whatever takes an Arrow stream it
    is the rows that would be deleted: ``polars.DataFrame(preview)``, ``pyarrow.table(preview)``.

    Parameters
    ----------
    snapshot
        What is judged.
    now
        The instant of the cleanup: aware, or ISO text with a zone; None: when the snapshot was taken.

    Raises
    ------
    QueryError
        If ``now`` has no zone or is no instant.
    """

    def __init__(self, snapshot: Snapshot, now: datetime | str | None = None) -> None:
        self._snapshot = snapshot
        self.now = snapshot.info.taken_at if now is None else as_instant(now)
        self._values = {"now": self.now.isoformat(timespec="microseconds")}

    @property
    def info(self) -> SnapshotInfo:
        """What the snapshot is of."""
        return self._snapshot.info

    @cached_property
    def _reasons(self) -> pa.Table:
        table = self._snapshot._engine.query("preview_reasons", self._values)
        return table.rename_columns(_REASONS_SCHEMA.names).cast(_REASONS_SCHEMA)

    @cached_property
    def _dangers(self) -> pa.Table:
        return dangers(self, None)

    def _total(self, verdict: Fate, column: str) -> int:
        return sum(row[column] for row in self._reasons.to_pylist() if row["verdict"] == verdict)

    @property
    def deleted(self) -> int:
        """Rows that cleanup would delete; task rows all."""
        return self._total(Fate.DELETE, "rows")

    @property
    def kept(self) -> int:
        """Rows that it would keep, over both stores."""
        return self._total(Fate.KEEP, "rows")

    @property
    def deleted_bytes(self) -> int:
        """Size of the values that it would delete, in bytes."""
        return self._total(Fate.DELETE, "value_bytes")

    @property
    def kept_bytes(self) -> int:
        """Size of the values that it would keep, in bytes."""
        return self._total(Fate.KEEP, "value_bytes")

    @property
    def reasons(self) -> pd.DataFrame:
        """Return what happens for which reason, deletions first, then by count.

        Returns
        -------
        DataFrame
            verdict (str: delete, keep), reason (str: a value of `storekit.retention.Reason`), rows, value_bytes
            (int64), soonest_margin, latest_margin (timedelta64[us]: expiry less ``now``, so negative where expired;
            missing where no row has an expiry).
        """
        return answer_frame(self._reasons)

    def by(self, *columns: str) -> pd.DataFrame:
        """Return what would be deleted and kept, by columns of your choice.

        Parameters
        ----------
        *columns
            From `GROUP_COLUMNS`: ``store``, ``dag_id``, ``run_id``, ``task_id``, ``map_index``, ``region_id``,
            ``key``, ``asset_name``, … Asset rows stand under a missing ``dag_id``, task rows under a missing
            ``asset_name``.

        Returns
        -------
        DataFrame
            The columns asked for, then deleted, deleted_bytes, kept, kept_bytes (int64), next_expiry
            (datetime64[us, UTC]: the soonest expiry among the kept rows that do expire). The largest deleted_bytes
            first, then by the columns.

        Raises
        ------
        QueryError
            For no column, an unknown one, or one twice.
        """
        return answer_frame(self.groups(*columns))

    def groups(self, *columns: str) -> pa.Table:
        """Return what `by` returns, as an Arrow table.

        Parameters
        ----------
        *columns
            As for `by`.

        Returns
        -------
        pyarrow.Table
            The columns asked for (each of the snapshot's type), then deleted, deleted_bytes, kept, kept_bytes (int64),
            next_expiry (timestamp[us, UTC]; null: no kept row expires). In the order of `by`.

        Raises
        ------
        QueryError
            As for `by`.
        """
        table = self._snapshot._engine.query("preview_by", self._values, keys=columns, allowed=GROUP_COLUMNS)
        schema = pa.schema(
            [
                *(_field(name) for name in columns),
                *_counted("deleted", "deleted_bytes", "kept", "kept_bytes"),
                pa.field("next_expiry", _COLUMNS["expires_at"].type),
            ]
        )
        return table.cast(schema)

    def rows(
        self,
        limit: int | None = None,
        offset: int = 0,
        verdict: Literal["delete", "keep"] | None = "delete",
    ) -> pd.DataFrame:
        """Return the rows with their verdicts, task rows first, then by natural key.

        Parameters
        ----------
        limit, offset
            Which part of them; None: all from ``offset`` on. For more than fits in memory, see `batches`.
        verdict
            ``"delete"``, ``"keep"``, or None for both.

        Returns
        -------
        DataFrame
            store, dag_id, run_id, task_id (str), map_index (Int64), region_id, asset_name, asset_uri, key (str),
            value_bytes (int64), updated_at, expires_at (datetime64[us, UTC]), verdict, reason (str), margin
            (timedelta64[us]: expiry less ``now``; missing without an expiry).

        Raises
        ------
        QueryError
            If ``limit`` or ``offset`` is no number of rows, or ``verdict`` none of these.
        """
        return answer_frame(self.batches(verdict=verdict, limit=limit, offset=offset).read_all())

    def dangers(self, db_clean_before: datetime | str | None = None) -> pd.DataFrame:
        """Return what else would go and Airflow does not say; a row may be in several dangers.

        Parameters
        ----------
        db_clean_before
            The cutoff of an ``airflow db clean --tables dag_run``, as ``now``; None: without ``db-clean``.

        Returns
        -------
        DataFrame
            danger (str: a value of `storekit.frames.dangers.Danger`), rows, value_bytes (int64), about (str). One
            line for each danger that has rows, most rows first.

        Raises
        ------
        QueryError
            If ``db_clean_before`` is no instant, or the snapshot does not hold when DagRuns started.
        """
        return answer_frame(self._dangers if db_clean_before is None else dangers(self, db_clean_before))

    def danger_rows(
        self,
        danger: Danger | str,
        *,
        db_clean_before: datetime | str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> pd.DataFrame:
        """Return the rows in one danger, in the order of `rows`.

        Parameters
        ----------
        danger
            A `storekit.frames.dangers.Danger`, or its text, such as ``"inactive-asset"``.
        db_clean_before
            As for `dangers`; ``db-clean`` needs it.
        limit, offset
            Which part of them; None: all from ``offset`` on.

        Returns
        -------
        DataFrame
            store, dag_id, run_id, task_id (str), map_index (Int64), region_id, asset_name, asset_uri, key (str),
            value_bytes (int64), updated_at, expires_at (datetime64[us, UTC]), verdict, reason (str), margin
            (timedelta64[us]: expiry less ``now``; missing without an expiry), task_state (str), run_started_at
            (datetime64[us, UTC]).

        Raises
        ------
        QueryError
            If there is no such danger, ``db-clean`` has no ``db_clean_before``, ``limit`` or ``offset`` is no number of
            rows; and as for `dangers`.
        """
        return answer_frame(danger_rows(self, danger, db_clean_before, limit=limit, offset=offset))

    def batches(
        self,
        *,
        verdict: Literal["delete", "keep"] | None = "delete",
        limit: int | None = None,
        offset: int = 0,
    ) -> pa.RecordBatchReader:
        """Return what `rows` returns as a stream of Arrow batches, in bounded memory.

        Parameters
        ----------
        verdict, limit, offset
            As for `rows`.

        Returns
        -------
        pyarrow.RecordBatchReader
            store, dag_id, run_id, task_id (string), map_index (int64), region_id, asset_name, asset_uri, key (string),
            value_bytes (int64), updated_at, expires_at (timestamp[us, UTC]), verdict, reason (string), margin
            (duration[us]). To be read once.

        Raises
        ------
        QueryError
            As for `rows`.
        SnapshotError
            If the snapshot is closed.
        """
        if verdict not in ("delete", "keep", None):
            raise QueryError(f"there is no verdict {verdict!r}", hint="'delete', 'keep', or None for both")
        check_page(limit, offset)
        reader = self._snapshot._engine.stream(
            "preview_rows",
            {
                **self._values,
                "verdict": verdict or "",
                "size": NO_LIMIT if limit is None else int(limit),
                "skip": int(offset),
            },
        )
        return pa.RecordBatchReader.from_batches(ROWS_SCHEMA, _cast(reader))

    def __arrow_c_schema__(self) -> Any:
        """Give the columns of `rows` to another Arrow library, without reading."""
        return ROWS_SCHEMA.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Give the rows that would be deleted to another Arrow library, as a stream; of others, see `batches`."""
        return self.batches().__arrow_c_stream__(requested_schema)

    def to_json(
        self,
        path: str | Path | None = None,
        *,
        verdict: Literal["delete", "keep"] | None = "delete",
        overwrite: bool = False,
    ) -> str | Path:
        """Write the preview as one JSON document, or return it as text.

        ``now``, ``database``, ``layout``, ``deleted``, ``deleted_bytes``, ``kept``, ``kept_bytes``, ``notes``,
        ``reasons``, ``dangers`` and ``rows``. Instants are ISO texts in UTC, margins ``margin_us`` in microseconds.

        Parameters
        ----------
        path
            The file; None: return the text. It appears whole or not at all.
        verdict
            Which rows, as in `rows`.
        overwrite
            Replace an existing file.

        Returns
        -------
        str or Path
            The text where ``path`` is None, else the path that was written.

        Raises
        ------
        QueryError
            If the file exists and ``overwrite`` is not set, or cannot be written.
        """
        from storekit.frames.exports import write_json

        return write_json(self, path, verdict=verdict, overwrite=overwrite)

    def to_csv(
        self,
        path: str | Path | None = None,
        *,
        verdict: Literal["delete", "keep"] | None = "delete",
        overwrite: bool = False,
    ) -> str | Path:
        """Write the rows as CSV in UTF-8, or return it as text; margins are ``margin_us``.

        Keys are written as they are: a spreadsheet may take one that starts with ``=`` for a formula.

        Parameters
        ----------
        path, verdict, overwrite
            As for `to_json`.

        Returns
        -------
        str or Path
            As for `to_json`.

        Raises
        ------
        QueryError
            As for `to_json`.
        """
        from storekit.frames.exports import write_csv

        return write_csv(self, path, verdict=verdict, overwrite=overwrite)

    def to_parquet(
        self,
        path: str | Path,
        *,
        verdict: Literal["delete", "keep"] | None = "delete",
        overwrite: bool = False,
    ) -> Path:
        """Write the rows as Parquet, in the columns and types of `batches`.

        Parameters
        ----------
        path
            The file. It appears whole or not at all.
        verdict, overwrite
            As for `to_json`.

        Returns
        -------
        Path
            The path that was written.

        Raises
        ------
        QueryError
            As for `to_json`.
        """
        from storekit.frames.exports import write_parquet

        return write_parquet(self, path, verdict=verdict, overwrite=overwrite)

    @property
    def notes(self) -> list[str]:
        """What to know before trusting the numbers, in sentences; the dangers last."""
        return [*notes(self), *danger_notes(self)]

    def __repr__(self) -> str:
        from storekit.frames.report import preview_text

        return preview_text(self)

    def _repr_html_(self) -> str:
        from storekit.frames.report import preview_html

        return preview_html(self)


def _cast(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        columns: list[Any] = list(batch.columns)
        columns[-1] = columns[-1].cast(_MARGIN)
        yield pa.RecordBatch.from_arrays(columns, schema=ROWS_SCHEMA)
