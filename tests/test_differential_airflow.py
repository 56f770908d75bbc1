"""Against real Airflow: its own backend passes our kit, and ours leaves the same tables as its, step for step."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import sqlalchemy as sa
from backdoor import read_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from parts import Sandboxes, require
from profiles import ON_CI, on_ci_only

from storekit.clock import ManualClock
from storekit.config import StateStoreConfig
from storekit.metastore import AIRFLOW_3_3, MetastoreStateBackend
from storekit.metastore.urls import parse_url
from storekit.state import NEVER_EXPIRE, AssetScope, BaseStoreBackend, StoreScope, TaskScope
from storekit.testing import BackendConformance, StoredRow, StoreMachine, TextRules, expiries

sys.path.insert(0, str(Path(__file__).parent / "real_airflow"))
from client import AirflowCallError, RealAirflow, migrated_postgres, migrated_sqlite

PLAIN = StateStoreConfig()


@dataclass
class Twins:
    """Two databases migrated by Airflow, and an Airflow on each: one to be the oracle, one to make parents for us."""

    ours_url: str
    ours: RealAirflow
    ours_engine: sa.Engine
    theirs: RealAirflow
    theirs_engine: sa.Engine

    def empty(self) -> None:
        """Leave both without rows and without parents."""
        for engine in (self.ours_engine, self.theirs_engine):
            with engine.begin() as connection:
                for table in ("task_state_store", "asset_state_store", "dag_run", "asset_active", "asset"):
                    connection.execute(sa.text(f"DELETE FROM {table}"))  # noqa: S608 - names from this line


def open_twins(stack: ExitStack, ours_url: str, theirs_url: str) -> Twins:
    opened = []
    for url in (ours_url, theirs_url):
        engine = sa.create_engine(parse_url(url).sync_url("rw"), poolclass=sa.NullPool)
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
        opened.append((stack.enter_context(RealAirflow(url)), engine))
    (ours, ours_engine), (theirs, theirs_engine) = opened
    return Twins(ours_url, ours, ours_engine, theirs, theirs_engine)


@pytest.fixture(scope="module")
def sqlite_twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    require("airflow")
    empty, folder = migrated_sqlite(tmp_path_factory), tmp_path_factory.mktemp("twins")
    for name in ("ours.db", "theirs.db"):
        shutil.copy(empty, folder / name)
    with ExitStack() as stack:
        yield open_twins(stack, f"sqlite:///{folder / 'ours.db'}", f"sqlite:///{folder / 'theirs.db'}")


@pytest.fixture(scope="module")
def postgres_twins() -> Iterator[Twins]:
    require("airflow")
    require("postgres")
    with ExitStack() as stack:
        urls = []
        for _ in range(2):
            # A module's Sandboxes has one database per family; here two are needed.
            boxes = Sandboxes(Path())
            stack.callback(boxes.close)
            plain = sa.make_url(boxes.get("postgres").url)
            urls.append(plain.set(drivername="postgresql+psycopg").render_as_string(hide_password=False))
            migrated_postgres(urls[-1])
        yield open_twins(stack, *urls)


# --- real Airflow under the seed's contract ---


class RealBackend(BaseStoreBackend):
    """Real Airflow's backend, with storekit's contract around it; a ValueError there is a ValueError here."""

    def __init__(self, airflow: RealAirflow) -> None:
        self.airflow = airflow

    def call(self, name: str, scope: StoreScope, *args: Any, is_async: bool, **kwargs: Any) -> Any:
        try:
            return getattr(self.airflow, name)(scope, *args, is_async=is_async, **kwargs)
        except AirflowCallError as error:
            if error.type == "ValueError":
                raise ValueError(error.message) from error
            raise

    def get(self, scope: StoreScope, key: str, *, session: Any = None, is_async: bool = False) -> str | None:
        found: str | None = self.call("get", scope, key, is_async=is_async)
        return found

    def set(
        self,
        scope: StoreScope,
        key: str,
        value: str,
        *,
        expires_at: Any = None,
        session: Any = None,
        is_async: bool = False,
    ) -> None:
        # Its NEVER_EXPIRE is an expires_at of None, made so by its accessor.
        expiry = None if expires_at is NEVER_EXPIRE else expires_at
        self.call("set", scope, key, value, expires_at=expiry, is_async=is_async)

    def delete(self, scope: StoreScope, key: str, *, session: Any = None, is_async: bool = False) -> None:
        self.call("delete", scope, key, is_async=is_async)

    def clear(
        self, scope: StoreScope, *, all_map_indices: bool = False, session: Any = None, is_async: bool = False
    ) -> None:
        self.call("clear", scope, all_map_indices=all_map_indices, is_async=is_async)

    # The driver awaits in a process of its own; the loop here has nothing to do meanwhile.

    async def aget(self, scope: StoreScope, key: str, *, session: Any = None) -> str | None:
        return self.get(scope, key, is_async=True)

    async def aset(
        self, scope: StoreScope, key: str, value: str, *, expires_at: Any = None, session: Any = None
    ) -> None:
        self.set(scope, key, value, expires_at=expires_at, is_async=True)

    async def adelete(self, scope: StoreScope, key: str, *, session: Any = None) -> None:
        self.delete(scope, key, is_async=True)

    async def aclear(self, scope: StoreScope, *, all_map_indices: bool = False, session: Any = None) -> None:
        self.clear(scope, all_map_indices=all_map_indices, is_async=True)


class RealConformance(BackendConformance):
    """What real Airflow promises at this level.

    Its backend refuses no key (its API and its accessors do), takes a naive expiry for UTC, knows assets by their
    ids, and keeps no flag.
    """

    refuses_bad_keys = False
    refuses_naive_expiry = False
    finds_assets_by_name = False
    keeps_expiry = True
    max_examples = 25 if ON_CI else 8

    def prepare_task(self, backend: Any, scope: TaskScope) -> None:
        if (scope.dag_id, scope.run_id) not in self.made:
            backend.airflow.add_dag_run(scope.dag_id, scope.run_id)
            self.made.add((scope.dag_id, scope.run_id))

    def prepare_asset(self, backend: Any, name: str, uri: str) -> AssetScope:
        return AssetScope(asset_id=backend.airflow.add_asset(name, uri))

    def stored_expiry(self, backend: Any, scope: TaskScope, key: str) -> Any:
        owner = (scope.dag_id, scope.run_id, scope.task_id, scope.map_index)
        found = [row for row in read_rows(self.engine, "airflow-3.3") if (row.owner, row.key) == (owner, key)]
        assert len(found) == 1
        return found[0].expires_at

    def fresh(self, twins: Twins) -> RealBackend:
        twins.empty()
        self.made: set[tuple[str, str]] = set()
        self.engine = twins.theirs_engine
        return RealBackend(twins.theirs)


class TestRealAirflowOnSqlite(RealConformance):
    @pytest.fixture
    def backend(self, sqlite_twins: Twins) -> RealBackend:
        return self.fresh(sqlite_twins)


if ON_CI:  # otherwise the one test below says why not

    class TestRealAirflowOnPostgres(RealConformance):
        @pytest.fixture
        def backend(self, postgres_twins: Twins) -> RealBackend:
            return self.fresh(postgres_twins)


# --- step for step ---


class Both:
    """Every call on storekit's backend and on real Airflow's, each on a database of its own."""

    def __init__(self, twins: Twins, clock: ManualClock) -> None:
        self.twins, self.clock = twins, clock
        self.ours = MetastoreStateBackend(twins.ours_url, clock=clock, config=PLAIN)
        self.theirs = RealBackend(twins.theirs)
        self.their_ids: dict[int | None, int] = {}

    def their_scope(self, scope: StoreScope) -> StoreScope:
        if isinstance(scope, TaskScope):
            return scope
        # Its server knows assets by id; what never was has none there either.
        return AssetScope(asset_id=self.their_ids.get(scope.asset_id, 10**9))

    def call(self, name: str, scope: StoreScope, *args: Any, is_async: bool, **kwargs: Any) -> Any:
        self.twins.theirs.freeze_time(self.clock.now())
        return getattr(self.theirs, name)(self.their_scope(scope), *args, is_async=is_async, **kwargs)

    def agree(self, ours: Any, name: str, scope: StoreScope, *args: Any, is_async: bool, **kwargs: Any) -> Any:
        """Compare our outcome, a value or an exception, with theirs."""
        try:
            answer = self.call(name, scope, *args, is_async=is_async, **kwargs)
        except (ValueError, AirflowCallError) as error:
            if not isinstance(ours, Exception):
                raise AssertionError(f"real Airflow refused what storekit took: {error}") from error
            raise ours from error
        assert not isinstance(ours, Exception), f"storekit refused what real Airflow took: {ours}"
        assert answer == ours
        return ours

    def bad(self, key: Any) -> bool:
        """Whether only storekit's backend looks at the key; Airflow's API and accessors do it there."""
        return not isinstance(key, str) or not key or len(key) > 512 or any(each in key for each in "\0\ud800\udfff")

    def get(self, scope: StoreScope, key: str) -> Any:
        return self.agree(outcome(lambda: self.ours.get(scope, key)), "get", scope, key, is_async=False)

    def set(self, scope: StoreScope, key: str, value: str, **kwargs: Any) -> None:
        ours = outcome(lambda: self.ours.set(scope, key, value, **kwargs))
        if self.bad(key):
            raise ours
        self.agree(ours, "set", scope, key, value, is_async=False, **kwargs)

    def delete(self, scope: StoreScope, key: str) -> None:
        self.agree(outcome(lambda: self.ours.delete(scope, key)), "delete", scope, key, is_async=False)

    def clear(self, scope: StoreScope, **kwargs: Any) -> None:
        self.agree(outcome(lambda: self.ours.clear(scope, **kwargs)), "clear", scope, is_async=False, **kwargs)

    async def aget(self, scope: StoreScope, key: str) -> Any:
        return self.agree(await aoutcome(self.ours.aget(scope, key)), "get", scope, key, is_async=True)

    async def aset(self, scope: StoreScope, key: str, value: str, **kwargs: Any) -> None:
        if self.bad(key):
            raise await aoutcome(self.ours.aset(scope, key, value, **kwargs))
        ours = await aoutcome(self.ours.aset(scope, key, value, **kwargs))
        # Real Airflow's awaiting engine does not enforce foreign keys on SQLite, so its aset takes an asset that
        # never was and leaves a row of nobody's. Storekit refuses that; compare with what its set does.
        nobodys = isinstance(scope, AssetScope) and scope.asset_id not in self.their_ids
        self.agree(ours, "set", scope, key, value, is_async=not nobodys, **kwargs)

    async def adelete(self, scope: StoreScope, key: str) -> None:
        self.agree(await aoutcome(self.ours.adelete(scope, key)), "delete", scope, key, is_async=True)

    async def aclear(self, scope: StoreScope, **kwargs: Any) -> None:
        self.agree(await aoutcome(self.ours.aclear(scope, **kwargs)), "clear", scope, is_async=True, **kwargs)


def outcome(work: Any) -> Any:
    try:
        return work()
    except ValueError as error:
        return error


async def aoutcome(awaited: Any) -> Any:
    try:
        return await awaited
    except ValueError as error:
        return error


class DifferentialMachine(StoreMachine):
    """The kit's machine with three sides: its model, storekit's tables, and real Airflow's."""

    twins: ClassVar[Twins]
    keeps_never_expire = False
    owns_parents = False
    reads_per_step = 4
    key_rules = TextRules()

    def open_store(self) -> Both:
        self.twins.empty()
        return Both(self.twins, self.clock)

    def close_store(self) -> None:
        self.backend.ours.close()

    def asset_scope(self, names: Any, form: str) -> AssetScope:
        # Airflow's server side has ids only.
        return AssetScope(asset_id=self.asset_ids[names]) if names in self.asset_ids else AssetScope(name=names[0])

    def rows(self) -> list[StoredRow]:
        ours = read_rows(self.twins.ours_engine, "airflow-3.3")
        theirs = read_rows(self.twins.theirs_engine, "airflow-3.3")
        assert sorted(map(repr, ours)) == sorted(map(repr, theirs))
        return ours

    def add_dag_run(self, dag_id: str, run_id: str) -> None:
        for side in (self.twins.ours, self.twins.theirs):
            side.add_dag_run(dag_id, run_id)

    def delete_dag_run(self, dag_id: str, run_id: str) -> None:
        for side in (self.twins.ours, self.twins.theirs):
            side.delete_dag_run(dag_id, run_id)

    def add_asset(self, name: str, uri: str) -> int:
        if (name, uri) in self.asset_ids:  # it is there: make it active again
            self.on_both("INSERT INTO asset_active (name, uri) VALUES (:name, :uri) ON CONFLICT DO NOTHING", name, uri)
            known = self.asset_ids[name, uri]
            assert known is not None
            return known
        ours = self.twins.ours.add_asset(name, uri)
        self.backend.their_ids[ours] = self.twins.theirs.add_asset(name, uri)
        return ours

    def deactivate_asset(self, name: str, uri: str) -> None:
        self.twins.ours.deactivate_asset(self.asset_ids[name, uri])  # type: ignore[arg-type]
        self.twins.theirs.deactivate_asset(self.backend.their_ids[self.asset_ids[name, uri]])

    def delete_asset(self, name: str, uri: str, asset_id: int | None) -> None:
        self.on_both("DELETE FROM asset_active WHERE name = :name AND uri = :uri", name, uri)
        self.on_both("DELETE FROM asset WHERE name = :name AND uri = :uri", name, uri)
        del self.backend.their_ids[asset_id]

    def on_both(self, statement: str, name: str, uri: str) -> None:
        for engine in (self.twins.ours_engine, self.twins.theirs_engine):
            with engine.begin() as connection:
                connection.execute(sa.text(statement), {"name": name, "uri": uri})

    def cleanup(self, batch_size: int) -> int:
        removed = self.backend.ours.cleanup(batch_size=batch_size)
        self.twins.theirs.freeze_time(self.clock.now())
        self.twins.theirs.cleanup(batch_size=batch_size)
        return removed


def agree(twins: Twins, examples: int, steps: int) -> None:
    machine = type("OnTwins", (DifferentialMachine,), {"twins": twins})
    budget = settings(max_examples=examples * (3 if ON_CI else 1), stateful_step_count=steps, deadline=None)
    run_state_machine_as_test(machine, settings=budget)


def test_storekit_and_real_airflow_leave_the_same_tables_on_sqlite(sqlite_twins: Twins) -> None:
    agree(sqlite_twins, 10, 25)


@on_ci_only("two migrations on PostgreSQL are slow")
def test_storekit_and_real_airflow_leave_the_same_tables_on_postgres(postgres_twins: Twins) -> None:
    agree(postgres_twins, 5, 25)


def test_cleanup_deletes_the_same_rows_around_the_instant(sqlite_twins: Twins) -> None:
    """The edge itself, at every example: an expiry now, one microsecond either side, and none."""
    now = datetime.fromisoformat("2026-11-22T10:35:18.757162+00:00")
    twins = sqlite_twins
    both = Both(twins, ManualClock(now))

    @settings(max_examples=30 if ON_CI else 10, deadline=None)
    @given(drawn=st.lists(expiries(now), max_size=8), batch_size=st.sampled_from([0, 1, 2, 7]))
    def check(drawn: list[Any], batch_size: int) -> None:
        twins.empty()
        for side in (twins.ours, twins.theirs):
            side.add_dag_run("etl", "monday")
        tick = timedelta(microseconds=1)
        for n, expires_at in enumerate([now - tick, now, now + tick, None, *drawn]):
            both.set(TaskScope("etl", "monday", "load"), f"key-{n}", "1", expires_at=expires_at)
        twins.theirs.freeze_time(now)
        shown = {row[-1] for row in twins.theirs.dry_run()}
        before = {row.key for row in read_rows(twins.ours_engine, "airflow-3.3")}
        removed = both.ours.cleanup(batch_size=batch_size)
        twins.theirs.cleanup(batch_size=batch_size)
        ours, theirs = (read_rows(engine, "airflow-3.3") for engine in (twins.ours_engine, twins.theirs_engine))
        assert sorted(map(repr, ours)) == sorted(map(repr, theirs))
        assert before - {row.key for row in ours} == shown
        assert removed == len(shown) >= 1

    check()
    both.ours.close()


# --- the writer of an asset's row ---


@pytest.mark.parametrize("kind", ["task", "watcher", "api"])
@pytest.mark.parametrize("rewritten_without", [False, True])
def test_the_writers_of_asset_rows_agree(
    sqlite_twins: Twins, kind: Literal["task", "watcher", "api"], rewritten_without: bool
) -> None:
    from storekit.state import AssetWriter, WriterKind

    twins = sqlite_twins
    twins.empty()
    both = Both(twins, ManualClock(datetime.fromisoformat("2026-11-22T10:35:18.757162+00:00")))
    ids = [side.add_asset("orders", "s3://orders") for side in (twins.ours, twins.theirs)]
    fields: dict[str, Any] = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": 3} if kind == "task" else {}
    twins.theirs.freeze_time(both.clock.now())
    both.ours.set_asset_store(AssetScope(asset_id=ids[0]), "key", "1", writer=AssetWriter(WriterKind(kind), **fields))
    twins.theirs.set_asset_state_store(AssetScope(asset_id=ids[1]), "key", "1", kind=kind, **fields)
    if rewritten_without:
        both.ours.set(AssetScope(asset_id=ids[0]), "key", "2")
        twins.theirs.set(AssetScope(asset_id=ids[1]), "key", "2")
    ours, theirs = twins.ours.dump().assets, twins.theirs.dump().assets
    assert [replace(row, asset_id=0) for row in ours] == [replace(row, asset_id=0) for row in theirs]
    assert len(ours) == 1
    both.ours.close()


def test_the_declared_tables_are_those_of_real_airflow(sqlite_twins: Twins) -> None:
    """Our declaration of the store's two tables against the migrated ones: columns, keys and indexes."""
    inspector = sa.inspect(sqlite_twins.theirs_engine)
    for table in (AIRFLOW_3_3.task_store, AIRFLOW_3_3.asset_store):
        real = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
        assert {column.name: bool(column.nullable) for column in table.columns} == real
        assert {column.name for column in table.primary_key} == set(
            inspector.get_pk_constraint(table.name)["constrained_columns"]
        )
        assert {index.name for index in table.indexes} == {index["name"] for index in inspector.get_indexes(table.name)}
    unique = inspector.get_unique_constraints("task_state_store")
    assert {frozenset(each["column_names"]) for each in unique} == {
        frozenset({"dag_run_id", "task_id", "map_index", "key"})
    }
