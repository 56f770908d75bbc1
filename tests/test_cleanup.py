"""What cleanup may delete, on every database and layout: the DELETE's predicate against the rule, and its refusals."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parts import LAYOUT_NAMES, Family, Sandboxes
from stores import TestedStore, open_store

import storekit as sk
from storekit.clock import ManualClock
from storekit.errors import CleanupStoppedError, FutureInstantError, InvalidValueError, StorekitError
from storekit.metastore import MetastoreStateBackend

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SCOPE = sk.TaskScope("etl", "r", "t")
FAMILIES: list[Family] = ["memory", "sqlite", "postgres", "mysql"]

# Around the instant itself, where < and <= part; and far from it, within what Airflow's TIMESTAMP on MySQL holds.
OFFSETS = st.one_of(
    st.none(),
    st.just(sk.NEVER_EXPIRE),
    st.sampled_from([timedelta(microseconds=us) for us in (-1, 0, 1)]),
    st.timedeltas(min_value=timedelta(days=-15000), max_value=timedelta(days=3000)),
)


@pytest.fixture(params=[(f, name) for f in FAMILIES for name in LAYOUT_NAMES], ids=lambda pair: "-".join(pair))
def made(request: pytest.FixtureRequest, sandboxes: Sandboxes) -> Iterator[TestedStore]:
    family, layout = request.param
    store = open_store(sandboxes, family, layout, clock=ManualClock(NOW))
    store.add_dag_run("etl", "r")
    yield store
    store.backend.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=settings.default.max_examples // 5)
@given(offsets=st.lists(OFFSETS, max_size=12), batch_size=st.sampled_from([0, 1, 2, 5, 100]))
def test_the_predicate_deletes_what_the_rule_says(made: TestedStore, offsets: list, batch_size: int) -> None:
    made.backend.clear(SCOPE)
    doomed = set()
    for number, offset in enumerate(offsets):
        expiry = NOW + offset if isinstance(offset, timedelta) else offset
        made.backend.set(SCOPE, f"k{number}", "1", expires_at=expiry)
        verdict = sk.judge(
            store="task",
            expires_at=expiry if isinstance(expiry, datetime) else None,
            never_expire=expiry is sk.NEVER_EXPIRE if made.layout.has_never_expire else None,
            now=NOW,
        )
        if verdict.fate is sk.Fate.DELETE:
            doomed.add(f"k{number}")
    assert made.backend.cleanup(batch_size=batch_size) == len(doomed)
    left = {f"k{number}" for number in range(len(offsets)) if made.backend.get(SCOPE, f"k{number}") is not None}
    assert left == {f"k{number}" for number in range(len(offsets))} - doomed
    assert made.backend.cleanup(batch_size=batch_size) == 0


def test_an_instant_that_has_not_come_is_refused(made: TestedStore) -> None:
    made.backend.set(SCOPE, "alive", "1", expires_at=NOW + timedelta(days=1))
    with pytest.raises(FutureInstantError, match="has not come"):
        made.backend.cleanup(now=NOW + timedelta(days=2))
    assert made.backend.get(SCOPE, "alive") == "1"


ODD_TEXTS = [
    "",
    " ",
    "2026-01-01 12:00:00-05:00",
    "2026-01-01 00:00:00",
    "2026-13-01",
    "2026-02-31 00:00:00.000000",
    "2025-01-01 00:00:00.1234567",
    "0000-00-00 00:00:00.000000",
    "2025-01-01 00:00:00.12345x",
    1700000000,
]


@pytest.mark.parametrize("odd", ODD_TEXTS, ids=repr)
def test_what_is_no_instant_is_never_deleted_and_is_named_when_read(odd: object, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    backend = MetastoreStateBackend(path)
    backend.create_tables()
    backend.add_dag_run("etl", "r")
    backend.set(SCOPE, "the odd one", "1", expires_at=NOW - timedelta(days=100))
    backend.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE task_store SET expires_at = ?", (odd,))
    connection.close()
    assert backend.cleanup() == 0
    backend.close()
    with sk.connect(path) as store, pytest.raises(StorekitError, match="the odd one"):
        store.snapshot()


@pytest.mark.parametrize("far", ["infinity", "-infinity", "0044-03-15 00:00:00+00 BC", "12026-01-01 00:00:00+00"])
def test_instants_that_only_postgresql_knows_are_no_expiry(far: str, sandboxes: Sandboxes) -> None:
    made = open_store(sandboxes, "postgres", "airflow-3.3", clock=ManualClock(NOW))
    made.add_dag_run("etl", "r")
    made.backend.set(SCOPE, "far", "1", expires_at=NOW - timedelta(days=1))
    with made.engine.begin() as connection:
        connection.execute(sa.text("UPDATE task_state_store SET expires_at = CAST(:far AS timestamptz)"), {"far": far})
    with sk.connect(sandboxes.get("postgres").url) as store:
        preview = store.snapshot().preview(NOW)
    assert preview.deleted == made.backend.cleanup() == 0
    assert preview.rows(verdict="keep")["expires_at"].isna().all()
    made.backend.close()


def test_a_lenient_mysql_server_is_made_strict(sandboxes: Sandboxes) -> None:
    """Without strict mode an expiry after 2038 becomes 1970, and the next cleanup deletes a key meant to live long."""
    made = open_store(sandboxes, "mysql", "airflow-3.3", clock=ManualClock(NOW))
    made.add_dag_run("etl", "r")
    with _lenient(made):
        with pytest.raises(InvalidValueError, match="2038"):
            made.backend.set(SCOPE, "long", "1", expires_at=NOW + timedelta(days=365 * 20))
        assert made.backend.get(SCOPE, "long") is None


class _lenient:  # noqa: N801 - reads as a statement
    """Connections that a lenient server would give: the session's mode is emptied before storekit's own settings."""

    def __init__(self, made: TestedStore) -> None:
        self.engine = made.backend.database.engine

    def __enter__(self) -> None:
        self.engine.dispose()
        sa.event.listen(self.engine, "connect", self._empty_mode, insert=True)

    def __exit__(self, *_: object) -> None:
        sa.event.remove(self.engine, "connect", self._empty_mode)
        self.engine.dispose()

    @staticmethod
    def _empty_mode(connection: object, _record: object) -> None:
        connection.cursor().execute("SET SESSION sql_mode = ''")  # type: ignore[attr-defined]


def test_a_failure_midway_says_what_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    backend = MetastoreStateBackend(path, clock=ManualClock(NOW))
    backend.create_tables()
    backend.add_dag_run("etl", "r")
    for number in range(10):
        backend.set(SCOPE, f"k{number}", "1", expires_at=NOW - timedelta(days=1))
    backend.close()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TRIGGER held BEFORE DELETE ON task_store WHEN old.key = 'k7' BEGIN SELECT RAISE(ABORT, 'held'); END"
        )
    connection.close()
    with pytest.raises(CleanupStoppedError, match="the 6 rows of earlier batches are deleted") as caught:
        backend.cleanup(batch_size=3)
    assert caught.value.deleted == 6
    assert sum(backend.get(SCOPE, f"k{number}") is not None for number in range(10)) == 4
    backend.close()


@pytest.mark.parametrize("family", ["sqlite", "postgres", "mysql"])
def test_a_key_refreshed_while_cleanup_runs_lives_on(sandboxes: Sandboxes, family: Family) -> None:
    """A refresh that commits at the last instant at which one can: before the statement that locks its row."""
    made = open_store(sandboxes, family, "storekit", clock=ManualClock(NOW))
    made.add_dag_run("etl", "r")
    for number in range(6):
        made.backend.set(SCOPE, f"k{number}", "1", expires_at=NOW - timedelta(days=1))
    writer = MetastoreStateBackend(sandboxes.get(family).url, clock=ManualClock(NOW))
    refreshed = threading.Event()
    locks = {"sqlite": "BEGIN IMMEDIATE", "postgres": "DELETE", "mysql": "FOR UPDATE"}[family]

    def refresh(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if locks in statement and not refreshed.is_set():
            refreshed.set()
            thread = threading.Thread(
                target=writer.set, args=(SCOPE, "k3", "2"), kwargs={"expires_at": NOW + timedelta(days=1)}
            )
            thread.start()
            thread.join()

    sa.event.listen(made.backend.database.engine, "before_cursor_execute", refresh)
    assert made.backend.cleanup(batch_size=0) == 5
    assert refreshed.is_set()
    assert made.backend.get(SCOPE, "k3") == "2"
    writer.close()
    made.backend.close()


def test_looking_never_costs_another_process_its_committed_write(tmp_path: Path) -> None:
    """A second SQLite library that closes the file drops the first one's locks (howtocorrupt.html, 2.2.1)."""
    path = tmp_path / "store.db"
    backend = MetastoreStateBackend(path)
    backend.create_tables()
    backend.add_dag_run("etl", "r")
    backend.close()
    other = (
        "import json, sys; import storekit as sk\n"
        "b = sk.MetastoreStateBackend(sys.argv[1] + '?timeout=0.2')\n"
        "try:\n    b.set(sk.TaskScope('etl', 'r', 't'), 'other', '2'); print(json.dumps('written'))\n"
        "except sk.StorekitError as error:\n    print(json.dumps(str(error)))\n"
    )
    from sqlalchemy.orm import Session

    engine = sa.create_engine(f"sqlite:///{path}")
    with Session(engine) as session:
        backend.set(SCOPE, "mine", "1", session=session)
        with sk.connect(path) as store:
            store.snapshot()
        done = subprocess.run(
            [sys.executable, "-c", other, f"sqlite:///{path}"],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        session.commit()
    engine.dispose()
    assert "locked" in json.loads(done.stdout)
    assert backend.get(SCOPE, "mine") == "1"
    backend.close()


@pytest.mark.parametrize("family", ["sqlite", "postgres", "mysql"])
def test_adding_a_parent_twice_at_once_is_no_error(sandboxes: Sandboxes, family: Family) -> None:
    made = open_store(sandboxes, family, "storekit")
    failures: list[BaseException] = []

    def add() -> None:
        try:
            for number in range(5):
                made.backend.add_dag_run("etl", f"r{number}")
                made.backend.add_asset(name=f"a{number}", uri=f"s3://a{number}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.backend.close()
    assert failures == []


def test_a_typing_error_leaves_no_file_behind(tmp_path: Path) -> None:
    backend = MetastoreStateBackend(tmp_path / "typo.db")
    with pytest.raises(StorekitError, match="does the file exist"):
        backend.get(SCOPE, "k")
    assert list(tmp_path.iterdir()) == []
