"""A session that the caller gives is the caller's: used, never committed, never closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from backdoor import read_rows
from parts import LAYOUT_NAMES, Family, Sandboxes
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from stores import TestedStore, open_store

from storekit.state import AssetScope, TaskScope

SCOPE = TaskScope("etl", "monday", "load")
MATRIX = [(family, layout) for family in ("sqlite", "postgres", "mysql") for layout in LAYOUT_NAMES]


def prepared(sandboxes: Sandboxes, family: Family, layout_name: str) -> tuple[TestedStore, AssetScope]:
    store = open_store(sandboxes, family, layout_name)
    store.add_dag_run("etl", "monday")
    asset = AssetScope(asset_id=store.add_asset("orders", "s3://orders"))
    for scope in (SCOPE, asset):
        store.backend.set(scope, "kept", "1")
        store.backend.set(scope, "deleted", "1")
    return store, asset


def write_all(store: TestedStore, asset: AssetScope, session: Any) -> None:
    for scope in (SCOPE, asset):
        store.backend.set(scope, "kept", "2", session=session)
        store.backend.set(scope, "new", "2", session=session)
        store.backend.delete(scope, "deleted", session=session)
        assert [store.backend.get(scope, key, session=session) for key in ("kept", "new", "deleted")] == [
            "2",
            "2",
            None,
        ]
    store.backend.clear(TaskScope("etl", "monday", "load", 5), session=session)


async def awrite_all(store: TestedStore, asset: AssetScope, session: Any) -> None:
    backend = store.backend
    for scope in (SCOPE, asset):
        await backend.aset(scope, "kept", "2", session=session)
        await backend.aset(scope, "new", "2", session=session)
        await backend.adelete(scope, "deleted", session=session)
        got = [await backend.aget(scope, key, session=session) for key in ("kept", "new", "deleted")]
        assert got == ["2", "2", None]
    await backend.aclear(TaskScope("etl", "monday", "load", 5), session=session)


OPENERS: dict[str, Callable[[Any], Any]] = {
    "Connection": lambda engine: engine.connect(),
    "Session": Session,
    "scoped_session": lambda engine: scoped_session(sessionmaker(engine)),
}


def end(session: Any, how: str) -> None:
    getattr(session, how)()
    session.remove() if isinstance(session, scoped_session) else session.close()


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize(("family", "layout_name"), MATRIX)
def test_a_given_session_is_neither_committed_nor_closed(
    sandboxes: Sandboxes, family: Family, layout_name: str, opener: str
) -> None:
    store, asset = prepared(sandboxes, family, layout_name)
    before = sorted(map(repr, read_rows(store.engine, layout_name)))

    session = OPENERS[opener](store.backend.database.engine)
    write_all(store, asset, session)
    assert sorted(map(repr, read_rows(store.engine, layout_name))) == before  # nobody else sees it yet
    end(session, "rollback")
    assert sorted(map(repr, read_rows(store.engine, layout_name))) == before

    session = OPENERS[opener](store.backend.database.engine)
    write_all(store, asset, session)
    end(session, "commit")
    after = {(row.store, row.key, row.value) for row in read_rows(store.engine, layout_name)}
    assert after == {(kind, key, "2") for kind in ("task", "asset") for key in ("kept", "new")}
    store.backend.close()


@pytest.mark.parametrize("opener", ["AsyncConnection", "AsyncSession"])
@pytest.mark.parametrize(("family", "layout_name"), MATRIX)
def test_a_given_async_session_is_neither_committed_nor_closed(
    sandboxes: Sandboxes, family: Family, layout_name: str, opener: str
) -> None:
    store, asset = prepared(sandboxes, family, layout_name)
    before = sorted(map(repr, read_rows(store.engine, layout_name)))

    async def write(how: str) -> None:
        engine = store.backend.database.async_engine
        async with engine.connect() if opener == "AsyncConnection" else AsyncSession(engine) as session:
            await awrite_all(store, asset, session)
            assert sorted(map(repr, read_rows(store.engine, layout_name))) == before
            await getattr(session, how)()

    asyncio.run(write("rollback"))
    assert sorted(map(repr, read_rows(store.engine, layout_name))) == before
    asyncio.run(write("commit"))
    after = {(row.store, row.key, row.value) for row in read_rows(store.engine, layout_name)}
    assert after == {(kind, key, "2") for kind in ("task", "asset") for key in ("kept", "new")}
    store.backend.close()


@pytest.mark.parametrize("family", ["sqlite", "postgres", "mysql"])
def test_a_parent_of_the_callers_own_transaction_is_found(sandboxes: Sandboxes, family: Family) -> None:
    """A DagRun that is not committed, or only pending in a Session, is there for the statement."""
    store = open_store(sandboxes, family, "storekit")
    scope = TaskScope("etl", "in this transaction", "load")
    run = store.layout.dag_run
    with store.backend.database.engine.connect() as connection:
        connection.execute(run.insert().values(dag_id="etl", run_id="in this transaction"))
        store.backend.set(scope, "key", "1", expires_at=datetime(2030, 1, 1, tzinfo=UTC), session=connection)
        connection.rollback()
    assert read_rows(store.engine, "storekit") == []

    from sqlalchemy.orm import registry

    class Run:
        def __init__(self, **fields: Any) -> None:
            for name, value in fields.items():
                setattr(self, name, value)

    mapper = registry()
    mapper.map_imperatively(Run, run)
    with Session(store.backend.database.engine) as session:
        session.add(Run(dag_id="etl", run_id="in this transaction"))
        store.backend.set(scope, "key", "1", session=session)
        session.commit()
    mapper.dispose()
    assert [row.key for row in read_rows(store.engine, "storekit")] == ["key"]
    store.backend.close()


def test_an_error_in_a_given_session_leaves_the_rest_to_the_caller(sandboxes: Sandboxes) -> None:
    store, _ = prepared(sandboxes, "sqlite", "storekit")
    with store.backend.database.engine.connect() as connection:
        store.backend.set(SCOPE, "kept", "2", session=connection)
        with pytest.raises(ValueError, match="No DagRun"):
            store.backend.set(TaskScope("no", "such", "run"), "key", "1", session=connection)
        connection.commit()
    assert store.backend.get(SCOPE, "kept") == "2"
    store.backend.close()
