"""`connect` and `Store`: the one door to a live database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from storekit import __version__
from storekit.cleaning import clean
from storekit.clock import SYSTEM_CLOCK, Clock, as_utc
from storekit.config import StateStoreConfig, metadata_database_url
from storekit.errors import QueryError, ReadOnlyError, SnapshotError
from storekit.frames.contract import ASSETS, ROWS, TASKS, Table
from storekit.frames.outcomes import CleanupReport, Progress, RestoreReport
from storekit.frames.plan import Plan
from storekit.frames.scan import TableScan
from storekit.frames.snapshot import Snapshot, SnapshotInfo
from storekit.frames.wire import to_contract
from storekit.metastore.backend import MetastoreStateBackend
from storekit.metastore.engines import READ_ONLY, READ_WRITE, Database
from storekit.metastore.layouts import Layout
from storekit.metastore.scans import Where, count_rows, scan_assets, scan_rows, scan_tasks
from storekit.metastore.sight import look
from storekit.reading import open_wire, watched
from storekit.restoring import restore_into

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Select
    from sqlalchemy.engine import URL
    from sqlalchemy.sql.expression import CompoundSelect

__all__ = ["Store", "connect", "restore"]

DtypeBackend = Literal["numpy_nullable", "pyarrow"]

_SMALLER_BATCHES = (16, 1)
"""Rows per batch, tried in turn where the values of the usual batch are more than Arrow holds."""


def connect(
    url: str | Path | URL | MetastoreStateBackend | None = None,
    *,
    writable: bool = False,
    layout: str | None = None,
    config: StateStoreConfig | None = None,
    clock: Clock | None = None,
) -> Store:
    """Open a state store.

    Parameters
    ----------
    url
        A database URL, the path of a SQLite file, a `MetastoreStateBackend`, or None for the database that
        Airflow's own configuration names.
    writable
        False: nothing can be written, and the database itself enforces it (SQLite ``mode=ro``, read-only
        transactions elsewhere). A store in memory is its backend's own: there only `Store.backend` refuses.
    layout
        ``storekit``, ``airflow-3.3`` or ``airflow-3.4``, where a database holds more than one.
    config
        The options in force. By default Airflow's own where ``url`` is None, and the defaults elsewhere: this
        machine's configuration says nothing of another deployment's database.
    clock
        What `Store.snapshot` takes its instant from, and `Store.backend` stamps and cleans by; by default the
        backend's, or the system's.

    Returns
    -------
    Store
        Open until its `Store.close`; a context manager, too.

    Raises
    ------
    ConnectError, MissingDriverError
        If the database cannot be opened.
    LayoutError
        If it holds no state store, or another than ``layout``; it says what was looked for.
    """
    if isinstance(url, MetastoreStateBackend):
        shared = url.database
        named = layout or shared.layout.name
        database = shared if shared.url.in_memory else Database(shared.url, access=_access(writable), layout=named)
        return Store(database, config=config or url.config, writable=writable, clock=clock or url.clock)
    if url is None:
        config = config or StateStoreConfig.load()
        url = metadata_database_url()
    database = Database(url, access=_access(writable), layout=layout)
    database.require_layout()
    return Store(database, config=config or StateStoreConfig(), writable=writable, clock=clock or SYSTEM_CLOCK)


def _access(writable: bool) -> str:
    return READ_WRITE if writable else READ_ONLY


def restore(
    archive: str | Path, store: Store, *, dry_run: bool = True, progress: Progress | None = None
) -> RestoreReport:
    """Put back what is missing of an archive; unless ``dry_run=False``, say only what would be.

    A row is restored as it was: value, ``updated_at``, ``expires_at``, under the DagRun of its name. Nothing that is
    there is touched. Doing it twice does no more than doing it once.

    Parameters
    ----------
    archive
        The folder that `Store.cleanup` wrote; also one whose cleanup was cut off.
    store
        Where to, opened with ``writable=True``.
    dry_run
        True: nothing is written, and a store that is open for reading will do.
    progress
        Called with (rows looked at, rows in all).

    Returns
    -------
    RestoreReport
        How many rows were restored, are there as they were, were written again since, or lost their DagRun.

    Raises
    ------
    ReadOnlyError
        If something is to be written and the store is not open for writing.
    ArchiveError
        If it is no archive, or damaged.
    ConnectError, WriteError
        If the database refuses; rows that were restored by then stay.
    """
    return restore_into(store._database, archive, dry_run=dry_run, writable=store.writable, progress=progress)


class Store:
    """A live state store; made by `connect`.

    Everything it returns is read afresh. Use it as a context manager, or `close` it.

    A SQLite file that this process has open already (a backend that is not closed, a writable store) is read by
    Python's own SQLite rather than by ADBC's, for the sake of its locks; that costs some four times the CPU.
    """

    def __init__(self, database: Database, *, config: StateStoreConfig, writable: bool, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.config = config
        self.writable = writable
        self.layout: Layout = database.layout

    def __repr__(self) -> str:
        mode = "writable" if self.writable else "read-only"
        return f"Store({self.description}, {self.layout.name}, {mode})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; whatever is asked afterwards opens new ones.

        A database in memory is gone when its backend is, not before.
        """
        if not self._database.url.in_memory:
            self._database.dispose()

    @property
    def description(self) -> str:
        """The database's name, without credentials."""
        return self._database.description

    @property
    def backend(self) -> MetastoreStateBackend:
        """The backend over this database, to read and write single keys with.

        Raises
        ------
        ReadOnlyError
            If the store was opened without ``writable=True``.
        """
        if not self.writable:
            raise ReadOnlyError(
                f"{self.description} is open for reading only",
                hint="open it with connect(url, writable=True)",
            )
        return MetastoreStateBackend.over(self._database, config=self.config, clock=self._clock)

    # --- tables ------------------------------------------------------------------------------------------------

    def tasks(
        self,
        *,
        values: bool = True,
        decode: bool = False,
        where: Where | None = None,
        dtype_backend: DtypeBackend | None = None,
    ) -> pd.DataFrame:
        """Return the task store, one row per entry, in the database's order.

        Parameters
        ----------
        values
            Whether to read ``value`` too. Values may be secrets, and large.
        decode
            Add ``decoded`` (the value as Python objects; None where it is not JSON) and ``decode_error``.
        where
            ``{"dag_id": "etl", "key": ["a", "b"]}``: equality, or one of several, on ``dag_id``, ``run_id``,
            ``task_id``, ``map_index``, ``key``; evaluated by the database.
        dtype_backend
            As in pandas; None: ``str``, ``int64``, ``datetime64[us, UTC]`` and ``boolean``.

        Returns
        -------
        pandas.DataFrame
            ``dag_id``, ``run_id``, ``task_id`` (str), ``map_index`` (int64), ``region_id`` (str; NaN before
            3.4), ``key``, ``value`` (str), ``value_bytes`` (int64, bytes), ``updated_at``, ``expires_at``
            (datetime64[us, UTC]; NaT: no expiry), ``never_expire`` (boolean; NA where the layout has no flag).

        Raises
        ------
        QueryError
            If ``where`` names another column or holds something else than values.
        ConnectError
            If the database cannot be read.
        """
        return self.scan_tasks(values=values or decode, where=where).to_pandas(
            dtype_backend=dtype_backend, decode=decode
        )

    def assets(
        self,
        *,
        values: bool = True,
        decode: bool = False,
        where: Where | None = None,
        dtype_backend: DtypeBackend | None = None,
    ) -> pd.DataFrame:
        """Return the asset store, one row per entry, in the database's order.

        Parameters
        ----------
        values, decode, dtype_backend
            As for `tasks`.
        where
            As for `tasks`, on ``asset_id``, ``asset_name``, ``asset_uri`` and ``key``.

        Returns
        -------
        pandas.DataFrame
            ``asset_id`` (int64), ``asset_name``, ``asset_uri`` (str), ``active`` (bool: a Dag declares it now),
            ``key``, ``value`` (str), ``value_bytes`` (int64), ``updated_at`` (datetime64[us, UTC]),
            ``last_updated_by_kind``, ``…_dag_id``, ``…_run_id``, ``…_task_id`` (str; NaN: not recorded),
            ``last_updated_by_map_index`` (Int64).

        Raises
        ------
        QueryError, ConnectError
            As for `tasks`.
        """
        return self.scan_assets(values=values or decode, where=where).to_pandas(
            dtype_backend=dtype_backend, decode=decode
        )

    def scan_tasks(
        self, *, values: bool = True, where: Where | None = None, batch_rows: int | None = None
    ) -> TableScan:
        """Return the task store as a stream, for a store larger than memory; see `TableScan`.

        Parameters
        ----------
        values, where
            As for `tasks`.
        batch_rows
            Rows per batch at most, 1 or more; None: the driver's choice. The values of a batch must be less than
            2 GiB together. PostgreSQL's driver fills batches by size and does not heed it.

        Returns
        -------
        TableScan
            Nothing is read before it is asked for. Its columns are those of `tasks`; `TableScan.schema` has their Arrow
            types.

        Raises
        ------
        QueryError
            As for `tasks`, and if ``batch_rows`` is no such number.
        """
        statement = scan_tasks(self.layout, self._dialect, values=values, where=where)
        return self._scan(statement, TASKS, values=values, batch_rows=batch_rows)

    def scan_assets(
        self, *, values: bool = True, where: Where | None = None, batch_rows: int | None = None
    ) -> TableScan:
        """Return the asset store as a stream; see `TableScan`.

        Parameters
        ----------
        values, batch_rows
            As for `scan_tasks`.
        where
            As for `assets`.

        Returns
        -------
        TableScan
            Its columns are those of `assets`.

        Raises
        ------
        QueryError
            As for `scan_tasks`.
        """
        statement = scan_assets(self.layout, self._dialect, values=values, where=where)
        return self._scan(statement, ASSETS, values=values, batch_rows=batch_rows)

    def counts(self) -> Mapping[str, int]:
        """Return how many rows the two tables have, as the database counts them now.

        Returns
        -------
        Mapping of str to int
            ``"tasks"`` and ``"assets"``, each with its rows.

        Raises
        ------
        ConnectError
            If the database cannot be read.
        """
        tasks, assets = self._database.run(lambda connection: connection.execute(count_rows(self.layout)).one())
        return {"tasks": tasks, "assets": assets}

    # --- snapshot ----------------------------------------------------------------------------------------------

    def snapshot(self, *, progress: Progress | None = None) -> Snapshot:
        """Freeze this instant: every row's metadata and size, no values.

        Read by one statement, so it is one instant on every database. All analysis (`Snapshot.preview`,
        `Snapshot.sql`) reads the snapshot, never the database.

        Parameters
        ----------
        progress
            Called with (rows read, rows in all) while reading. What it raises ends the reading.

        Returns
        -------
        Snapshot
            Of the instant that the store's clock told before the reading: ``snapshot.info.taken_at``. It lives on when
            the store is closed.

        Raises
        ------
        ConnectError
            If the database cannot be read, or holds a cell that cannot be.
        SnapshotError
            If the store's clock tells an instant without a zone.
        """
        counts = self.counts() if progress is not None else {}
        taken_at = self._now()
        sight = look(self._database, self.layout)
        statement = scan_rows(self.layout, self._dialect, sight)
        info = SnapshotInfo(
            taken_at=taken_at,
            layout=self.layout.name,
            database=self.description,
            dialect=self._dialect.name,
            storekit_version=__version__,
            has_never_expire=self.layout.has_never_expire,
            custom_backend=self.config.custom_backend,
            database_id=self._database.identity,
            sees_task_instances=sight.task_instances,
            sees_dag_runs=sight.dag_runs,
        )
        with open_wire(self._database, statement) as wire:
            reader = to_contract(wire, ROWS, values=False)
            rows = reader if progress is None else watched(reader, progress, sum(counts.values()))
            return Snapshot.from_reader(rows, info)

    # --- cleanup -----------------------------------------------------------------------------------------------

    def cleanup(
        self,
        plan: Plan | None = None,
        *,
        now: datetime | str | None = None,
        batch_size: int | None = None,
        archive: str | Path | None = None,
        dry_run: bool = True,
        progress: Progress | None = None,
        call_backend: bool = False,
    ) -> CleanupReport:
        """Delete the task rows that have expired; unless ``dry_run=False``, say only what would go.

        A row is deleted if ``expires_at < now`` at the very instant of its deletion: one that is refreshed meanwhile
        lives on. Each batch is a transaction, tried again after a lock timeout, a deadlock or a lost connection. Ctrl-C
        stops between two batches; a second one rolls the current batch back. Asset rows are never deleted.

        Parameters
        ----------
        plan
            Delete only what it names, and of that only what still is as the plan shows it; the rest is reported as
            drift.
        now
            The instant of the cleanup: aware, or ISO text with a zone; None: the clock's. To delete, it must have come.
        batch_size
            Rows per transaction; 0: all in one statement; None: ``[state_store] state_cleanup_batch_size``.
        archive
            A folder to make. The deleted rows are in it, values included, safely on disk before their transaction
            commits; `storekit.restore` puts them back. None: they are gone for good.
        dry_run
            True: nothing is written, and a store that is open for reading will do.
        progress
            Called after each batch with (rows done, rows in all). What it raises ends the cleanup there;
            KeyboardInterrupt does as Ctrl-C does, and the report comes back.
        call_backend
            Where ``[state_store] backend`` is a custom one, call its own ``cleanup()`` instead of skipping it.

        Returns
        -------
        CleanupReport
            What was done; ``skipped`` names a custom backend for whose sake nothing was.

        Raises
        ------
        ReadOnlyError
            If something is to be deleted and the store is not open for writing.
        PlanError
            If the plan is for another database or layout, or was changed since it was made.
        ArchiveError
            If ``archive`` exists or cannot be made. Like the above, before anything is deleted.
        FutureInstantError, QueryError
            If ``now`` has not come; if a parameter is no such thing.
        CleanupStoppedError
            If a batch fails for good: it is rolled back, and ``error.report`` says what those before it did.
        """
        return clean(
            self._database,
            self.config,
            self._now(),
            plan=plan,
            now=now,
            batch_size=batch_size,
            archive=archive,
            dry_run=dry_run,
            writable=self.writable,
            progress=progress,
            call_backend=call_backend,
        )

    # --- reading -----------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        try:
            return as_utc(self._clock.now())
        except (TypeError, ValueError) as error:
            raise SnapshotError(
                f"{self._clock!r} tells no instant: {error}", hint="a clock's now() returns an aware datetime, in UTC"
            ) from error

    @property
    def _dialect(self) -> Any:
        return self._database.engine.dialect

    def _scan(
        self, statement: Select[Any] | CompoundSelect[Any], table: Table, *, values: bool, batch_rows: int | None
    ) -> TableScan:
        if batch_rows is not None and (
            isinstance(batch_rows, bool) or not isinstance(batch_rows, int) or batch_rows < 1
        ):
            raise QueryError(f"batch_rows={batch_rows!r} is not a number of rows", hint="1 or more; None: by itself")
        smaller = _SMALLER_BATCHES if batch_rows is None and values else ()
        return TableScan(
            table,
            partial(open_wire, self._database, statement, batch_rows),
            values=values,
            in_smaller_batches=[partial(open_wire, self._database, statement, rows) for rows in smaller],
        )
