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

    Raises
    ------
    ValueError
        If ``kind`` is task and one of the four task fields is missing, or is another and one is given.
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
        """Return the writer for a task instance."""
        return cls(WriterKind.TASK, scope.dag_id, scope.run_id, scope.task_id, scope.map_index)


class BaseStoreBackend(ABC):
    """The abstract backend: eight methods to implement, four hooks and ``cleanup`` to override.

    Each method takes a scope that is a `TaskScope` or an `AssetScope`; use ``isinstance`` to dispatch. Values
    are texts here, stored and returned verbatim: JSON for an inline value, or a reference. ``session`` is what
    the caller's database work runs in; a backend without a database accepts and ignores it. ``expires_at`` is
    an aware instant, `NEVER_EXPIRE`, or None for no expiry (retention 0).
    """

    reference_form: ReferenceForm = "bare"
    """How accessors mark a worker-side reference in a row; see `storekit.state.references`."""

    cleaned_by_storekit: ClassVar[bool] = False
    """Whether time-based garbage collection applies: the seed says to the metastore backend only."""

    @abstractmethod
    def get(self, scope: StoreScope, key: str, *, session: SyncSession | None = None) -> str | None:
        """Return the stored text, or None where the key does not exist. Expired rows are still served."""

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
        """Write or overwrite the value, and with it the expiry. Asset rows have no expiry."""

    @abstractmethod
    def delete(self, scope: StoreScope, key: str, *, session: SyncSession | None = None) -> None:
        """Delete one key; no effect where it does not exist."""

    @abstractmethod
    def clear(self, scope: StoreScope, *, all_map_indices: bool = False, session: SyncSession | None = None) -> None:
        """Delete all keys under the scope: of its one ``map_index``, or of all. No effect of the flag on assets."""

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
        """
        return json.dumps(value)

    def deserialize_task_store_from_ref(self, stored: str) -> JsonValue:
        """Return the value that ``stored`` refers to."""
        return json.loads(stored)

    def serialize_asset_store_to_ref(self, *, value: JsonValue, key: str, asset_ref: str) -> str:
        """Keep an asset's value and return the reference to it; ``asset_ref`` is the asset's name or URI."""
        return json.dumps(value)

    def deserialize_asset_store_from_ref(self, stored: str) -> JsonValue:
        """Return the value that ``stored`` refers to."""
        return json.loads(stored)
