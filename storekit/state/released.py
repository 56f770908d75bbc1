"""Backends written for released Airflow (3.3+), taken in through one adapter.

Their hooks are named ``…_state_store_…`` and take ``scope`` where the seed's take ``ti_id`` or ``asset_ref``;
their scopes are instances of *their* classes, which their methods dispatch on. The adapter translates both ways
and needs no import of Airflow: it finds the scope classes beside the base class that the backend came with.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from storekit.state.contract import (
    NEVER_EXPIRE,
    AssetScope,
    BaseStoreBackend,
    JsonValue,
    NeverExpire,
    StoreScope,
    TaskScope,
)

if TYPE_CHECKING:
    from storekit.state.contract import AsyncSessionLike, SyncSession

__all__ = ["ReleasedBackendAdapter", "adapt_backend", "is_released_backend"]

_RELEASED_HOOKS = (
    "serialize_task_state_store_to_ref",
    "deserialize_task_state_store_from_ref",
    "serialize_asset_state_store_to_ref",
    "deserialize_asset_state_store_from_ref",
)
_METHODS = ("get", "set", "delete", "clear", "aget", "aset", "adelete", "aclear")


def is_released_backend(cls: type) -> bool:
    """Whether a class has the shape of a released Airflow backend: its hooks and the eight methods."""
    return not issubclass(cls, BaseStoreBackend) and all(
        callable(getattr(cls, name, None)) for name in (*_METHODS, *_RELEASED_HOOKS)
    )


def adapt_backend(backend: Any) -> BaseStoreBackend:
    """Return ``backend`` as a `BaseStoreBackend`, adapting one that was written for released Airflow.

    Parameters
    ----------
    backend
        An instance: a `BaseStoreBackend`, or what has the eight methods and the four ``…_state_store_…`` hooks of
        released Airflow (3.3 or later).

    Returns
    -------
    BaseStoreBackend
        ``backend`` itself if it is one; else an adapter over it. The adapter's serialize hooks need a scope, which the
        accessors bind; called by hand without one, ``adapter.bind(scope)``, they raise TypeError. `NEVER_EXPIRE`
        reaches the backend as None, since released Airflow has no flag.

    Raises
    ------
    TypeError
        If it is neither; a class rather than an instance is neither, too.
    """
    if isinstance(backend, BaseStoreBackend):
        return backend
    if is_released_backend(type(backend)):
        return ReleasedBackendAdapter(backend)
    raise TypeError(
        f"{type(backend).__name__} is not a BaseStoreBackend, and lacks the methods and hooks of a released "
        "Airflow backend; subclass storekit.BaseStoreBackend"
    )


class ReleasedBackendAdapter(BaseStoreBackend):
    """A released Airflow backend, under the seed's contract.

    Parameters
    ----------
    inner
        The backend to translate for.
    scope
        The scope whose values the hooks serialize; accessors bind their own (`bind`). The seed's hooks carry no
        scope, so without one the serialize hooks cannot be called.
    """

    def __init__(self, inner: Any, scope: StoreScope | None = None) -> None:
        self.inner = inner
        self._scope = scope
        self._task_scope_class, self._asset_scope_class = _scope_classes_of(type(inner))

    def __repr__(self) -> str:
        return f"ReleasedBackendAdapter({type(self.inner).__name__})"

    def bind(self, scope: StoreScope) -> ReleasedBackendAdapter:
        """Return this adapter with the scope that its serialize hooks pass on."""
        return ReleasedBackendAdapter(self.inner, scope)

    def _translate(self, scope: StoreScope) -> Any:
        if isinstance(scope, TaskScope):
            return self._task_scope_class(**asdict(scope))
        return self._asset_scope_class(**asdict(scope))

    def _bound(self, kind: type[TaskScope] | type[AssetScope]) -> Any:
        if not isinstance(self._scope, kind):
            raise TypeError(
                f"{type(self.inner).__name__} needs a {kind.__name__} for its hooks; call .bind(scope) first"
            )
        return self._translate(self._scope)

    def get(self, scope: StoreScope, key: str, *, session: SyncSession | None = None) -> str | None:
        found: str | None = self.inner.get(self._translate(scope), key, session=session)
        return found

    def set(
        self,
        scope: StoreScope,
        key: str,
        value: str,
        *,
        expires_at: datetime | Literal[NeverExpire.NEVER_EXPIRE] | None = None,
        session: SyncSession | None = None,
    ) -> None:
        self.inner.set(self._translate(scope), key, value, expires_at=_instant(expires_at), session=session)

    def delete(self, scope: StoreScope, key: str, *, session: SyncSession | None = None) -> None:
        self.inner.delete(self._translate(scope), key, session=session)

    def clear(self, scope: StoreScope, *, all_map_indices: bool = False, session: SyncSession | None = None) -> None:
        self.inner.clear(self._translate(scope), all_map_indices=all_map_indices, session=session)

    async def aget(self, scope: StoreScope, key: str, *, session: AsyncSessionLike | None = None) -> str | None:
        found: str | None = await self.inner.aget(self._translate(scope), key, session=session)
        return found

    async def aset(
        self,
        scope: StoreScope,
        key: str,
        value: str,
        *,
        expires_at: datetime | Literal[NeverExpire.NEVER_EXPIRE] | None = None,
        session: AsyncSessionLike | None = None,
    ) -> None:
        await self.inner.aset(self._translate(scope), key, value, expires_at=_instant(expires_at), session=session)

    async def adelete(self, scope: StoreScope, key: str, *, session: AsyncSessionLike | None = None) -> None:
        await self.inner.adelete(self._translate(scope), key, session=session)

    async def aclear(
        self, scope: StoreScope, *, all_map_indices: bool = False, session: AsyncSessionLike | None = None
    ) -> None:
        await self.inner.aclear(self._translate(scope), all_map_indices=all_map_indices, session=session)

    def cleanup(self) -> int | None:
        removed: int | None = self.inner.cleanup()
        return removed

    def serialize_task_store_to_ref(self, *, value: JsonValue, key: str, ti_id: str) -> str:
        ref: str = self.inner.serialize_task_state_store_to_ref(value=value, key=key, scope=self._bound(TaskScope))
        return ref

    def deserialize_task_store_from_ref(self, stored: str) -> JsonValue:
        return self.inner.deserialize_task_state_store_from_ref(stored)

    def serialize_asset_store_to_ref(self, *, value: JsonValue, key: str, asset_ref: str) -> str:
        ref: str = self.inner.serialize_asset_state_store_to_ref(value=value, key=key, scope=self._bound(AssetScope))
        return ref

    def deserialize_asset_store_from_ref(self, stored: str) -> JsonValue:
        return self.inner.deserialize_asset_state_store_from_ref(stored)


def _instant(expires_at: datetime | Literal[NeverExpire.NEVER_EXPIRE] | None) -> datetime | None:
    # Released Airflow has no flag: an expiry of None is all it knows for a key that never expires.
    return None if expires_at is NEVER_EXPIRE else expires_at


def _scope_classes_of(cls: type) -> tuple[Any, Any]:
    for base in cls.__mro__:
        module = sys.modules.get(base.__module__)
        if base.__name__ == "BaseStoreBackend" and hasattr(module, "TaskScope"):
            return module.TaskScope, module.AssetScope  # type: ignore[union-attr]
    # A class with the right methods and no such base dispatches on ours, or on nothing.
    return TaskScope, AssetScope
