"""Scopes, the never-expire mark, and the abstract backend.

Source of every rule here: the seed document's "Custom backends" and "Custom worker-side backends", and the
released ``airflow.sdk.state`` where the seed is silent.
"""

from __future__ import annotations

import enum
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session, scoped_session

    from storekit.state.references import ReferenceForm

    SyncSession = Session | scoped_session[Session] | Connection
    AsyncSessionLike = AsyncSession | AsyncConnection

JsonValue = Any
"""What JSON can hold: str, int, float, bool, list, dict with string keys, nested. Checked at the write."""

__all__ = [
    "NEVER_EXPIRE",
    "AssetScope",
    "AssetWriter",
    "BaseStoreBackend",
    "JsonValue",
    "NeverExpire",
    "StoreScope",
    "TaskScope",
    "WriterKind",
]


_MAX_INTEGER = 2**31 - 1  # of the databases' INTEGER


class NeverExpire(enum.Enum):
    """The type of `NEVER_EXPIRE`. An enum member is one object under pickling, copying and threads."""

    NEVER_EXPIRE = "never expire"

    def __repr__(self) -> str:
        return "NEVER_EXPIRE"


NEVER_EXPIRE: Final = NeverExpire.NEVER_EXPIRE
"""Pass as ``retention`` to keep a key out of time-based cleanup, whatever ``default_retention_days`` says."""


@dataclass(frozen=True)
class TaskScope:
    """The namespace of one task instance; retries of it share the namespace.

    Parameters
    ----------
    dag_id, run_id, task_id
        Non-empty strings.
    map_index
        The index of a mapped task's instance; -1 for a task that is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __post_init__(self) -> None:
        for name in ("dag_id", "run_id", "task_id"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ValueError(f"TaskScope.{name} must be a non-empty string, got {value!r}")
        index = self.map_index
        if isinstance(index, bool) or not isinstance(index, int) or not -1 <= index <= _MAX_INTEGER:
            raise ValueError(f"TaskScope.map_index must be an integer from -1 (not mapped) to 2**31 - 1, got {index!r}")


@dataclass(frozen=True)
class AssetScope:
    """The namespace of one asset.

    Parameters
    ----------
    asset_id
        The integer key of the asset; known on the server only.
    name, uri
        What a worker knows. They name the *active* asset; an inactive one is reached by ``asset_id`` alone.
    """

    asset_id: int | None = None
    name: str | None = None
    uri: str | None = None

    def __post_init__(self) -> None:
        if self.asset_id is None and self.name is None and self.uri is None:
            raise ValueError("AssetScope needs at least one of asset_id, name and uri")
        for name in ("name", "uri"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise ValueError(f"AssetScope.{name} must be a non-empty string or None, got {value!r}")
        if self.asset_id is not None and (isinstance(self.asset_id, bool) or not isinstance(self.asset_id, int)):
            raise ValueError(f"AssetScope.asset_id must be an integer or None, got {self.asset_id!r}")


StoreScope = TaskScope | AssetScope


class WriterKind(enum.StrEnum):
    """Who last wrote an asset's row."""

    TASK = "task"
    WATCHER = "watcher"
    API = "api"


@dataclass(frozen=True)
class AssetWriter:
    """The writer of an asset's row, recorded beside the value.

    Parameters
    ----------
    kind
        A `WriterKind`, or its text: ``"task"``, ``"watcher"``, ``"api"``.
    dag_id, run_id, task_id, map_index
        The task instance that wrote; ``map_index`` is -1 for a task that is not mapped. All four for kind task; None,
        each of them, for the others.

    Raises
    ------
    ValueError
        If ``kind`` is none of the three; if it is task and one of the four task fields is missing; if it is another
        and one is given.
    """

    kind: WriterKind
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", WriterKind(self.kind))
        fields = (self.dag_id, self.run_id, self.task_id, self.map_index)
        if self.kind is WriterKind.TASK and any(field is None for field in fields):
            raise ValueError(f"a writer of kind 'task' needs dag_id, run_id, task_id and map_index, got {fields}")
        if self.kind is not WriterKind.TASK and any(field is not None for field in fields):
            raise ValueError(f"a writer of kind {self.kind.value!r} carries no task fields, got {fields}")

    @classmethod
    def task(cls, scope: TaskScope) -> AssetWriter:
        """Return the writer for a task instance.

        Parameters
        ----------
        scope
            The task instance that writes.

        Returns
        -------
        AssetWriter
            Of kind task, with the four fields of ``scope``.
        """
        return cls(WriterKind.TASK, scope.dag_id, scope.run_id, scope.task_id, scope.map_index)


class BaseStoreBackend(ABC):
    """The abstract backend: eight methods to implement, four hooks and ``cleanup`` to override.

    Each method takes a scope that is a `TaskScope` or an `AssetScope`; use ``isinstance`` to dispatch. Values
    are texts here, stored and returned verbatim: JSON for an inline value, or a reference. ``session`` is what
    the caller's database work runs in; a backend without a database accepts and ignores it. ``expires_at`` is
    an aware instant, `NEVER_EXPIRE`, or None for no expiry (retention 0).

    The errors that methods name are what storekit's own backend raises; a database that cannot be reached adds its
    own. Of any backend `storekit.testing.BackendConformance` asks that `set` refuses a key that cannot be stored, a
    naive expiry and a missing parent, each unless the suite is told otherwise.

    Source: the seed document's "Custom backends" and "Custom worker-side backends".
    """

    reference_form: ReferenceForm = "bare"
    """How accessors mark a worker-side reference in a row; see `storekit.state.references`."""

    cleaned_by_storekit: ClassVar[bool] = False
    """Whether time-based garbage collection applies: the seed says to the metastore backend only."""

    @abstractmethod
    def get(self, scope: StoreScope, key: str, *, session: SyncSession | None = None) -> str | None:
        """Return the stored text, or None where the key does not exist. Expired rows are still served.

        Parameters
        ----------
        scope
            Whose key it is.
        key
            1 to 512 characters.
        session
            What the read runs in: SQLAlchemy's ``Session`` or ``Connection``. None: work of its own.

        Returns
        -------
        str or None
            The text that `set` was given last, verbatim. None: no such key, also where the scope's DagRun or asset does
            not exist.

        Raises
        ------
        TypeError
            If ``scope`` is neither a `TaskScope` nor an `AssetScope`.
        """

    @abstractmethod
    def set(
        self,
        scope: StoreScope,
        key: str,
        value: str,
        *,
        expires_at: datetime | Literal[NeverExpire.NEVER_EXPIRE] | None = None,
        session: SyncSession | None = None,
    ) -> None:
        """Write or overwrite the value, and with it the expiry. Asset rows have no expiry.

        Parameters
        ----------
        scope
            Whose key it is.
        key
            1 to 512 characters, without NUL and without lone surrogates.
        value
            The text to store, verbatim: JSON, or a reference.
        expires_at
            What becomes of the row in time; it replaces what an earlier write said. An aware datetime, of any zone:
            cleanup deletes the row once that instant lies before its own, strictly. `NEVER_EXPIRE`: no cleanup deletes
            it, and the row says so where the store has a flag for it. None: no expiry either, and no flag. Of an
            asset's row no expiry is kept.
        session
            What the write runs in; it is not committed here. None: a transaction of its own.

        Raises
        ------
        ValueError
            If the key cannot be stored; if ``expires_at`` is naive (guessing its zone could move it by hours); if the
            backend keeps rows under DagRuns and assets, and the scope's does not exist. storekit's own are
            InvalidKeyError, InvalidValueError, DagRunNotFoundError and AssetNotFoundError.
        TypeError
            If ``scope`` is neither of the two, ``value`` is no str, or ``expires_at`` is none of the three; for a key
            that is no str a ValueError will do.
        """

    @abstractmethod
    def delete(self, scope: StoreScope, key: str, *, session: SyncSession | None = None) -> None:
        """Delete one key; no effect where it does not exist.

        Parameters
        ----------
        scope, key
            As for `get`.
        session
            As for `set`.

        Raises
        ------
        TypeError
            As for `get`.
        """

    @abstractmethod
    def clear(self, scope: StoreScope, *, all_map_indices: bool = False, session: SyncSession | None = None) -> None:
        """Delete all keys under the scope: of its one ``map_index``, or of all.

        Parameters
        ----------
        scope
            Whose keys. One that has none, or does not exist, is no error.
        all_map_indices
            True: those of every mapped instance of the task, whatever ``scope.map_index``. No effect on assets.
        session
            As for `set`.

        Raises
        ------
        TypeError
            As for `get`.
        """

    @abstractmethod
    async def aget(self, scope: StoreScope, key: str, *, session: AsyncSessionLike | None = None) -> str | None:
        """As `get`, awaited."""

    @abstractmethod
    async def aset(
        self,
        scope: StoreScope,
        key: str,
        value: str,
        *,
        expires_at: datetime | Literal[NeverExpire.NEVER_EXPIRE] | None = None,
        session: AsyncSessionLike | None = None,
    ) -> None:
        """As `set`, awaited."""

    @abstractmethod
    async def adelete(self, scope: StoreScope, key: str, *, session: AsyncSessionLike | None = None) -> None:
        """As `delete`, awaited."""

    @abstractmethod
    async def aclear(
        self, scope: StoreScope, *, all_map_indices: bool = False, session: AsyncSessionLike | None = None
    ) -> None:
        """As `clear`, awaited."""

    def cleanup(self) -> int | None:
        """Remove what has expired; the default does nothing.

        Returns
        -------
        int or None
            How many rows went, where the backend counts them.
        """
        return None

    def serialize_task_store_to_ref(self, *, value: JsonValue, key: str, ti_id: str) -> str:
        """Keep a task's value and return the reference to it; the default keeps it inline, as JSON.

        The reference must be a function of ``ti_id`` and ``key`` alone, so that ``delete`` and the next ``set``
        find the object again.

        Parameters
        ----------
        value
            What JSON can hold; never None.
        key
            1 to 512 characters, of any kind: escape what a path cannot hold.
        ti_id
            The id of the task instance, such as a UUID's text.

        Returns
        -------
        str
            The reference, not empty, without lone surrogates; `TaskStoreAccessor` refuses any other with a TypeError
            or a ValueError. The default's is ``json.dumps(value)``.

        Raises
        ------
        Exception
            What the hook raises comes out of `TaskStoreAccessor.set`, and no row is written.
        """
        return json.dumps(value)

    def deserialize_task_store_from_ref(self, stored: str) -> JsonValue:
        """Return the value that ``stored`` refers to.

        Parameters
        ----------
        stored
            What `serialize_task_store_to_ref` returned.

        Returns
        -------
        JSON value
            Equal to the value that was kept under the reference last.

        Raises
        ------
        Exception
            What the hook raises, such as for an object that is gone, comes out of `TaskStoreAccessor.get`. The default
            raises ValueError for a text that is not JSON.
        """
        return json.loads(stored)

    def serialize_asset_store_to_ref(self, *, value: JsonValue, key: str, asset_ref: str) -> str:
        """Keep an asset's value and return the reference to it; the default keeps it inline, as JSON.

        The reference must be a function of ``asset_ref`` and ``key`` alone.

        Parameters
        ----------
        value, key
            As for `serialize_task_store_to_ref`.
        asset_ref
            The asset's name; its URI where the scope has no name.

        Returns
        -------
        str
            As for `serialize_task_store_to_ref`.

        Raises
        ------
        Exception
            What the hook raises comes out of `AssetStoreAccessor.set`, and no row is written.
        """
        return json.dumps(value)

    def deserialize_asset_store_from_ref(self, stored: str) -> JsonValue:
        """Return the value that ``stored`` refers to.

        Parameters
        ----------
        stored
            What `serialize_asset_store_to_ref` returned.

        Returns
        -------
        JSON value
            Equal to the value that was kept under the reference last.

        Raises
        ------
        Exception
            As for `deserialize_task_store_from_ref`, out of `AssetStoreAccessor.get`.
        """
        return json.loads(stored)
