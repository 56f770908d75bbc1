"""Mistakes that users make early, each one clear error; and answers that must not contradict one another."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from commands import storekit
from parts import Sandboxes, require, server_url
from stores import open_store

import storekit as sk
from storekit.clock import ManualClock
from storekit.errors import ConnectError, LayoutError, QueryError, ReadOnlyError

FIXTURES = Path(__file__).resolve().parent.parent / "data" / "fixtures"


@pytest.mark.parametrize("name", ["airflow_readonly", "read-only", "malformed", "locked"])
@pytest.mark.parametrize("part", ["postgres", "mysql"])
def test_a_name_in_a_servers_words_says_nothing_of_the_transaction(part: Any, name: str) -> None:
    require(part)
    url = server_url(part).set(drivername="postgresql" if part == "postgres" else "mysql", database=name)
    with pytest.raises(ConnectError) as caught:
        sk.connect(url)
    assert not isinstance(caught.value, ReadOnlyError)
    assert "writable=True" not in str(caught.value)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_an_empty_store_in_memory_is_said_to_be_empty(url: str) -> None:
    with pytest.raises(LayoutError, match="task_state_store"):
        sk.connect(url)


def test_a_store_over_a_backend_has_the_backends_clock() -> None:
    clock = ManualClock(datetime(2020, 1, 1, tzinfo=UTC))
    backend = sk.MetastoreStateBackend("sqlite://", clock=clock)
    backend.create_tables()
    backend.add_dag_run("d", "r")
    backend.set(sk.TaskScope("d", "r", "t"), "a", "1", expires_at=datetime(2020, 1, 2, tzinfo=UTC))
    assert sk.connect(backend).snapshot().preview().deleted == 0
    assert sk.connect(backend, writable=True).backend.cleanup() == backend.cleanup() == 0


def test_a_preview_and_a_dry_run_heed_the_same_variables(tmp_path: Path) -> None:
    database = FIXTURES / "airflow-3.3.2.db"
    done = storekit("preview", database, folder=tmp_path, AIRFLOW__STATE_STORE__BACKEND="my.own.Backend")
    assert "my.own.Backend" in done.stdout


@pytest.mark.parametrize("command", [["tables", "--store", "tasks"], ["preview", "--rows", "all"]])
def test_rows_that_differ_by_their_region_alone_are_told_apart(command: list[str], tmp_path: Path) -> None:
    database = FIXTURES / "airflow-3.4-schema.db"
    done = storekit(command[0], database, *command[1:], "--limit", "0", folder=tmp_path)
    with sk.connect(database) as store:
        regions = set(store.tasks(values=False)["region_id"])
    assert all(region in done.stdout for region in regions)


def test_early_mistakes_are_questions_that_cannot_be_answered() -> None:
    with sk.connect(FIXTURES / "airflow-3.3.2.db") as store:
        with pytest.raises(QueryError, match="write where="):
            store.tasks(where="dag_id='x'")  # type: ignore[arg-type]
        snap = store.snapshot()
    for limit in ("keep", float("nan"), -1, True, 2.5):
        with pytest.raises(QueryError, match="not a number of rows"):
            snap.preview().rows(limit)  # type: ignore[arg-type]
        with pytest.raises(QueryError, match="not a number of rows"):
            snap.diff(snap).rows(limit=limit)  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="no snapshot"):
        snap.diff(3)  # type: ignore[arg-type]


def test_an_option_of_a_url_that_no_driver_takes() -> None:
    with pytest.raises(ConnectError, match="options of its URL"):
        sk.connect("mysql://root@127.0.0.1/x?connect_timeout=abc")


def test_a_text_that_a_column_cannot_hold_is_held_by_no_row(sandboxes: Sandboxes) -> None:
    made = open_store(sandboxes, "mysql", "airflow-3.3")
    made.add_dag_run("etl", "r")
    made.backend.set(sk.TaskScope("etl", "r", "t"), "k", "1")
    made.backend.close()
    with sk.connect(sandboxes.get("mysql").url) as store:
        assert store.tasks(where={"key": "\U0001f600"}).empty
        assert len(store.tasks(where={"key": ["k", "\U0001f600"]})) == 1
        assert store.assets(where={"asset_name": "\u2603"}).empty
