"""What shall be deleted, row by row: made from a preview, looked over, kept in a file, and carried out as it stands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from storekit.engines.duckdb import DuckDBEngine
from storekit.engines.texts import NO_LIMIT, with_columns
from storekit.errors import PlanError
from storekit.frames.answers import answer_frame
from storekit.frames.display import plain
from storekit.frames.instants import as_instant
from storekit.frames.outcomes import Progress
from storekit.frames.paging import check_page
from storekit.frames.planfile import NATURAL_KEY, PLAN, PlanFile, PlanInfo, RowCheck, read_info, write

if TYPE_CHECKING:
    from storekit.frames.snapshot import Snapshot

__all__ = ["PLAN", "Plan", "PlanInfo", "open_plan", "plan_of"]

_MERGE_ROWS = 200_000


class _Source(Protocol):
    """Where a plan's rows are."""

    @property
    def name(self) -> str: ...

    def batches(self, *, limit: int | None = None, offset: int = 0) -> Iterator[pa.RecordBatch]: ...


class _SnapshotRows:
    """The rows of a plan in the snapshot that it was made from."""

    name = "the plan"

    def __init__(self, engine: DuckDBEngine, now: datetime) -> None:
        self._engine, self._now = engine, now.isoformat(timespec="microseconds")

    def batches(self, *, limit: int | None = None, offset: int = 0) -> Iterator[pa.RecordBatch]:
        values = {"now": self._now, "size": NO_LIMIT if limit is None else limit, "skip": offset}
        for batch in self._engine.stream("plan_rows", values):
            yield pa.RecordBatch.from_arrays(batch.columns, schema=PLAN)


class Plan:
    """The rows that a preview showed as deleted, known by natural key, ``updated_at`` and ``expires_at``.

    A cleanup that is given a plan deletes a row only if it still is what the plan says. Made by `Snapshot.plan` or
    `open_plan`. The rows stay in the snapshot or in the file and are streamed from there. To whatever takes an Arrow
    stream it is its rows: ``polars.DataFrame(plan)``, ``pyarrow.table(plan)``.
    """

    def __init__(self, info: PlanInfo, source: _Source) -> None:
        self.info = info
        self._source = source

    def __len__(self) -> int:
        return self.info.rows

    def __bool__(self) -> bool:
        """Whether there is anything to delete."""
        return self.info.rows > 0

    @property
    def value_bytes(self) -> int:
        """The size of the values to delete, in bytes."""
        return self.info.value_bytes

    def batches(self) -> pa.RecordBatchReader:
        """Return the rows in natural-key order, in the columns of `PLAN`, as a stream in bounded memory.

        May be called again and again. Each batch is checked before it is handed out, and the whole at the end.

        Returns
        -------
        pyarrow.RecordBatchReader
            dag_id, run_id, task_id (string), map_index (int64), region_id, key (string), updated_at, expires_at
            (timestamp[us, UTC]), value_bytes (int64).

        Raises
        ------
        PlanError
            From the reader: if the rows are not a plan's, or, after the last one, not what `info` says.
        SnapshotError
            If the rows are in a snapshot that is closed.
        """
        return pa.RecordBatchReader.from_batches(PLAN, self._checked())

    def _checked(self) -> Iterator[pa.RecordBatch]:
        check = RowCheck(self.info.now, self._source.name)
        for batch in self._source.batches():
            check.update(batch)
            yield batch
        check.finish(self.info)

    def verify(self) -> None:
        """Read every row and compare with `info`.

        Raises
        ------
        PlanError
            If the rows or any field of `info` are not those that were hashed when the plan was made.
        """
        for _ in self._checked():
            pass

    def rows(self, limit: int | None = None, offset: int = 0) -> pd.DataFrame:
        """Return the rows in natural-key order.

        Parameters
        ----------
        limit, offset
            Which part of them; None: all from ``offset`` on. For more than fits in memory, see `batches`.

        Returns
        -------
        DataFrame
            dag_id, run_id, task_id (str), map_index (int64), region_id, key (str), updated_at, expires_at
            (datetime64[us, UTC]), value_bytes (int64).

        Raises
        ------
        QueryError
            If ``limit`` or ``offset`` is no number of rows.
        """
        check_page(limit, offset)
        batches = self._source.batches(limit=None if limit is None else int(limit), offset=int(offset))
        return answer_frame(pa.Table.from_batches(batches, PLAN))

    def by(self, *columns: str) -> pd.DataFrame:
        """Return what would be deleted, by columns of your choice.

        Parameters
        ----------
        *columns
            From ``dag_id``, ``run_id``, ``task_id``, ``map_index``, ``region_id``, ``key``.

        Returns
        -------
        DataFrame
            The columns asked for, then rows, value_bytes (int64). The largest value_bytes first, then by the columns.

        Raises
        ------
        QueryError
            For no column, an unknown one, or one twice.
        """
        with_columns("", columns, allowed=NATURAL_KEY)  # for its checks
        held: list[pa.Table] = []
        for batch in self._source.batches():
            held.append(_grouped(pa.Table.from_batches([batch]), columns, [("value_bytes", "count")]))
            if sum(part.num_rows for part in held[1:]) > max(_MERGE_ROWS, held[0].num_rows):
                held = [_merged(held, columns)]
        table = _merged(held, columns)
        order = [("value_bytes", "descending"), *((name, "ascending") for name in columns)]
        return answer_frame(table.take(pc.sort_indices(table, sort_keys=order)))

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Save as one Parquet file, whole or not at all. The file is for this user alone; `open_plan` opens it.

        Parameters
        ----------
        path
            The file; its folder must exist.
        overwrite
            Replace a saved plan. Anything else is never replaced.

        Returns
        -------
        Path
            ``path``.

        Raises
        ------
        PlanError
            If the file exists and ``overwrite`` does not apply, or it cannot be written.
        """
        target = Path(path).absolute()  # not resolved: a link is replaced, not followed
        write(target, self.info, self._checked(), overwrite=overwrite)
        return Path(path)

    def check_for(self, *, layout: str, database_id: str, database: str) -> None:
        """Refuse a database that the plan is not for.

        Parameters
        ----------
        layout
            That the database has now.
        database_id
            Of the database, as `SnapshotInfo.database_id`; where the plan has none, the texts are compared.
        database
            Its name without credentials.

        Raises
        ------
        PlanError
            If the plan is for another database, or the layout has changed since it was made.
        """
        info = self.info
        ours, theirs = plain(info.database), plain(database)
        same = info.database == database if info.database_id is None else info.database_id == database_id
        if not same:
            if ours == theirs and info.database_id is not None:
                # Relative paths, or names that another machine resolves otherwise.
                ours, theirs = f"{ours} ({info.database_id[:12]})", f"{theirs} ({database_id[:12]})"
            raise PlanError(
                f"the plan is for {ours}, and this is {theirs}",
                hint="connect to the database that it was made for, or make a plan of this one",
            )
        if info.layout != layout:
            raise PlanError(
                f"the plan was made on the layout {plain(info.layout)}, and {theirs} has {plain(layout)} now",
                hint="the database was migrated since: make the plan again, store.snapshot().plan()",
            )

    def equals(self, other: Plan) -> bool:
        """Tell whether the other plan has equal metadata and equal rows; their hash says so.

        Parameters
        ----------
        other
            A plan, such as this one saved and opened again.

        Returns
        -------
        bool
            True if ``info`` is equal, and with it the hash over all rows.
        """
        return self.info == other.info

    def __arrow_c_schema__(self) -> Any:
        """Give the columns of a plan to another Arrow library, without reading."""
        return PLAN.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Give the rows to another Arrow library, as a stream."""
        return self.batches().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        from storekit.frames.planview import plan_summary

        return plan_summary(self)

    def _repr_html_(self) -> str:
        from storekit.frames.planview import plan_html

        return plan_html(self)


def plan_of(snapshot: Snapshot, now: datetime | str | None = None, progress: Progress | None = None) -> Plan:
    """Return the plan of `Snapshot.plan`: reads the rows once, for their hash.

    Raises
    ------
    QueryError
        If ``now`` has no zone or is no instant.
    PlanError
        If two rows have one natural key, so that a plan could not tell them apart.
    """
    taken = snapshot.info
    at = taken.taken_at if now is None else as_instant(now)
    source = _SnapshotRows(snapshot._engine, at)
    check = RowCheck(at, f"the snapshot of {plain(taken.database)}")
    total = 0 if progress is None else snapshot.preview(at).deleted
    for batch in source.batches():
        check.update(batch)
        if progress is not None:
            progress(check.rows, total)
    info = PlanInfo(
        now=at,
        taken_at=taken.taken_at,
        layout=taken.layout,
        database=taken.database,
        database_id=taken.database_id,
        dialect=taken.dialect,
        has_never_expire=taken.has_never_expire,
        custom_backend=taken.custom_backend,
        rows=check.rows,
        value_bytes=check.value_bytes,
        sha256="0" * 64,
    )
    return Plan(info.model_copy(update={"sha256": check.seal(info.model_dump(mode="json"))}), source)


def open_plan(path: str | Path) -> Plan:
    """Open a saved plan, and read it through to see that it is what was saved.

    Parameters
    ----------
    path
        As given to `Plan.save`.

    Returns
    -------
    Plan
        Equal to the one that was saved. Its rows stay in the file and are read from there.

    Raises
    ------
    PlanError
        If it is missing, no plan, of a newer format, or was changed since.
    """
    path = Path(path).absolute()  # the rows are read later, perhaps from another working directory
    info = read_info(path)
    plan = Plan(info, PlanFile(path, info))
    plan.verify()
    return plan


def _grouped(table: pa.Table, columns: tuple[str, ...], counted: list[tuple[str, str]]) -> pa.Table:
    grouped = table.group_by(list(columns)).aggregate([*counted, ("value_bytes", "sum")])
    return grouped.rename_columns([*columns, "rows", "value_bytes"])


def _merged(held: list[pa.Table], columns: tuple[str, ...]) -> pa.Table:
    counts = [pa.field(name, pa.int64(), nullable=False) for name in ("rows", "value_bytes")]
    schema = pa.schema([*(PLAN.field(name) for name in columns), *counts])
    whole = pa.concat_tables([schema.empty_table(), *(part.cast(schema) for part in held)])
    return _grouped(whole, columns, [("rows", "sum")]).cast(schema)


# --- what is shown ---------------------------------------------------------------------------------------------
