"""The worker's side: expiries by its clock, values as JSON, references, and deletes in the right order."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import json
import logging
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from backdoor import read_rows
from dict_backend import DictBackend
from hypothesis import example, given
from hypothesis import strategies as st

from storekit.accessors import AssetStoreAccessor, TaskStoreAccessor
from storekit.clock import ManualClock
from storekit.config import StateStoreConfig
from storekit.errors import (
    AssetNotFoundError,
    DagRunNotFoundError,
    InvalidKeyError,
    InvalidValueError,
    InvalidValueTypeError,
    LargeValueWarning,
    OrphanedObjectError,
    StorekitError,
    UnresolvedReferenceError,
)
from storekit.metastore import MetastoreStateBackend
from storekit.state import NEVER_EXPIRE, REFERENCE_KEY, AssetScope, AssetWriter, TaskScope, WriterKind
from storekit.testing import HOSTILE_KEYS, bad_keys, instants, json_values, keys, retentions

SCOPE = TaskScope("etl", "monday", "load")
ASSET = AssetScope(name="orders", uri="s3://orders")
SERVER_NOW = datetime(2026, 11, 22, 10, 35, 18, 757162, tzinfo=UTC)
WORKER_NOW = datetime(2026, 11, 22, 10, 34, 59, 3, tzinfo=UTC)
PLAIN = StateStoreConfig()


@pytest.fixture(scope="module")
def backend() -> Iterator[MetastoreStateBackend]:
    opened = MetastoreStateBackend("sqlite://", config=PLAIN, clock=ManualClock(SERVER_NOW))
    opened.create_tables()
    opened.add_dag_run(SCOPE.dag_id, SCOPE.run_id)
    opened.add_asset(name="orders", uri="s3://orders")
    yield opened
    opened.close()


def task(backend: Any, **options: Any) -> TaskStoreAccessor:
    return TaskStoreAccessor(backend, SCOPE, **({"config": PLAIN, "clock": ManualClock(WORKER_NOW)} | options))


def asset(backend: Any, **options: Any) -> AssetStoreAccessor:
    return AssetStoreAccessor(backend, ASSET, **({"config": PLAIN} | options))


def same(one: Any, other: Any) -> bool:
    """Equal also in type (True is not 1), in sign (-0.0) and in the order of keys."""
    return repr(one) == repr(other)


# --- values ---


@given(key=keys(), value=json_values())
def test_what_is_set_is_got(backend: MetastoreStateBackend, key: str, value: Any) -> None:
    for accessor in (task(backend), asset(backend)):
        accessor.set(key, value)
        assert same(accessor.get(key), value)
        accessor.delete(key)
        assert accessor.get(key) is None
        assert accessor.get(key, "default") == "default"


@given(key=keys(), value=json_values())
def test_what_is_set_is_got_awaited(backend: MetastoreStateBackend, key: str, value: Any) -> None:
    async def check(accessor: Any) -> None:
        await accessor.aset(key, value)
        assert same(await accessor.aget(key), value)
        assert same(accessor.get(key), value)
        await accessor.adelete(key)
        assert await accessor.aget(key, 7) == 7
        await accessor.aset(key, value)
        await accessor.aclear()
        assert accessor.get(key) is None

    for accessor in (task(backend), asset(backend)):
        asyncio.run(check(accessor))


@given(value=json_values())
def test_the_row_holds_plain_json(backend: MetastoreStateBackend, value: Any) -> None:
    task(backend).set("key", value)
    stored = backend.get(SCOPE, "key")
    assert stored is not None
    assert stored.isascii()
    assert same(json.loads(stored), value)


class Thing:
    pass


REFUSED: list[tuple[Any, type[Exception], tuple[str, ...]]] = [
    (None, InvalidValueTypeError, ("None", "delete(key)")),
    (datetime(2026, 1, 1, tzinfo=UTC), InvalidValueTypeError, ("datetime.datetime", "isoformat")),
    (dt.date(2026, 1, 1), InvalidValueTypeError, ("datetime.date", "isoformat")),
    (timedelta(1), InvalidValueTypeError, ("datetime.timedelta", "total_seconds")),
    ((1, 2), InvalidValueTypeError, ("value is a tuple", "list")),
    ({1, 2}, InvalidValueTypeError, ("value is a set", "sorted")),
    (b"x", InvalidValueTypeError, ("value is a bytes", "base64")),
    (decimal.Decimal("1.1"), InvalidValueTypeError, ("decimal.Decimal", "str(value)")),
    (uuid.UUID(int=1), InvalidValueTypeError, ("uuid.UUID", "str(value)")),
    (1j, InvalidValueTypeError, ("complex",)),
    (Thing(), InvalidValueTypeError, ("Thing",)),
    (print, InvalidValueTypeError, ("builtin_function_or_method",)),
    (float("nan"), InvalidValueError, ("value is nan",)),
    (float("inf"), InvalidValueError, ("value is inf",)),
    ({REFERENCE_KEY: "x"}, InvalidValueError, (REFERENCE_KEY, "nest it")),
    ({REFERENCE_KEY: None, "more": 1}, InvalidValueError, (REFERENCE_KEY,)),
    ({1: "x"}, InvalidValueTypeError, ("key 1 of type int", "str(key)")),
    ({None: "x"}, InvalidValueTypeError, ("key None of type NoneType",)),
    (10**5000, InvalidValueError, ("cannot be written as JSON",)),
]


@pytest.mark.parametrize(("value", "error", "said"), REFUSED, ids=lambda each: type(each).__name__)
def test_what_json_cannot_hold_is_refused_by_name(
    backend: MetastoreStateBackend, value: Any, error: type[StorekitError], said: tuple[str, ...]
) -> None:
    for accessor in (task(backend), asset(backend)):
        accessor.set("kept", 1)
        with pytest.raises(error) as refused:
            accessor.set("kept", value)
        for part in said:
            assert part in str(refused.value)
        assert refused.value.hint
        assert accessor.get("kept") == 1


@given(path=st.lists(st.integers(0, 3) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=5))
def test_a_refusal_names_the_path(backend: MetastoreStateBackend, path: list[int | str]) -> None:
    value: Any = {1, 2}
    for step in reversed(path):
        value = [*range(step), value] if isinstance(step, int) else {"before": 1, step: value}
    with pytest.raises(InvalidValueTypeError) as refused:
        task(backend).set("key", value)
    where = "value" + "".join(f"[{step!r}]" for step in path)
    assert str(refused.value).startswith(f"{where} is a set")


@pytest.mark.parametrize("make", [list, dict], ids=["list", "dict"])
def test_a_value_that_holds_itself(backend: MetastoreStateBackend, make: Any) -> None:
    value = make()
    value.append(value) if make is list else value.update(self=value)
    with pytest.raises(InvalidValueError, match="contains itself"):
        task(backend).set("key", value)


@given(key=bad_keys())
def test_a_bad_key_is_refused_everywhere(backend: MetastoreStateBackend, key: Any) -> None:
    for accessor in (task(backend), asset(backend)):
        for call in (lambda a=accessor: a.set(key, 1), lambda a=accessor: a.get(key), lambda a=accessor: a.delete(key)):
            with pytest.raises(InvalidKeyError):
                call()


def test_missing_parents_are_named(backend: MetastoreStateBackend) -> None:
    with pytest.raises(DagRunNotFoundError, match="No DagRun found for dag_id='no' run_id='such'"):
        TaskStoreAccessor(backend, TaskScope("no", "such", "task"), config=PLAIN).set("key", 1)
    with pytest.raises(AssetNotFoundError, match="missing"):
        AssetStoreAccessor(backend, AssetScope(name="missing"), config=PLAIN).set("key", 1)


def test_an_accessor_takes_its_own_kind_of_scope(backend: MetastoreStateBackend) -> None:
    with pytest.raises(TypeError, match="needs a TaskScope, got AssetScope"):
        TaskStoreAccessor(backend, ASSET)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs an AssetScope, got TaskScope"):
        AssetStoreAccessor(backend, SCOPE)  # type: ignore[arg-type]


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("make", [task, asset])
@given(value=st.text(max_size=40), limit=st.integers(0, 60))
def test_a_large_value_warns_and_is_stored(
    backend: MetastoreStateBackend, make: Any, awaited: bool, value: str, limit: int
) -> None:
    size = len(json.dumps(value))
    accessor = make(backend, config=StateStoreConfig(max_value_storage_bytes=limit))

    async def set_it() -> None:
        await accessor.aset("key", value)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if awaited:
            asyncio.run(set_it())
        else:
            accessor.set("key", value)
    large = [each for each in caught if each.category is LargeValueWarning]
    assert bool(large) == (0 < limit < size)
    if large:
        assert f"{size} bytes" in str(large[0].message)
        assert large[0].filename == __file__  # it points at the caller's line
    assert accessor.get("key") == value


# --- expiry ---


def row_of(backend: MetastoreStateBackend, key: str) -> Any:
    rows = [row for row in read_rows(backend.database.engine, "storekit") if row.store == "task" and row.key == key]
    assert len(rows) == 1
    return rows[0]


@given(
    retention=retentions(),
    days=st.sampled_from([0, 1, 30, 3650]),
    worker_now=instants(zones=False),
    awaited=st.booleans(),
)
def test_the_expiry_is_the_workers_now_plus_retention(
    backend: MetastoreStateBackend, retention: Any, days: int, worker_now: datetime, awaited: bool
) -> None:
    accessor = task(backend, clock=ManualClock(worker_now), config=StateStoreConfig(default_retention_days=days))
    if awaited:
        asyncio.run(accessor.aset("expiring", 1, retention=retention))
    else:
        accessor.set("expiring", 1, retention=retention)
    row = row_of(backend, "expiring")
    if retention is NEVER_EXPIRE:
        expected = None
    elif retention is None:
        expected = worker_now + timedelta(days=days) if days else None
    else:
        expected = worker_now + retention
    assert (row.expires_at, row.never_expire) == (expected, retention is NEVER_EXPIRE)
    assert row.updated_at == SERVER_NOW  # the server's clock, not the worker's


def test_a_changed_default_changes_no_row(backend: MetastoreStateBackend) -> None:
    task(backend, config=StateStoreConfig(default_retention_days=30)).set("old", 1)
    before = row_of(backend, "old")
    task(backend, config=StateStoreConfig(default_retention_days=1)).set("new", 1)
    assert row_of(backend, "old") == before
    assert row_of(backend, "new").expires_at == WORKER_NOW + timedelta(days=1)


def test_released_airflows_never_expire_is_known(backend: MetastoreStateBackend) -> None:
    task(backend).set("key", 1, retention=timedelta.max)
    assert row_of(backend, "key").never_expire is True


@pytest.mark.parametrize("bad", [timedelta(microseconds=-1), timedelta(days=-1), timedelta.min])
def test_a_negative_retention_is_refused(backend: MetastoreStateBackend, bad: timedelta) -> None:
    with pytest.raises(ValueError, match="negative") as refused:
        task(backend).set("key", 1, retention=bad)
    assert repr(bad) in str(refused.value)


@pytest.mark.parametrize("bad", [0, 30, 1.5, "30 days", False, SERVER_NOW])
def test_a_retention_is_a_duration(backend: MetastoreStateBackend, bad: Any) -> None:
    with pytest.raises(TypeError, match="NEVER_EXPIRE") as refused:
        task(backend).set("key", 1, retention=bad)
    assert repr(bad) in str(refused.value)


def test_a_retention_past_the_calendar_is_refused(backend: MetastoreStateBackend) -> None:
    with pytest.raises(ValueError, match="year 9999"):
        task(backend).set("key", 1, retention=timedelta.max - timedelta(microseconds=1))


def test_a_refused_retention_stores_nothing(backend: MetastoreStateBackend) -> None:
    with pytest.raises(ValueError, match="negative"):
        task(backend).set("never set", 1, retention=timedelta(-1))
    assert task(backend).get("never set") is None


def test_an_asset_has_no_retention(backend: MetastoreStateBackend) -> None:
    with pytest.raises(TypeError):
        asset(backend).set("key", 1, retention=timedelta(1))  # type: ignore[call-arg]


# --- who wrote an asset's row ---


@pytest.mark.parametrize(
    ("writer", "expected"),
    [
        (TaskScope("d", "r", "t", 3), ("task", "d", "r", "t", 3)),
        (AssetWriter(WriterKind.WATCHER), ("watcher", None, None, None, None)),
        (AssetWriter(WriterKind.API), ("api", None, None, None, None)),
    ],
)
@pytest.mark.parametrize("awaited", [False, True])
def test_the_writer_is_recorded(backend: MetastoreStateBackend, writer: Any, expected: Any, awaited: bool) -> None:
    accessor = asset(backend, writer=writer)
    if awaited:
        asyncio.run(accessor.aset("written", 1))
    else:
        accessor.set("written", 1)
    with backend.database.engine.connect() as connection:
        row = connection.exec_driver_sql(
            "SELECT last_updated_by_kind, last_updated_by_dag_id, last_updated_by_run_id, last_updated_by_task_id, "
            "last_updated_by_map_index FROM asset_store WHERE key = 'written'"
        ).one()
    assert tuple(row) == expected


# --- a worker-side backend ---


class Objects(DictBackend):
    """A worker-side backend whose references are whatever a test wants, and whose deletes can fail."""

    def __init__(self, log: list[str] | None = None, refs: dict[str, str] | None = None) -> None:
        super().__init__(log)
        self.objects: dict[str, Any] = {}
        self.refs = refs or {}
        self.failing: Exception | None = None

    def ref_of(self, key: str, owner: str) -> str:
        return self.refs.get(key, f"objects/{owner}/{key}")

    def serialize_task_store_to_ref(self, *, value: Any, key: str, ti_id: str) -> str:
        self.log.append(f"object set {key}")
        self.objects[self.ref_of(key, ti_id)] = value
        return self.ref_of(key, ti_id)

    def deserialize_task_store_from_ref(self, stored: str) -> Any:
        return self.objects[stored]

    def serialize_asset_store_to_ref(self, *, value: Any, key: str, asset_ref: str) -> str:
        return self.serialize_task_store_to_ref(value=value, key=key, ti_id=asset_ref)

    def deserialize_asset_store_from_ref(self, stored: str) -> Any:
        return self.objects[stored]

    def delete(self, scope: Any, key: str, *, session: Any = None) -> None:
        if self.failing is not None:
            raise self.failing
        self.log.append(f"object deleted {key}")
        for ref in [ref for ref in self.objects if ref.endswith(key)]:
            del self.objects[ref]

    def clear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None:
        if self.failing is not None:
            raise self.failing
        self.log.append(f"objects cleared {all_map_indices}")
        self.objects.clear()


FORMS: list[Literal["bare", "wrapped"]] = ["bare", "wrapped"]


def rows(form: Literal["bare", "wrapped"], log: list[str] | None = None) -> DictBackend:
    backend = DictBackend(log)
    backend.reference_form = form
    return backend


@given(
    ref=st.text(min_size=1)
    | st.sampled_from(["123", "null", '"a"', '{"__airflow_state_ref__":"x"}', "[]", "NaN", " 1", *HOSTILE_KEYS]),
    value=json_values(),
    form=st.sampled_from(FORMS),
)
@example(ref="123", value=123, form="bare")
@example(ref='{"__airflow_state_ref__":"x"}', value="x", form="bare")
def test_whatever_a_reference_looks_like_it_is_resolved(ref: str, value: Any, form: Any) -> None:
    store, worker = rows(form), Objects(refs={"key": ref})
    for accessor in (
        task(store, worker_backend=worker, ti_id="ti"),
        asset(store, worker_backend=worker),
    ):
        accessor.set("key", value)
        assert same(accessor.get("key"), value)
        stored = store.get(accessor.scope, "key")
        assert stored is not None
        if form == "wrapped":
            assert json.loads(stored) == {"__airflow_state_ref__": ref}
        elif stored != ref:  # wrapped, as the text could be taken for a value
            assert json.loads(stored) == {"__airflow_state_ref__": ref}
            json.loads(ref)


@pytest.mark.parametrize("ref", ["", None, 7, b"ref", "a\ud800"])
def test_what_is_no_reference_is_refused_and_no_row_is_written(ref: Any) -> None:
    store = rows("bare")
    accessor = task(store, worker_backend=Objects(refs={"key": ref}), ti_id="ti")
    with pytest.raises((InvalidValueTypeError, InvalidValueError), match="Objects returned") as refused:
        accessor.set("key", 1)
    assert refused.value.hint
    assert store.rows == {}


@given(value=json_values(), form=st.sampled_from(FORMS))
def test_a_value_written_inline_before_is_still_a_value(value: Any, form: Any) -> None:
    store = rows(form)
    task(store).set("key", value)
    assert same(task(store, worker_backend=Objects(), ti_id="ti").get("key"), value)


@pytest.mark.parametrize("stored", ["s3://bucket/key", '{"__airflow_state_ref__": "x"}', "", "not json"])
def test_a_reference_without_its_backend(stored: str) -> None:
    store = rows("bare")
    store.set(SCOPE, "key", stored)
    with pytest.raises(UnresolvedReferenceError, match="worker_backend="):
        task(store).get("key")


def test_the_task_instances_id_is_needed() -> None:
    with pytest.raises(TypeError, match="pass ti_id="):
        task(rows("bare"), worker_backend=Objects())
    with pytest.raises(TypeError, match="name or URI"):
        AssetStoreAccessor(rows("bare"), AssetScope(asset_id=1), worker_backend=Objects(), config=PLAIN)


def test_a_worker_that_keeps_values_inline_needs_no_id() -> None:
    accessor = task(rows("bare"), worker_backend=DictBackend())
    accessor.set("key", {"a": 1})
    assert accessor.get("key") == {"a": 1}


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("make", [task, asset])
def test_the_row_goes_first_and_the_object_second(make: Any, awaited: bool) -> None:
    log: list[str] = []
    accessor = make(rows("bare", log), worker_backend=Objects(log), **({"ti_id": "ti"} if make is task else {}))
    accessor.set("key", 1)
    if awaited:
        asyncio.run(accessor.adelete("key"))
        asyncio.run(accessor.aclear(all_map_indices=True))
    else:
        accessor.delete("key")
        accessor.clear(all_map_indices=True)
    assert log == [
        "object set key",
        "row set key",
        "row deleted key",
        "object deleted key",
        "rows cleared",
        "objects cleared True",
    ]


def call(accessor: Any, name: str, *arguments: Any, awaited: bool) -> Any:
    return asyncio.run(getattr(accessor, f"a{name}")(*arguments)) if awaited else getattr(accessor, name)(*arguments)


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("make", [task, asset])
def test_a_failed_removal_is_an_orphan_and_the_next_set_heals_it(make: Any, awaited: bool) -> None:
    store, worker = rows("bare"), Objects()
    accessor = make(store, worker_backend=worker, **({"ti_id": "ti"} if make is task else {}))
    accessor.set("key", "first")
    worker.failing = PermissionError("no right to delete")
    for name, arguments in (("delete", ["key"]), ("clear", [])):
        accessor.set("key", "first")
        with pytest.raises(OrphanedObjectError, match="the row is gone") as orphaned:
            call(accessor, name, *arguments, awaited=awaited)
        assert "PermissionError: no right to delete" in str(orphaned.value)
        assert isinstance(orphaned.value.__cause__, PermissionError)
        assert "set()" in (orphaned.value.hint or "")
        assert accessor.get("key") is None
        assert len(worker.objects) == 1
    worker.failing = None
    accessor.set("key", "second")
    assert accessor.get("key") == "second"
    assert list(worker.objects.values()) == ["second"]  # overwritten: nothing is left of the orphan
    accessor.delete("key")
    assert worker.objects == {}


def test_a_row_that_stays_keeps_its_object() -> None:
    class Stuck(DictBackend):
        def delete(self, scope: Any, key: str, *, session: Any = None) -> None:
            raise RuntimeError("the database is away")

    worker = Objects()
    accessor = task(Stuck(), worker_backend=worker, ti_id="ti")
    accessor.set("key", 1)
    with pytest.raises(RuntimeError, match="away"):
        accessor.delete("key")
    assert accessor.get("key") == 1
    assert len(worker.objects) == 1


def test_a_refused_value_reaches_no_object() -> None:
    worker = Objects()
    with pytest.raises(InvalidValueTypeError):
        task(rows("bare"), worker_backend=worker, ti_id="ti").set("key", {1, 2})
    with pytest.raises(InvalidKeyError):
        task(rows("bare"), worker_backend=worker, ti_id="ti").set("", 1)
    assert worker.objects == {}


def test_the_worker_backend_of_the_configuration_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("storekit_test_objects")
    module.Objects = Objects  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "storekit_test_objects", module)
    monkeypatch.setenv("AIRFLOW__WORKERS__STATE_BACKEND", "storekit_test_objects.Objects")
    store = rows("bare")
    accessor = TaskStoreAccessor(store, SCOPE, ti_id="ti")
    accessor.set("key", 1)
    assert store.get(SCOPE, "key") == "objects/ti/key"
    assert accessor.get("key") == 1


def test_values_are_in_no_repr_and_no_log(backend: MetastoreStateBackend, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    accessor = task(backend)
    accessor.set("key", "hunter2-the-value")
    assert accessor.get("key") == "hunter2-the-value"
    assert "hunter2" not in repr(accessor) + repr(backend) + caplog.text
