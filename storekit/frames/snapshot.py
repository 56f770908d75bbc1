"""One instant of a store, frozen: everything that is analysed is read from here, never from the live database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import duckdb
import pandas as pd
import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from storekit.clock import as_utc
from storekit.engines.duckdb import DuckDBEngine
from storekit.errors import QueryError, SnapshotError
from storekit.frames.answers import answer_frame
from storekit.frames.contract import ASSETS, ROWS, TASKS
from storekit.frames.display import escape, human_bytes, human_count, human_instant, plain
from storekit.frames.dtypes import to_frame

if TYPE_CHECKING:
    from storekit.frames.diff import SnapshotDiff
    from storekit.frames.plan import Plan
    from storekit.frames.preview import Preview

__all__ = ["FORMAT_VERSION", "Snapshot", "SnapshotInfo", "open_snapshot"]

FORMAT_VERSION = 1
"""Of a saved snapshot. It rises when an older storekit could misread what a newer one wrote."""

_SCHEMA = ROWS.schema(values=False)


def _version() -> str:
    try:
        return metadata.version("storekit")
    except metadata.PackageNotFoundError:
        return "unknown"


class SnapshotInfo(BaseModel):
    """What a snapshot is of. Immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format_version: int = Field(default=FORMAT_VERSION, ge=1, le=FORMAT_VERSION, strict=True)
    """Of the saved form."""
    taken_at: AwareDatetime
    """The instant of reading, UTC; the ``now`` of a preview unless another is asked for."""
    layout: str
    """``storekit``, ``airflow-3.3`` or ``airflow-3.4``."""
    database: str
    """Where from, without credentials: ``sqlite:///airflow.db``, ``postgresql://host/airflow``."""
    database_id: str | None = None
    """Tells two databases apart: a hash of host, port and database or the file's absolute path; no user or password."""
    dialect: str
    """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
    has_never_expire: bool
    """Whether the layout has the flag that tells NEVER_EXPIRE from retention 0."""
    custom_backend: str | None = None
    """Dotted path of the backend that Airflow's configuration names, where it is not the metastore: cleanup is then
    skipped."""
    sees_task_instances: bool = False
    """Whether the reader could see task instances; else ``task_state`` is null throughout."""
    sees_dag_runs: bool = False
    """Whether it could see when DagRuns started; else ``run_started_at`` and ``run_is_kept`` are null throughout."""
    storekit_version: str = Field(default_factory=_version)
    """That took it."""
    task_rows: int = 0
    """Rows of the task store; counted by `Snapshot.from_reader`."""
    asset_rows: int = 0
    """Rows of the asset store; counted by `Snapshot.from_reader`."""

    @field_validator("taken_at")
    @classmethod
    def _utc(cls, taken_at: datetime) -> datetime:
        return as_utc(taken_at)

    @field_validator("database")
    @classmethod
    def _without_credentials(cls, database: str) -> str:
        try:
            parts = urlsplit(database)
            # After a "?", a SQLite URL names no server's option: it is part of the file's name, password or not.
            query = "" if parts.scheme in {"", "sqlite"} and not parts.netloc else parts.query.lower()
            secret = parts.password is not None or "password" in query
        except ValueError:
            secret = "@" in database
        if secret:
            # The text itself stays out of the message.
            raise ValueError("the database's text holds a password; give host and database only")
        return database


class Snapshot:
    """One instant of a state store: metadata and sizes of every entry, without values.

    It lives in an in-memory DuckDB as the table ``rows`` (columns of `storekit.frames.contract.ROWS`) with the
    views ``tasks`` and ``assets``, and cannot be changed. Made by `Snapshot.from_reader` or `open_snapshot`.
    """

    def __init__(self, engine: DuckDBEngine, info: SnapshotInfo, *, value_bytes: int) -> None:
        self._engine = engine
        self.info = info
        self._value_bytes = value_bytes

    @classmethod
    def from_reader(
        cls, reader: pa.RecordBatchReader, info: SnapshotInfo, *, memory_limit: str = "1GB", threads: int | None = None
    ) -> Snapshot:
        """Take a snapshot from a stream.

        Parameters
        ----------
        reader
            Rows in the ROWS contract; read once, to its end, never held whole.
        info
            What it is of. The row counts are filled in here.
        memory_limit
            What DuckDB may use before it spills to a private temporary directory.
        threads
            For queries; None: DuckDB's choice.

        Raises
        ------
        SnapshotError
            If the columns are not the contract's, a null stands where the contract has none, or sizes are
            negative or more than 64 bits hold together.
        """
        _check_schema(reader.schema)
        engine = DuckDBEngine(memory_limit=memory_limit, threads=threads)
        try:
            # The contract's schema, not the reader's: the two may differ in what they say of nulls.
            engine.load("rows", pa.RecordBatchReader.from_batches(_SCHEMA, _relabelled(reader)))
            engine.view("tasks")
            engine.view("assets")
            engine.freeze()
            totals = {row["store"]: row for row in engine.query("totals").to_pylist()}
        except duckdb.Error as error:
            engine.close()
            broken = isinstance(error, duckdb.ConstraintException)
            raise SnapshotError(
                f"the rows {'break the contract' if broken else 'cannot be held'}: {str(error).splitlines()[0]}",
                hint="the columns that may be null are listed in storekit.frames.contract.ROWS"
                if broken
                else "give a higher memory_limit, if that is what it lacks; else take the snapshot again",
            ) from error
        except BaseException:
            engine.close()
            raise
        size = sum(row["value_bytes"] for row in totals.values())
        if size >= 2**63 or any(row["smallest"] < 0 for row in totals.values()):
            engine.close()
            raise SnapshotError("value_bytes holds no sizes", hint="they are 0 or more, together less than 2**63")
        if unknown := totals.keys() - {"task", "asset"}:
            engine.close()
            raise SnapshotError(
                f"the column store holds {', '.join(plain(each) for each in sorted(unknown))}",
                hint="it holds 'task' or 'asset'",
            )
        counts = {store: totals[store]["entries"] if store in totals else 0 for store in ("task", "asset")}
        info = info.model_copy(update={"task_rows": counts["task"], "asset_rows": counts["asset"]})
        return cls(engine, info, value_bytes=size)

    def __len__(self) -> int:
        return self.info.task_rows + self.info.asset_rows

    @property
    def value_bytes(self) -> int:
        """The size of all values in bytes, over both stores."""
        return self._value_bytes

    def tasks(self) -> pd.DataFrame:
        """Return the task rows, ordered by natural key.

        Returns
        -------
        DataFrame
            dag_id, run_id, task_id (str), map_index (int64), region_id (str), key (str), value_bytes (int64),
            updated_at, expires_at (datetime64[us, UTC]), never_expire (boolean). What each means:
            `storekit.frames.contract.TASKS`.
        """
        return to_frame(self._engine.stream("tasks_ordered"), TASKS.schema(values=False))

    def assets(self) -> pd.DataFrame:
        """Return the asset rows, ordered by natural key.

        Returns
        -------
        DataFrame
            asset_id (int64), asset_name, asset_uri (str), active (bool), key (str), value_bytes (int64), updated_at
            (datetime64[us, UTC]), last_updated_by_kind, …_dag_id, …_run_id, …_task_id (str), …_map_index (Int64).
            What each means: `storekit.frames.contract.ASSETS`.
        """
        return to_frame(self._engine.stream("assets_ordered"), ASSETS.schema(values=False))

    def sql(self, query: str, /, **params: Any) -> pd.DataFrame:
        """Ask the snapshot a question in DuckDB's SQL.

        Parameters
        ----------
        query
            One SELECT, EXPLAIN, DESCRIBE, SUMMARIZE or SHOW over ``rows``, ``tasks`` and ``assets``.
        **params
            Values for ``$name`` in it. Never write a value into the text.

        Returns
        -------
        DataFrame
            The query's columns: texts str, integers Int64, booleans boolean, floats float64, instants
            datetime64[us, UTC], intervals timedelta64[us].

        Raises
        ------
        QueryError
            For anything that is not one such statement, would change something or reach outside, or is wrong SQL.

        Examples
        --------
        >>> snap.sql("SELECT count(*) AS n FROM tasks WHERE dag_id = $dag", dag="orders_etl")  # doctest: +SKIP
        """
        return answer_frame(self._engine.ask(query, params))

    def preview(self, now: datetime | str | None = None) -> Preview:
        """Return what time-based cleanup would delete and keep, and why.

        Parameters
        ----------
        now
            The instant of the cleanup: aware, or ISO text with a zone; None: when the snapshot was taken.
        """
        from storekit.frames.preview import Preview

        return Preview(self, now)

    def plan(self, now: datetime | str | None = None) -> Plan:
        """Return the rows that `preview` of ``now`` shows as deleted, to look over, to save, and to clean up by."""
        from storekit.frames.plan import plan_of

        return plan_of(self, now)

    def diff(self, older: Snapshot) -> SnapshotDiff:
        """Return what changed from ``older`` to this snapshot: rows that appeared, disappeared, were rewritten."""
        from storekit.frames.diff import SnapshotDiff

        if not isinstance(older, Snapshot):
            raise QueryError(f"{older!r} is no snapshot", hint="snap.diff(sk.open_snapshot(directory))")
        return SnapshotDiff(older=older, newer=self)

    def equals(self, other: Snapshot) -> bool:
        """Tell whether the other snapshot has equal metadata and equal rows, whatever their order."""
        from storekit.frames.diff import same_rows

        return self.info == other.info and same_rows(self, other)

    def save(self, directory: str | Path, *, overwrite: bool = False) -> Path:
        """Save as Parquet with metadata, whole or not at all, and return the directory.

        Parameters
        ----------
        directory
            Made here; its parent must exist. An empty directory may be there.
        overwrite
            Replace a saved snapshot. Anything else is never replaced.

        Raises
        ------
        SnapshotError
            If the directory cannot be written, or is not empty and ``overwrite`` does not apply.
        """
        from storekit.frames.saved import save

        return save(self, Path(directory), overwrite=overwrite)

    def to_reader(self) -> pa.RecordBatchReader:
        """Return all rows, in the ROWS contract, as a stream; in no particular order."""
        return pa.RecordBatchReader.from_batches(_SCHEMA, _relabelled(self._engine.stream("everything")))

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export all rows to anything that reads Arrow: ``polars.DataFrame(snap)``, ``pa.table(snap)``."""
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def close(self) -> None:
        """Give back the memory. Not needed: it happens by itself in the end.

        Whatever is asked of the rows afterwards raises `SnapshotError`; `info` and the counts stay.
        """
        self._engine.close()

    @cached_property
    def _card(self) -> list[tuple[str, str]]:
        info = self.info
        card = [
            ("database", plain(info.database)),
            ("layout", plain(info.layout)),
            ("taken at", human_instant(info.taken_at)),
            ("task rows", human_count(info.task_rows)),
            ("asset rows", human_count(info.asset_rows)),
            ("values", human_bytes(self.value_bytes)),
        ]
        if info.custom_backend is not None:
            card.append(("custom backend", f"{plain(info.custom_backend)} (cleanup is skipped)"))
        return card

    def __repr__(self) -> str:
        return "\n".join(["storekit snapshot", *(f"  {name:<15}{value}" for name, value in self._card)])

    def _repr_html_(self) -> str:
        from storekit.frames.report import framed

        rows = "".join(f'<tr><th scope="row">{name}</th><td>{escape(value)}</td></tr>' for name, value in self._card)
        return framed(f'<p class="sk-title">storekit snapshot</p><table class="sk-card"><tbody>{rows}</tbody></table>')


def open_snapshot(directory: str | Path, *, memory_limit: str = "1GB", threads: int | None = None) -> Snapshot:
    """Open a saved snapshot.

    Parameters
    ----------
    directory
        As given to `Snapshot.save`.
    memory_limit, threads
        As for `Snapshot.from_reader`.

    Raises
    ------
    SnapshotError
        If it is missing, not a snapshot, of a newer format, or not what was saved.
    """
    from storekit.frames.saved import read

    return read(Path(directory), memory_limit=memory_limit, threads=threads)


def _check_schema(schema: pa.Schema) -> None:
    if schema.names != _SCHEMA.names:
        missing = [name for name in _SCHEMA.names if name not in schema.names]
        extra = [plain(name) for name in schema.names if name not in _SCHEMA.names]
        raise SnapshotError(
            f"the columns are not a snapshot's: missing {missing}, unknown {extra}"
            + ("" if missing or extra else ", or in another order"),
            hint="storekit.frames.contract.ROWS lists them",
        )
    for field, expected in zip(schema, _SCHEMA, strict=True):
        if field.type != expected.type:
            raise SnapshotError(
                f"the column {field.name} is {field.type}, not {expected.type}",
                hint="storekit.frames.contract.ROWS lists the types",
            )


def _relabelled(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        yield pa.RecordBatch.from_arrays(batch.columns, schema=_SCHEMA)
