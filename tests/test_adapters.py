"""Backends that others wrote: one for released Airflow, through the adapter; the seed's own, on an S3 server."""

from __future__ import annotations

import asyncio
import posixpath
import socket
import subprocess
import sys
import time
import types
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import s3_skeleton
from dict_backend import DictBackend
from parts import moto_server, require

from storekit.accessors import AssetStoreAccessor, TaskStoreAccessor
from storekit.clock import ManualClock
from storekit.config import StateStoreConfig
from storekit.metastore import MetastoreStateBackend
from storekit.state import (
    NEVER_EXPIRE,
    AssetScope,
    BaseStoreBackend,
    ReleasedBackendAdapter,
    TaskScope,
    adapt_backend,
    is_released_backend,
)
from storekit.testing import BackendConformance, TextRules, WorkerBackendConformance

PLAIN = StateStoreConfig()
SCOPE = TaskScope("etl", "monday", "load")

# --- released Airflow's shape, from a module of its own ---


def released_airflow() -> types.ModuleType:
    """Return a module as ``airflow.sdk.state`` is: its own scopes, its own base class, its own names for the hooks."""
    module = types.ModuleType("storekit_test_airflow_sdk_state")

    @dataclass(frozen=True)
    class TaskScope:
        dag_id: str
        run_id: str
        task_id: str
        map_index: int = -1

    @dataclass(frozen=True)
    class AssetScope:
        asset_id: int | None = None
        name: str | None = None
        uri: str | None = None

    class BaseStoreBackend(ABC):
        @abstractmethod
        def get(self, scope: Any, key: str, *, session: Any = None) -> str | None: ...
        @abstractmethod
        def set(self, scope: Any, key: str, value: str, *, expires_at: Any = None, session: Any = None) -> None: ...
        @abstractmethod
        def delete(self, scope: Any, key: str, *, session: Any = None) -> None: ...
        @abstractmethod
        def clear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None: ...
        @abstractmethod
        async def aget(self, scope: Any, key: str, *, session: Any = None) -> str | None: ...
        @abstractmethod
        async def aset(
            self, scope: Any, key: str, value: str, *, expires_at: Any = None, session: Any = None
        ) -> None: ...
        @abstractmethod
        async def adelete(self, scope: Any, key: str, *, session: Any = None) -> None: ...
        @abstractmethod
        async def aclear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None: ...

        def cleanup(self) -> None:
            return None

        def serialize_task_state_store_to_ref(self, *, value: Any, key: str, scope: Any) -> str:
            raise NotImplementedError

        def deserialize_task_state_store_from_ref(self, stored: str) -> Any:
            raise NotImplementedError

        def serialize_asset_state_store_to_ref(self, *, value: Any, key: str, scope: Any) -> str:
            raise NotImplementedError

        def deserialize_asset_state_store_from_ref(self, stored: str) -> Any:
            raise NotImplementedError

    for each in (TaskScope, AssetScope, BaseStoreBackend):
        each.__module__ = module.__name__
        setattr(module, each.__name__, each)
    return module


released = released_airflow()
sys.modules[released.__name__] = released


class ReleasedBackend(released.BaseStoreBackend):  # type: ignore[name-defined, misc]
    """Written for released Airflow: it dispatches on *that* module's scopes and knows none of storekit's names."""

    def __init__(self, objects: dict[str, Any] | None = None) -> None:
        self.rows = DictBackend()
        self.objects: dict[str, Any] = {} if objects is None else objects

    @staticmethod
    def known(scope: Any) -> Any:
        assert type(scope) in (released.TaskScope, released.AssetScope), f"a scope of another module: {scope!r}"
        if isinstance(scope, released.TaskScope):
            return TaskScope(scope.dag_id, scope.run_id, scope.task_id, scope.map_index)
        return AssetScope(scope.asset_id, scope.name, scope.uri)

    def get(self, scope: Any, key: str, *, session: Any = None) -> str | None:
        return self.rows.get(self.known(scope), key)

    def set(self, scope: Any, key: str, value: str, *, expires_at: Any = None, session: Any = None) -> None:
        assert expires_at is None or isinstance(expires_at, datetime), "released Airflow knows no flag"
        self.rows.set(self.known(scope), key, value, expires_at=expires_at)

    def delete(self, scope: Any, key: str, *, session: Any = None) -> None:
        self.rows.delete(self.known(scope), key)
        self.objects.pop(self.ref(scope, key), None)

    def clear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None:
        self.rows.clear(self.known(scope), all_map_indices=all_map_indices)
        for ref in [ref for ref in self.objects if ref.startswith(self.ref(scope, ""))]:
            del self.objects[ref]

    async def aget(self, scope: Any, key: str, *, session: Any = None) -> str | None:
        return self.get(scope, key)

    async def aset(self, scope: Any, key: str, value: str, *, expires_at: Any = None, session: Any = None) -> None:
        self.set(scope, key, value, expires_at=expires_at)

    async def adelete(self, scope: Any, key: str, *, session: Any = None) -> None:
        self.delete(scope, key)

    async def aclear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None:
        self.clear(scope, all_map_indices=all_map_indices)

    def cleanup(self) -> None:
        self.rows.log.append("cleaned")

    def ref(self, scope: Any, key: str) -> str:
        return f"released/{repr(self.known(scope)).encode().hex()}/{key.encode().hex()}"

    def serialize_task_state_store_to_ref(self, *, value: Any, key: str, scope: Any) -> str:
        assert isinstance(scope, released.TaskScope)
        self.objects[self.ref(scope, key)] = value
        return self.ref(scope, key)

    def serialize_asset_state_store_to_ref(self, *, value: Any, key: str, scope: Any) -> str:
        assert isinstance(scope, released.AssetScope)
        self.objects[self.ref(scope, key)] = value
        return self.ref(scope, key)

    def deserialize_task_state_store_from_ref(self, stored: str) -> Any:
        return self.objects[stored]

    def deserialize_asset_state_store_from_ref(self, stored: str) -> Any:
        return self.objects[stored]


class TestReleasedBackend(BackendConformance):
    keeps_expiry = True
    keeps_never_expire = False  # released Airflow has no flag: NEVER_EXPIRE arrives as no expiry

    @pytest.fixture
    def backend(self) -> BaseStoreBackend:
        return adapt_backend(ReleasedBackend())

    def stored_expiry(self, backend: Any, scope: TaskScope, key: str) -> Any:
        return backend.inner.rows.rows[scope, key][1]


class TestReleasedWorker(WorkerBackendConformance):
    prefix = "released/"

    @pytest.fixture
    def worker(self) -> BaseStoreBackend:
        return adapt_backend(ReleasedBackend())

    def another(self, worker: Any) -> Any:
        return adapt_backend(ReleasedBackend(worker.inner.objects))

    def objects(self, worker: Any) -> Collection[str]:
        return set(worker.inner.objects)


def test_a_released_backend_is_known_by_its_shape() -> None:
    assert is_released_backend(ReleasedBackend)
    assert not is_released_backend(DictBackend)
    assert isinstance(adapt_backend(ReleasedBackend()), ReleasedBackendAdapter)
    ours = DictBackend()
    assert adapt_backend(ours) is ours


@pytest.mark.parametrize("other", [object(), None, "path.to.Backend", ReleasedBackend])
def test_what_is_no_backend_is_refused(other: Any) -> None:
    with pytest.raises(TypeError, match=r"subclass storekit\.BaseStoreBackend"):
        adapt_backend(other)


def test_an_unbound_adapter_says_what_it_needs() -> None:
    adapter = adapt_backend(ReleasedBackend())
    with pytest.raises(TypeError, match=r"needs a TaskScope for its hooks; call \.bind\(scope\) first"):
        adapter.serialize_task_store_to_ref(value=1, key="key", ti_id="ti")


def test_cleanup_is_passed_on() -> None:
    inner = ReleasedBackend()
    assert adapt_backend(inner).cleanup() is None
    assert inner.rows.log == ["cleaned"]


@pytest.mark.parametrize("awaited", [False, True])
def test_a_released_worker_serves_accessors(awaited: bool) -> None:
    """Unadapted, as a user would pass it; no ti_id, since its hooks take the scope."""
    worker, rows = ReleasedBackend(), DictBackend()
    task = TaskStoreAccessor(rows, SCOPE, worker_backend=worker, config=PLAIN)
    asset = AssetStoreAccessor(rows, AssetScope(name="orders"), worker_backend=worker, config=PLAIN)
    for accessor in (task, asset):
        if awaited:
            asyncio.run(accessor.aset("key", {"a": [1]}))
            assert asyncio.run(accessor.aget("key")) == {"a": [1]}
            asyncio.run(accessor.adelete("key"))
        else:
            accessor.set("key", {"a": [1]})
            assert accessor.get("key") == {"a": [1]}
            assert len(worker.objects) == 1
            accessor.delete("key")
        assert accessor.get("key") is None
        assert worker.objects == {}


# --- the seed's skeleton, on an S3 server ---


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of a real S3 server on this machine."""
    require("s3")
    import boto3
    from botocore.config import Config

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [moto_server(), "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert server.poll() is None, "the S3 server ended"
                time.sleep(0.05)
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the server takes any
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        yield client
        client.close()
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def bucket(s3: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"state-{time.monotonic_ns()}"
    s3.create_bucket(Bucket=name)
    monkeypatch.setattr(s3_skeleton, "s3_client", s3)
    monkeypatch.setattr(s3_skeleton, "BUCKET", name)
    return name


def names_in(s3: Any, bucket: str) -> set[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {each["Key"] for page in pages for each in page.get("Contents", [])}


class TestSeedSkeleton(WorkerBackendConformance):
    """What the skeleton promises as it stands, and, by name, what it does not.

    It puts the raw key into the object's name, so a name is no path to be confined in, and S3's 1,024 bytes bound
    the key. The test server, unlike S3, serves no names with control characters. Its pass-through ``delete`` and
    ``clear`` cannot remove a task's object: the hooks make its name from ``ti_id``, which a scope does not carry.
    """

    key_rules = TextRules(control_characters=False, max_bytes=900)
    prefix = "airflow/"
    confines_keys = False
    removes_objects = False
    max_examples: ClassVar[int] = 6

    @pytest.fixture
    def worker(self, s3: Any, bucket: str) -> BaseStoreBackend:
        self.list_names = lambda: names_in(s3, bucket)
        return s3_skeleton.S3StateBackend()

    def another(self, worker: Any) -> Any:
        return s3_skeleton.S3StateBackend()

    def objects(self, worker: Any) -> Collection[str]:
        return self.list_names()


def test_the_skeletons_references_can_be_read_as_paths_out() -> None:
    """The law it gives up (``confines_keys``), shown: harmless on S3, whose names are flat; not on a file system."""
    ref = s3_skeleton.S3StateBackend()._task_ref("ti", "../../../etc/passwd")
    assert ref.startswith("airflow/task-store/ti/")
    assert posixpath.normpath(ref) == "etc/passwd"


def test_the_skeletons_references_need_an_id_without_slashes() -> None:
    """Distinct inputs give distinct references for UUIDs, which is what a ``ti_id`` is; not for any text."""
    ref = s3_skeleton.S3StateBackend()._task_ref
    assert ref("a", "b/c") == ref("a/b", "c")


def test_the_skeleton_serves_accessors_over_a_real_store(s3: Any, bucket: str) -> None:
    store = MetastoreStateBackend("sqlite://", config=PLAIN)
    store.create_tables()
    store.add_dag_run("etl", "monday")
    store.add_asset(name="orders", uri="s3://orders")
    ti_id = store.add_task_instance(SCOPE)
    worker = s3_skeleton.S3StateBackend()
    task = TaskStoreAccessor(store, SCOPE, ti_id=ti_id, worker_backend=worker, config=PLAIN)
    asset = AssetStoreAccessor(store, AssetScope(name="orders"), worker_backend=worker, config=PLAIN)

    task.set("job_id", {"id": 7}, retention=NEVER_EXPIRE)
    asyncio.run(asset.aset("watermark", "2026-11-22"))
    assert store.get(SCOPE, "job_id") == f"airflow/task-store/{ti_id}/job_id"  # the bare form, as the seed says
    assert task.get("job_id") == {"id": 7}
    assert asyncio.run(asset.aget("watermark")) == "2026-11-22"

    # An orphan, and its healing by the next set: the reference is the same.
    task.delete("job_id")
    assert task.get("job_id") is None
    assert f"airflow/task-store/{ti_id}/job_id" in names_in(s3, bucket)
    before = names_in(s3, bucket)
    task.set("job_id", {"id": 8})
    assert names_in(s3, bucket) == before
    assert task.get("job_id") == {"id": 8}
    store.close()


def test_the_skeleton_is_found_by_the_workers_configuration(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__WORKERS__STATE_BACKEND", "s3_skeleton.S3StateBackend")
    accessor = TaskStoreAccessor(DictBackend(), SCOPE, ti_id="ti")
    accessor.set("key", [1, 2])
    assert accessor.get("key") == [1, 2]
    assert names_in(s3, bucket) == {"airflow/task-store/ti/key"}


def test_expiry_of_a_reference_is_the_rows(s3: Any, bucket: str) -> None:
    """Cleanup takes the row; the object stays, an orphan."""
    clock = ManualClock(datetime(2026, 11, 22, tzinfo=UTC))
    store = MetastoreStateBackend("sqlite://", config=PLAIN, clock=clock)
    store.create_tables()
    store.add_dag_run("etl", "monday")
    worker = s3_skeleton.S3StateBackend()
    accessor = TaskStoreAccessor(store, SCOPE, ti_id="ti", worker_backend=worker, config=PLAIN, clock=clock)
    accessor.set("key", 1, retention=timedelta(days=1))
    clock.advance(timedelta(days=1, microseconds=1))
    assert store.cleanup() == 1
    assert accessor.get("key") is None
    assert names_in(s3, bucket) == {"airflow/task-store/ti/key"}
    store.close()
