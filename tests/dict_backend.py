"""The smallest backend there can be: a dictionary. It keeps the contract, and can be broken in known ways."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from storekit.clock import Clock, SystemClock
from storekit.state import AssetScope, BaseStoreBackend, StoreScope, TaskScope, check_key

__all__ = ["DictBackend"]


class DictBackend(BaseStoreBackend):
    """Rows in a dictionary; ``log`` tells in which order it was called, and may be shared."""

    def __init__(self, log: list[str] | None = None, clock: Clock | None = None) -> None:
        self.rows: dict[tuple[Any, str], tuple[str, Any, datetime]] = {}
        self.log = log if log is not None else []
        self.clock = clock if clock is not None else SystemClock()

    def place(self, scope: StoreScope) -> Any:
        """Return what tells scopes apart."""
        return (scope.name, scope.uri) if isinstance(scope, AssetScope) else scope

    def name(self, key: str) -> str:
        """Return what tells keys apart."""
        return key

    def get(self, scope: StoreScope, key: str, *, session: Any = None) -> str | None:
        row = self.rows.get((self.place(scope), self.name(key)))
        return None if row is None else row[0]

    def set(self, scope: StoreScope, key: str, value: str, *, expires_at: Any = None, session: Any = None) -> None:
        check_key(key)
        if isinstance(expires_at, datetime) and expires_at.tzinfo is None:
            raise ValueError("expires_at has no time zone")
        self.rows[self.place(scope), self.name(key)] = (value, expires_at, self.clock.now())
        self.log.append(f"row set {key}")

    def delete(self, scope: StoreScope, key: str, *, session: Any = None) -> None:
        self.rows.pop((self.place(scope), self.name(key)), None)
        self.log.append(f"row deleted {key}")

    def clear(self, scope: StoreScope, *, all_map_indices: bool = False, session: Any = None) -> None:
        for place in [place for place in self.rows if self.covers(scope, place[0], all_map_indices)]:
            del self.rows[place]
        self.log.append("rows cleared")

    def covers(self, scope: StoreScope, place: Any, all_map_indices: bool) -> bool:
        """Whether a clear of ``scope`` empties ``place``."""
        if isinstance(scope, TaskScope) and isinstance(place, TaskScope) and all_map_indices:
            return (scope.dag_id, scope.run_id, scope.task_id) == (place.dag_id, place.run_id, place.task_id)
        return bool(self.place(scope) == place)

    async def aget(self, scope: StoreScope, key: str, *, session: Any = None) -> str | None:
        return self.get(scope, key)

    async def aset(
        self, scope: StoreScope, key: str, value: str, *, expires_at: Any = None, session: Any = None
    ) -> None:
        self.set(scope, key, value, expires_at=expires_at)

    async def adelete(self, scope: StoreScope, key: str, *, session: Any = None) -> None:
        self.delete(scope, key)

    async def aclear(self, scope: StoreScope, *, all_map_indices: bool = False, session: Any = None) -> None:
        self.clear(scope, all_map_indices=all_map_indices)
