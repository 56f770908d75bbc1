"""`MetastoreStateBackend`: the state store in a metadata database, storekit's own or Airflow's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from sqlalchemy import Connection, Delete, Insert, Select
from sqlalchemy.engine import URL

from storekit.clock import SYSTEM_CLOCK, Clock, as_utc
from storekit.config import StateStoreConfig, metadata_database_url
from storekit.errors import FutureInstantError, InvalidValueError, InvalidValueTypeError, StorekitError
from storekit.metastore import parents, statements
from storekit.metastore.cleanup import delete_expired_rows
from storekit.metastore.engines import CREATE, Database
from storekit.metastore.layouts import Layout
from storekit.metastore.urls import Access
from storekit.state import (
    NEVER_EXPIRE,
    AssetScope,
    AssetWriter,
    BaseStoreBackend,
    NeverExpire,
    StoreScope,
    TaskScope,
    check_key,
)

if TYPE_CHECKING:
    from storekit.state.contract import AsyncSessionLike, SyncSession
    from storekit.state.references import ReferenceForm

__all__ = ["MetastoreStateBackend"]

T = TypeVar("T")
Expiry = datetime | Literal[NeverExpire.NEVER_EXPIRE] | None


class MetastoreStateBackend(BaseStoreBackend):
    """The default backend: task and asset state in a metadata database.

    Works on storekit's own tables (`create_tables`) and on those of Airflow 3.3 and 3.4, found by their columns,
    on SQLite, PostgreSQL and MySQL or MariaDB. A given ``session`` (SQLAlchemy ``Session`` or ``Connection``, or
    their async twins) is used and never committed; without one, each call is a transaction of its own.

    Beside what `BaseStoreBackend` says, any method raises ConnectError, ReadOnlyError or WriteError where the database
    cannot be reached, is open for reading only, or refuses.

    Parameters
    ----------
    url
        A database URL, the path of a SQLite file, or None for the database that Airflow's own configuration
        names. ``sqlite://`` is a store in memory.
    config
        ``clear_on_success`` and ``state_cleanup_batch_size`` are read from it; by default what
        `StateStoreConfig.load` finds.
    clock
        The server's clock: it stamps ``updated_at`` and is the ``now`` of `cleanup`.
    layout
        A layout's name, where a database holds more than one.
    access
        ``rwc``: write, and the file of a SQLite database may be missing until `create_tables`; ``rw``: write; ``ro``:
        read only.

    Raises
    ------
    ConnectError, MissingDriverError
        If the database cannot be opened.
    LayoutError
        At the first use, if it holds no state store.
    """

    cleaned_by_storekit = True

    def __init__(
        self,
        url: str | Path | URL | None = None,
        *,
        config: StateStoreConfig | None = None,
        clock: Clock = SYSTEM_CLOCK,
        layout: str | None = None,
        access: Access = CREATE,
    ) -> None:
        self.config = config if config is not None else StateStoreConfig.load()
        self.clock = clock
        self.database = Database(url if url is not None else metadata_database_url(), access=access, layout=layout)

    @classmethod
    def over(cls, database: Database, *, config: StateStoreConfig, clock: Clock) -> MetastoreStateBackend:
        """Return a backend over a database that is open already.

        Parameters
        ----------
        database
            A `storekit.metastore.engines.Database`, such as another backend's ``database``. It is shared: `close`
            closes its pooled connections for all.
        config, clock
            As for the class; neither has a default here.

        Returns
        -------
        MetastoreStateBackend
            It opens nothing of its own.
        """
        backend = cls.__new__(cls)
        backend.config, backend.clock, backend.database = config, clock, database
        return backend

    def __repr__(self) -> str:
        return f"MetastoreStateBackend({self.database.description})"

    @property
    def layout(self) -> Layout:
        """The layout of the tables."""
        return self.database.layout

    @property
    def reference_form(self) -> ReferenceForm:  # type: ignore[override]
        """Bare references in storekit's own tables, wrapped ones in Airflow's, as each reads them."""
        return "wrapped" if self.layout.is_airflow else "bare"

    def close(self) -> None:
        """Close the pooled connections."""
        self.database.dispose()

    # --- the contract ----------------------------------------------------------------------------------------

    def get(self, scope: StoreScope, key: str, *, session: SyncSession | None = None) -> str | None:
        return self._run(session, self._getter(scope, key))

    async def aget(self, scope: StoreScope, key: str, *, session: AsyncSessionLike | None = None) -> str | None:
        return await self._arun(session, self._getter(scope, key))

    def set(
        self,
        scope: StoreScope,
        key: str,
        value: str,
        *,
        expires_at: Expiry = None,
        session: SyncSession | None = None,
    ) -> None:
        self._run(session, self._setter(scope, key, value, expires_at, writer=None))

    async def aset(
        self,
        scope: StoreScope,
        key: str,
        value: str,
        *,
        expires_at: Expiry = None,
        session: AsyncSessionLike | None = None,
    ) -> None:
        await self._arun(session, self._setter(scope, key, value, expires_at, writer=None))

    def set_asset_store(
        self,
        scope: AssetScope,
        key: str,
        value: str,
        *,
        writer: AssetWriter,
        session: SyncSession | None = None,
    ) -> None:
        """Write or overwrite an asset's value, and record who wrote it.

        Parameters
        ----------
        scope
            The asset; a name or a URI finds the active one only.
        key, value, session
            As for `set`.
        writer
            Who writes; it replaces what was recorded by an earlier write.

        Raises
        ------
        InvalidKeyError, InvalidValueError, InvalidValueTypeError
            If the key or the text cannot be stored.
        AssetNotFoundError
            If the asset does not exist or, named by name or URI, is not active.
        """
        self._run(session, self._setter(scope, key, value, None, writer=writer))

    async def aset_asset_store(
        self,
        scope: AssetScope,
        key: str,
        value: str,
        *,
        writer: AssetWriter,
        session: AsyncSessionLike | None = None,
    ) -> None:
        """As `set_asset_store`, awaited."""
        await self._arun(session, self._setter(scope, key, value, None, writer=writer))

    def delete(self, scope: StoreScope, key: str, *, session: SyncSession | None = None) -> None:
        self._run(session, self._deleter(scope, key))

    async def adelete(self, scope: StoreScope, key: str, *, session: AsyncSessionLike | None = None) -> None:
        await self._arun(session, self._deleter(scope, key))

    def clear(self, scope: StoreScope, *, all_map_indices: bool = False, session: SyncSession | None = None) -> None:
        self._run(session, self._clearer(scope, all_map_indices=all_map_indices))

    async def aclear(
        self, scope: StoreScope, *, all_map_indices: bool = False, session: AsyncSessionLike | None = None
    ) -> None:
        await self._arun(session, self._clearer(scope, all_map_indices=all_map_indices))

    def cleanup(self, *, now: datetime | None = None, batch_size: int | None = None) -> int:
        """Delete the task rows whose ``expires_at`` lies before ``now``, strictly.

        Rows without an expiry, flagged rows and asset rows are never touched. A row refreshed meanwhile is kept:
        each DELETE looks at the expiry again.

        Parameters
        ----------
        now
            The instant of the cleanup, aware, not after the server clock's; by default that.
        batch_size
            Rows per transaction; 0: one statement; by default ``[state_store] state_cleanup_batch_size``.

        Returns
        -------
        int
            How many rows went.

        Raises
        ------
        FutureInstantError
            If ``now`` has not come yet: rows that are alive would be deleted.
        ValueError, TypeError
            If ``now`` is naive, or no datetime; if ``batch_size`` is negative.
        ReadOnlyError
            If the database is open for reading only.
        ConnectError, WriteError
            If the first batch fails, also after it was tried again: nothing is deleted.
        CleanupStoppedError
            If a batch fails after others were committed; ``error.deleted`` says how many rows those deleted.
        """
        present = as_utc(self.clock.now())
        instant = present if now is None else as_utc(now)
        if instant > present:
            raise FutureInstantError(
                f"now={instant.isoformat()} has not come yet: rows that are alive would be deleted",
                hint="preview(now=...) shows what would go by then",
            )
        return delete_expired_rows(
            self.database,
            now=instant,
            batch_size=self.config.state_cleanup_batch_size if batch_size is None else batch_size,
        )

    # --- the embedded store's parents ------------------------------------------------------------------------

    def create_tables(self) -> None:
        """Make storekit's own tables; those that are there are left alone.

        Raises
        ------
        LayoutError
            If this is an Airflow database.
        """
        where = self.database.description
        self.database.create_file()
        self.database.run(lambda connection: parents.create_tables(connection, where=where))
        self.database.forget_layout()

    def add_dag_run(self, dag_id: str, run_id: str, *, state: str = "running") -> int:
        """Add a DagRun, under which task state can be set.

        Parameters
        ----------
        dag_id, run_id
            Its name. A run that is there already is found, and stays as it is.
        state
            Of a new one.

        Returns
        -------
        int
            Its id in the table ``dag_run``.

        Raises
        ------
        LayoutError
            If this is an Airflow database: there DagRuns are Airflow's to make.
        """
        return self._own(lambda c, layout: parents.add_dag_run(c, layout, dag_id, run_id, state))

    def delete_dag_run(self, dag_id: str, run_id: str) -> None:
        """Delete a DagRun, and with it its task rows, NEVER_EXPIRE ones too; no effect where there is none.

        Parameters
        ----------
        dag_id, run_id
            Its name.

        Raises
        ------
        LayoutError
            If this is an Airflow database: there DagRuns are Airflow's to delete.
        """
        self._own(lambda c, layout: parents.delete_dag_run(c, layout, dag_id, run_id))

    def add_task_instance(self, scope: TaskScope, *, state: str | None = "running", try_number: int = 1) -> str:
        """Add a task instance under its DagRun.

        Parameters
        ----------
        scope
            Which one.
        state
            Airflow's name of a state, such as ``running`` or ``success``; None: it has none yet.
        try_number
            The number of its try.

        Returns
        -------
        str
            Its id, a new UUID: the ``ti_id`` of the worker-side hooks.

        Raises
        ------
        LayoutError
            If this is an Airflow database: there task instances are Airflow's to make.
        DagRunNotFoundError
            If its DagRun does not exist.
        WriteError
            If it is there already.
        """
        return self._own(
            lambda c, layout: parents.add_task_instance(c, layout, scope, state=state, try_number=try_number)
        )

    def set_task_instance_state(self, scope: TaskScope, state: str) -> None:
        """Move a task instance to a state; with ``clear_on_success`` its task rows go when it turns success.

        Parameters
        ----------
        scope
            Which one. Rows of other map indices, and assets' rows, stay.
        state
            Airflow's name of a state. ``success`` clears only where the state before was another.

        Raises
        ------
        LayoutError
            If there is no such task instance; if this is an Airflow database: there they are Airflow's to move.
        """
        clear = self.config.clear_on_success
        self._own(lambda c, layout: parents.set_task_instance_state(c, layout, scope, state, clear_on_success=clear))

    def add_asset(self, *, name: str, uri: str) -> int:
        """Add an asset, or find it, and make it active.

        Parameters
        ----------
        name, uri
            Together they are the asset.

        Returns
        -------
        int
            Its id in the table ``asset``: `AssetScope`'s ``asset_id``.

        Raises
        ------
        LayoutError
            If this is an Airflow database: there assets are Airflow's to make.
        ValueError
            If another active asset has the name or the URI: deactivate that one first.
        """
        return self._own(lambda c, layout: parents.add_asset(c, layout, name, uri))

    def deactivate_asset(self, scope: AssetScope) -> None:
        """Take an asset out of the active ones; its rows stay.

        Parameters
        ----------
        scope
            Which one; a name or a URI finds active ones only. By its id, one that is not active stays as it is.

        Raises
        ------
        LayoutError
            If this is an Airflow database: there assets are Airflow's to deactivate.
        AssetNotFoundError
            If there is none.
        """
        self._own(lambda c, layout: parents.deactivate_asset(c, layout, scope))

    def delete_asset(self, scope: AssetScope) -> None:
        """Delete an asset, and with it its rows.

        Parameters
        ----------
        scope
            Which one; a name or a URI finds active ones only, an id any.

        Raises
        ------
        LayoutError
            If this is an Airflow database: there assets are Airflow's to delete.
        AssetNotFoundError
            If there is none.
        """
        self._own(lambda c, layout: parents.delete_asset(c, layout, scope))

    # --- one piece of work, blocking or awaited ----------------------------------------------------------------

    def _own(self, work: Callable[[Connection, Layout], T]) -> T:
        return self.database.run(lambda connection: work(connection, self.database.layout_on(connection)))

    def _run(self, session: SyncSession | None, work: Callable[[Connection], T]) -> T:
        if session is None:
            return self.database.run(work)
        with self.database.errors():
            if isinstance(session, Connection):
                return work(session)
            session.flush()  # a pending DagRun of the caller's must be there for the statement to find
            return work(session.connection())

    async def _arun(self, session: AsyncSessionLike | None, work: Callable[[Connection], T]) -> T:
        if session is None:
            return await self.database.arun(work)
        from sqlalchemy.ext.asyncio import AsyncConnection

        with self.database.errors():
            if isinstance(session, AsyncConnection):
                return await session.run_sync(work)
            await session.flush()
            return await (await session.connection()).run_sync(work)

    def _getter(self, scope: StoreScope, key: str) -> Callable[[Connection], str | None]:
        def work(connection: Connection) -> str | None:
            layout = self.database.layout_on(connection)
            statement: Select[str]
            if isinstance(scope, TaskScope):
                statement = statements.get_task_value(layout, scope, key)
            else:
                statement = statements.get_asset_value(layout, _asset(scope), key)
            return connection.scalar(statement)

        return work

    def _setter(
        self, scope: StoreScope, key: str, value: str, expires_at: Expiry, *, writer: AssetWriter | None
    ) -> Callable[[Connection], None]:
        check_key(key)
        _check_text(value)
        expiry = None if expires_at is None or expires_at is NEVER_EXPIRE else as_utc(expires_at)

        def work(connection: Connection) -> None:
            layout, dialect = self.database.layout_on(connection), connection.dialect
            updated_at = as_utc(self.clock.now())
            statement: Insert
            present: Select[int]
            missing: StorekitError
            if isinstance(scope, TaskScope):
                statement = statements.set_task_value(
                    layout,
                    dialect,
                    scope,
                    key,
                    value,
                    updated_at=updated_at,
                    expires_at=expiry,
                    never_expire=expires_at is NEVER_EXPIRE,
                )
                present, missing = statements.dag_run_exists(layout, scope), parents.dag_run_not_found(scope)
            else:
                statement = statements.set_asset_value(
                    layout, dialect, _asset(scope), key, value, updated_at=updated_at, writer=writer
                )
                present, missing = statements.asset_exists(layout, scope), parents.asset_not_found(scope)
            # Without the option psycopg's count of an INSERT is dropped and reads -1.
            touched = connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
            # MySQL may report 0 rows for a rewrite that changes nothing: ask before refusing.
            if touched < 1 and connection.scalar(present) is None:
                raise missing

        return work

    def _deleter(self, scope: StoreScope, key: str) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            layout = self.database.layout_on(connection)
            statement: Delete
            if isinstance(scope, TaskScope):
                statement = statements.delete_task_key(layout, scope, key)
            else:
                statement = statements.delete_asset_key(layout, _asset(scope), key)
            connection.execute(statement)

        return work

    def _clearer(self, scope: StoreScope, *, all_map_indices: bool) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            layout = self.database.layout_on(connection)
            statement: Delete
            if isinstance(scope, TaskScope):
                statement = statements.clear_task(layout, scope, all_map_indices=all_map_indices)
            else:
                statement = statements.clear_asset(layout, _asset(scope))
            connection.execute(statement)

        return work


def _asset(scope: object) -> AssetScope:
    if not isinstance(scope, AssetScope):
        raise TypeError(f"a scope is a TaskScope or an AssetScope, got {type(scope).__name__}")
    return scope


def _check_text(value: object) -> None:
    if not isinstance(value, str):
        raise InvalidValueTypeError(
            f"a backend stores text, got {type(value).__name__}",
            hint="accessors turn values into JSON: TaskStoreAccessor(backend, scope).set(key, value)",
        )
    if "\x00" in value:
        raise InvalidValueError(
            "the value holds a NUL character, which PostgreSQL cannot store", hint=r"JSON writes it as \u0000"
        )
