"""What a task holds: one scope's keys, as values rather than texts.

The accessor is the worker's side. It resolves the expiry at the write by the *worker's* clock, routes values
through the worker-side backend, and on delete and clear removes the database's reference first and the object
second. Source: the seed document's "Configuration reference", "Garbage collection semantics" and "Custom
worker-side backends".
"""

from __future__ import annotations

import asyncio
import json
import math
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from storekit.clock import SYSTEM_CLOCK, Clock
from storekit.config import StateStoreConfig
from storekit.errors import (
    InvalidValueError,
    InvalidValueTypeError,
    LargeValueWarning,
    OrphanedObjectError,
    StorekitError,
    UnresolvedReferenceError,
)
from storekit.state import (
    NEVER_EXPIRE,
    REFERENCE_KEY,
    AssetScope,
    AssetWriter,
    BaseStoreBackend,
    JsonValue,
    NeverExpire,
    ReleasedBackendAdapter,
    StoreScope,
    TaskScope,
    adapt_backend,
    check_key,
)
from storekit.state.references import Inline, is_reserved, read_stored, store_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AssetStoreAccessor", "TaskStoreAccessor"]

Retention = timedelta | Literal[NeverExpire.NEVER_EXPIRE] | None


@runtime_checkable
class _RecordsWriter(Protocol):
    def set_asset_store(self, scope: AssetScope, key: str, value: str, *, writer: AssetWriter) -> None: ...

    async def aset_asset_store(self, scope: AssetScope, key: str, value: str, *, writer: AssetWriter) -> None: ...


@dataclass(frozen=True)
class _Hooks:
    """The pair of a worker-side backend's hooks for one scope; None where it keeps values inline."""

    serialize: Callable[[JsonValue, str], str]
    deserialize: Callable[[str], JsonValue]


class _Accessor:
    """What the two accessors share: everything but the scope and the expiry."""

    def __init__(
        self,
        backend: BaseStoreBackend,
        scope: StoreScope,
        *,
        worker_backend: Any,
        config: StateStoreConfig | None,
    ) -> None:
        self._backend = adapt_backend(backend)
        self._config = config if config is not None else StateStoreConfig.load()
        worker = self._config.make_worker_backend() if worker_backend is None else adapt_backend(worker_backend)
        # A released backend's hooks take the scope, which the seed's do not carry.
        self._worker = worker.bind(scope) if isinstance(worker, ReleasedBackendAdapter) else worker
        self._scope = scope
        self._hooks: _Hooks | None = None

    @property
    def scope(self) -> Any:
        """The scope whose keys these are."""
        return self._scope

    def get(self, key: str, default: JsonValue = None) -> JsonValue:
        """Return the value of ``key``, or ``default`` where it does not exist.

        An expired key that is not cleaned up yet is still served.

        Parameters
        ----------
        key
            1 to 512 characters.
        default
            What is returned where the key does not exist.

        Returns
        -------
        JSON value
            Equal to what `set` was given last; never None but as ``default``.

        Raises
        ------
        InvalidKeyError
            If no store can hold the key.
        UnresolvedReferenceError
            If the row holds a reference, or text that is not JSON, and no worker-side backend is configured.
        """
        stored = self._backend.get(self._scope, check_key(key))
        return default if stored is None else self._resolve(key, stored)

    async def aget(self, key: str, default: JsonValue = None) -> JsonValue:
        """As `get`, awaited."""
        stored = await self._backend.aget(self._scope, check_key(key))
        return default if stored is None else await self._off_loop(self._resolve, key, stored)

    def delete(self, key: str) -> None:
        """Delete ``key``: the row first, then the object it pointed at. No effect where it does not exist.

        Parameters
        ----------
        key
            1 to 512 characters.

        Raises
        ------
        InvalidKeyError
            If no store can hold the key.
        OrphanedObjectError
            If the row is gone but the object could not be removed.
        """
        self._backend.delete(self._scope, check_key(key))
        if self._worker is not None:
            with self._orphaning(f"key {key!r}"):
                self._worker.delete(self._scope, key)

    async def adelete(self, key: str) -> None:
        """As `delete`, awaited."""
        await self._backend.adelete(self._scope, check_key(key))
        if self._worker is not None:
            with self._orphaning(f"key {key!r}"):
                await self._worker.adelete(self._scope, key)

    def clear(self, *, all_map_indices: bool = False) -> None:
        """Delete every key of the scope: the rows first, then the objects.

        Parameters
        ----------
        all_map_indices
            Clear every mapped instance of the task, not only this one. No effect on assets.

        Raises
        ------
        OrphanedObjectError
            If the rows are gone but the objects could not be removed.
        """
        self._backend.clear(self._scope, all_map_indices=all_map_indices)
        if self._worker is not None:
            with self._orphaning("all keys"):
                self._worker.clear(self._scope, all_map_indices=all_map_indices)

    async def aclear(self, *, all_map_indices: bool = False) -> None:
        """As `clear`, awaited."""
        await self._backend.aclear(self._scope, all_map_indices=all_map_indices)
        if self._worker is not None:
            with self._orphaning("all keys"):
                await self._worker.aclear(self._scope, all_map_indices=all_map_indices)

    # --- shared by the blocking and the awaited forms ---

    def _stored_text(self, key: str, value: JsonValue) -> str:
        check_key(key)
        text = _to_json(value)
        if self._hooks is not None:
            text = store_reference(self._checked(self._hooks.serialize(value, key), key), self._backend.reference_form)
        return text

    def _checked(self, ref: Any, key: str) -> str:
        worker = self._worker.inner if isinstance(self._worker, ReleasedBackendAdapter) else self._worker
        if not isinstance(ref, str) or not ref:
            raise InvalidValueTypeError(
                f"{type(worker).__name__} returned {ref!r} as the reference for key {key!r}, not a non-empty str",
                hint="return the object's path from its serialize hook",
            )
        try:
            ref.encode()
        except UnicodeEncodeError:
            raise InvalidValueError(
                f"{type(worker).__name__} returned a reference with a lone surrogate for key {key!r}",
                hint="hash or percent-encode what a path cannot hold",
            ) from None
        return ref

    def _warn_if_large(self, key: str, text: str) -> None:
        # Called by set and aset themselves, so that the warning points at their caller's line.
        size, limit = len(text.encode()), self._config.max_value_storage_bytes
        if limit and size > limit:
            warnings.warn(
                f"key {key!r}: the stored value has {size} bytes, more than max_value_storage_bytes = {limit}; "
                "configure [workers] state_backend to keep large values elsewhere",
                LargeValueWarning,
                stacklevel=3,
            )

    def _resolve(self, key: str, stored: str) -> JsonValue:
        read = read_stored(stored)
        if isinstance(read, Inline):
            return read.value
        if self._hooks is None:
            raise UnresolvedReferenceError(
                f"key {key!r} of {self._scope} holds a reference, or text that is not JSON, and no worker-side "
                "backend is configured to resolve it",
                hint="pass worker_backend=, or set [workers] state_backend",
            )
        return self._hooks.deserialize(read.ref)

    @contextmanager
    def _orphaning(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise OrphanedObjectError(
                f"{what} of {self._scope}: the row is gone, but {type(self._worker).__name__} failed to remove its "
                f"object: {type(error).__name__}: {error}",
                hint="the next set() of the key overwrites the object; or call delete() again",
            ) from error

    async def _off_loop(self, work: Callable[..., Any], *args: Any) -> Any:
        # The hooks are blocking by contract and usually speak to a network: keep them off the event loop.
        return work(*args) if self._hooks is None else await asyncio.to_thread(work, *args)


class TaskStoreAccessor(_Accessor):
    """The keys of one task instance; retries of it share them.

    Parameters
    ----------
    backend
        Where the rows are.
    scope
        The task instance.
    ti_id
        Its id, handed to the worker-side hooks; needed with a worker-side backend of the seed's form.
    clock
        The worker's clock: ``expires_at`` is its now + retention, in UTC.
    worker_backend
        The worker-side backend; by default what ``[workers] state_backend`` names, or none.
    config
        By default what `StateStoreConfig.load` finds.
    """

    def __init__(
        self,
        backend: BaseStoreBackend,
        scope: TaskScope,
        *,
        ti_id: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        worker_backend: Any = None,
        config: StateStoreConfig | None = None,
    ) -> None:
        if not isinstance(scope, TaskScope):
            raise TypeError(f"a TaskStoreAccessor needs a TaskScope, got {type(scope).__name__}")
        super().__init__(backend, scope, worker_backend=worker_backend, config=config)
        self._clock = clock
        self._ti_id = None if ti_id is None else str(ti_id)
        worker = self._worker
        if worker is None or not _overrides(worker, "serialize_task_store_to_ref"):
            return
        if self._ti_id is None and not isinstance(worker, ReleasedBackendAdapter):
            raise TypeError(f"{type(worker).__name__} makes references from the task instance's id: pass ti_id=")
        self._hooks = _Hooks(
            lambda value, key: worker.serialize_task_store_to_ref(value=value, key=key, ti_id=self._ti_id or ""),
            worker.deserialize_task_store_from_ref,
        )

    def __repr__(self) -> str:
        return f"TaskStoreAccessor({self._scope})"

    def set(self, key: str, value: JsonValue, *, retention: Retention = None) -> None:
        """Write or overwrite ``key``, and with it its expiry.

        Parameters
        ----------
        key
            1 to 512 characters.
        value
            What JSON can hold; not None.
        retention
            A timedelta: expire that long after now. `NEVER_EXPIRE`: never. None: ``default_retention_days``.

        Raises
        ------
        InvalidKeyError, InvalidValueError, InvalidValueTypeError
            If the key or the value cannot be stored; the type is named.
        DagRunNotFoundError
            If the scope's DagRun does not exist.
        ValueError, TypeError
            If ``retention`` is negative or ends after the year 9999, or is no timedelta.

        Warns
        -----
        LargeValueWarning
            If what is stored exceeds ``max_value_storage_bytes``; it is stored all the same.
        """
        expires_at = self._expires_at(retention)
        text = self._stored_text(key, value)
        self._warn_if_large(key, text)
        self._backend.set(self._scope, key, text, expires_at=expires_at)

    async def aset(self, key: str, value: JsonValue, *, retention: Retention = None) -> None:
        """As `set`, awaited."""
        expires_at = self._expires_at(retention)
        text = await self._off_loop(self._stored_text, key, value)
        self._warn_if_large(key, text)
        await self._backend.aset(self._scope, key, text, expires_at=expires_at)

    def _expires_at(self, retention: Retention) -> datetime | Literal[NeverExpire.NEVER_EXPIRE] | None:
        # timedelta.max is what released Airflow's NEVER_EXPIRE is, also after pickling.
        if retention is NEVER_EXPIRE or retention == timedelta.max:
            return NEVER_EXPIRE
        if retention is None:
            retention = self._config.default_retention
            if retention is None:
                return None
        if not isinstance(retention, timedelta):
            raise TypeError(
                f"retention={retention!r} is {type(retention).__name__}; write timedelta(days=...) or NEVER_EXPIRE"
            )
        if retention < timedelta(0):
            raise ValueError(f"retention={retention!r} is negative; the key would have expired before its write")
        try:
            return self._clock.now() + retention
        except OverflowError:
            raise ValueError(
                f"retention={retention!r} ends after the year 9999; use NEVER_EXPIRE to keep a key for good"
            ) from None


class AssetStoreAccessor(_Accessor):
    """The keys of one asset. They have no expiry, and outlive the task that wrote them.

    Parameters
    ----------
    backend
        Where the rows are.
    scope
        The asset; a worker knows its name or URI.
    writer
        Who is writing, recorded beside the value where the backend keeps it: the `TaskScope` of the writing
        task, or an `AssetWriter`.
    worker_backend, config
        As for `TaskStoreAccessor`.
    """

    def __init__(
        self,
        backend: BaseStoreBackend,
        scope: AssetScope,
        *,
        writer: TaskScope | AssetWriter | None = None,
        worker_backend: Any = None,
        config: StateStoreConfig | None = None,
    ) -> None:
        if not isinstance(scope, AssetScope):
            raise TypeError(f"an AssetStoreAccessor needs an AssetScope, got {type(scope).__name__}")
        super().__init__(backend, scope, worker_backend=worker_backend, config=config)
        self._writer = AssetWriter.task(writer) if isinstance(writer, TaskScope) else writer
        worker = self._worker
        if worker is None or not _overrides(worker, "serialize_asset_store_to_ref"):
            return
        asset_ref = scope.name or scope.uri
        if asset_ref is None:
            raise TypeError(f"{type(worker).__name__} makes references from an asset's name or URI: give the scope one")
        self._hooks = _Hooks(
            lambda value, key: worker.serialize_asset_store_to_ref(value=value, key=key, asset_ref=asset_ref),
            worker.deserialize_asset_store_from_ref,
        )

    def __repr__(self) -> str:
        return f"AssetStoreAccessor({self._scope})"

    def set(self, key: str, value: JsonValue) -> None:
        """Write or overwrite ``key``. It has no expiry.

        Parameters
        ----------
        key, value
            As for `TaskStoreAccessor.set`.

        Raises
        ------
        InvalidKeyError, InvalidValueError, InvalidValueTypeError
            As for `TaskStoreAccessor.set`.
        AssetNotFoundError
            If the asset does not exist or, named by name or URI, is not active.

        Warns
        -----
        LargeValueWarning
            As for `TaskStoreAccessor.set`.
        """
        text = self._stored_text(key, value)
        self._warn_if_large(key, text)
        if self._writer is not None and isinstance(self._backend, _RecordsWriter):
            self._backend.set_asset_store(self.scope, key, text, writer=self._writer)
        else:
            self._backend.set(self._scope, key, text)

    async def aset(self, key: str, value: JsonValue) -> None:
        """As `set`, awaited."""
        text = await self._off_loop(self._stored_text, key, value)
        self._warn_if_large(key, text)
        if self._writer is not None and isinstance(self._backend, _RecordsWriter):
            await self._backend.aset_asset_store(self.scope, key, text, writer=self._writer)
        else:
            await self._backend.aset(self._scope, key, text)


def _overrides(worker: BaseStoreBackend, hook: str) -> bool:
    """Whether a backend has a hook of its own: the default one keeps the value inline."""
    return getattr(type(worker), hook) is not getattr(BaseStoreBackend, hook)


def _to_json(value: JsonValue) -> str:
    if value is None:
        raise InvalidValueTypeError(
            "a value must not be None: it could not be told from a missing key",
            hint="use delete(key) to unset it",
        )
    if is_reserved(value):
        raise InvalidValueError(
            f"a value must not have the key {REFERENCE_KEY!r}: it marks a reference to a worker-side object",
            hint="nest it one level deeper",
        )
    try:
        _check_json(value, "value")
        # ASCII with escapes, as Airflow writes it: lone surrogates and NUL survive every database.
        return json.dumps(value, allow_nan=False)
    except RecursionError:
        raise InvalidValueError(
            "the value contains itself, or is nested too deeply for JSON", hint="flatten it"
        ) from None
    except StorekitError:
        raise
    except ValueError as error:
        raise InvalidValueError(f"the value cannot be written as JSON: {error}", hint="store it as text") from None


def _check_json(value: Any, path: str) -> None:
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValueError(
                f"{path} is {value!r}, which JSON has not", hint="store it as text, or leave it out"
            )
        return
    if isinstance(value, list):
        for index, each in enumerate(value):
            _check_json(each, f"{path}[{index}]")
        return
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                raise InvalidValueTypeError(
                    f"{path} has the key {name!r} of type {type(name).__name__}; JSON's keys are strings",
                    hint="use str(key)",
                )
            _check_json(each, f"{path}[{name!r}]")
        return
    raise InvalidValueTypeError(
        f"{path} is a {type(value).__module__}.{type(value).__qualname__}, which JSON cannot hold".replace(
            "builtins.", ""
        ),
        hint=_REMEDIES.get(type(value).__name__, "store str, int, float, bool, list or dict"),
    )


_REMEDIES = {
    "datetime": "store value.isoformat()",
    "date": "store value.isoformat()",
    "timedelta": "store value.total_seconds()",
    "Timestamp": "store value.isoformat()",
    "tuple": "store list(value); it would come back as a list",
    "set": "store sorted(value)",
    "bytes": "store base64.b64encode(value).decode()",
    "Decimal": "store str(value)",
    "UUID": "store str(value)",
}
