"""`storekit.airflow.CleaningMetastoreBackend` in real Airflow: where the stock class fails, and what stays its own."""

from __future__ import annotations

import ast
import gc
import importlib
import importlib.util
import itertools
import re
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from parts import LAYOUT_NAMES, Family, Sandboxes, require
from profiles import on_ci_only
from stores import open_store

import storekit as sk
from storekit.clock import ManualClock
from storekit.errors import MissingDriverError, QueryError
from storekit.metastore.engines import Database
from storekit.metastore.summary import ExpiredRows

sys.path.insert(0, str(Path(__file__).parent / "real_airflow"))
from client import (
    AirflowCallError,
    RealAirflow,
    airflow_cli,
    migrated_mysql,
    migrated_postgres,
    migrated_sqlite,
)
from copies import copied_sqlite, like_airflows, postgres_copies, tables_of

ROOT = Path(__file__).resolve().parent.parent
AIRFLOW_34 = ROOT / "data" / "fixtures" / "airflow-3.4-schema.db"
DROP_IN = {
    "AIRFLOW__STATE_STORE__BACKEND": "storekit.airflow.CleaningMetastoreBackend",
    "PYTHONPATH": str(ROOT),
}
NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
SCOPE = sk.TaskScope("etl", "r", "t")

# One more than the parameters that the database, or its driver, takes in one statement.
TOO_MANY = {"sqlite": 260_001, "postgres": 70_001}
SAID = {"sqlite": "too many SQL variables", "postgres": "number of parameters must be between 0 and 65535"}


@pytest.fixture(scope="module")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Family], str]]:
    """What makes a database that Airflow migrated, empty but for one DagRun, as Airflow takes its URL."""
    require("airflow")
    folder = tmp_path_factory.mktemp("drop-in")
    serial = itertools.count()
    boxes = Sandboxes(folder)  # not the module's own: those hold storekit's tables
    with ExitStack() as stack:
        stack.callback(boxes.close)

        def made(family: Family) -> Callable[[], str]:
            # With its DagRun from the start: an Airflow for each copy would take seconds.
            if family == "sqlite":
                source = folder / "source.db"
                first = copied_sqlite(migrated_sqlite(tmp_path_factory), source)
            else:
                driver = "postgresql+psycopg" if family == "postgres" else "mysql+pymysql"
                plain = sa.make_url(boxes.get(family).url)
                first = plain.set(drivername=driver).render_as_string(hide_password=False)
                (migrated_postgres if family == "postgres" else migrated_mysql)(first)
            with RealAirflow(first) as airflow:
                airflow.add_dag_run("etl", "r")
            if family == "sqlite":
                return lambda: copied_sqlite(source, folder / f"{next(serial)}.db")
            return stack.enter_context(postgres_copies(first)) if family == "postgres" else lambda: first

        makers: dict[Family, Callable[[], str]] = {}

        def make(family: Family) -> str:
            if family not in makers:
                makers[family] = made(family)
            return makers[family]()

        yield make


NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)",
    "postgresql": "WITH n(i) AS (SELECT generate_series(1, :rows))",
}
BULK = """
    INSERT INTO task_state_store
        (dag_run_id, task_id, map_index, key, dag_id, run_id, value, updated_at, expires_at)
    {numbers}
    SELECT r.id, 'bulk', n.i % 3 - 1, 'k' || n.i, r.dag_id, r.run_id, '1', :gone,
        CASE WHEN n.i < :rows THEN :gone ELSE :later END
    FROM n CROSS JOIN dag_run r
"""


def fill(url: str, rows: int) -> set[str]:
    """Insert rows that expired long ago and one that has not; return the lines that a dry run prints of them."""
    engine = like_airflows(url)
    instants = {"gone": datetime(2020, 2, 1, tzinfo=UTC), "later": datetime(2999, 2, 1, tzinfo=UTC)}
    statement = sa.text(BULK.format(numbers=NUMBERS[engine.dialect.name]))
    statement = statement.bindparams(*(sa.bindparam(name, type_=sa.DateTime(timezone=True)) for name in instants))
    with engine.begin() as connection:
        connection.execute(statement, {"rows": rows + 1, **instants})
    return {
        f"  Dag 'etl', run 'r', task 'bulk', map_index {number % 3 - 1}, key 'k{number}'"
        for number in range(1, rows + 1)
    }


@pytest.mark.parametrize(
    "family", [pytest.param("sqlite", marks=on_ci_only("260,001 lines of output take long")), "postgres"]
)
def test_where_the_stock_class_fails(family: Family, new_database: Callable[[Family], str]) -> None:
    url = new_database(family)
    lines = fill(url, TOO_MANY[family])
    before = count(url)

    stock = airflow_cli(url, "state-store", "clean")
    assert stock.returncode == 1
    assert SAID[family] in stock.stderr
    assert count(url) == before

    shown = airflow_cli(url, "state-store", "clean", "--dry-run", env=DROP_IN)
    assert shown.returncode == 0, shown.stderr[-2000:]
    listed = [line for line in shown.stdout.splitlines() if line.startswith("  Dag ")]
    assert f"Would delete {TOO_MANY[family]} task state store row(s):" in shown.stdout
    assert len(listed) == len(lines)
    assert set(listed) == lines
    assert count(url) == before

    done = airflow_cli(url, "state-store", "clean", env=DROP_IN)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"rows_deleted={TOO_MANY[family]}" in done.stdout + done.stderr
    assert f"bytes_deleted={TOO_MANY[family]}" in done.stdout + done.stderr
    assert count(url) == before - TOO_MANY[family] == 1


def count(url: str) -> int:
    with like_airflows(url).connect() as connection:
        return int(connection.scalar(sa.text("SELECT count(*) FROM task_state_store")) or 0)


def test_a_key_refreshed_while_the_command_runs_lives_on(new_database: Callable[[Family], str]) -> None:
    """Its writer holds the row when the DELETE comes to it. The stock class then deletes what was written."""
    left = {}
    for name, env in (("stock", {}), ("drop-in", DROP_IN)):
        url = new_database("postgres")
        fill(url, 5)
        command = threading.Thread(target=airflow_cli, args=(url, "state-store", "clean"), kwargs={"env": env})
        engine = like_airflows(url)
        with engine.connect() as writer:
            writer.execute(
                sa.text(
                    "UPDATE task_state_store SET value = '2', expires_at = now() + interval '1 day' WHERE key = 'k3'"
                )
            )
            command.start()
            wait_for_a_lock(engine, command)
            writer.commit()
        command.join()
        with engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT key, value FROM task_state_store"))
            left[name] = {tuple(row) for row in rows}
    assert left == {"stock": {("k6", "1")}, "drop-in": {("k6", "1"), ("k3", "2")}}


def wait_for_a_lock(engine: sa.Engine, command: threading.Thread) -> None:
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while command.is_alive():
        with engine.connect() as connection:
            if connection.scalar(waiting):
                return
        time.sleep(0.05)


# --- what the command is given ---------------------------------------------------------------------------------

PRINTED = re.compile(r"^  Dag ('.*'), run ('.*'), task ('.*'), map_index (-?\d+), key (.*)$")


def test_the_dry_run_of_the_fixture_is_the_stock_classes_as_a_set(tmp_path: Path) -> None:
    require("airflow")
    url = copied_sqlite(ROOT / "data" / "fixtures" / "airflow-3.3.2.db", tmp_path / "airflow.db")
    before = tables_of(url)
    printed = {}
    for name, env in (("stock", {}), ("drop-in", DROP_IN)):
        done = airflow_cli(url, "state-store", "clean", "--dry-run", env=env)
        assert done.returncode == 0, done.stderr
        printed[name] = done.stdout.splitlines()
    assert set(printed["drop-in"]) == set(printed["stock"])
    assert len(printed["drop-in"]) == len(printed["stock"]) > 10
    rows = [
        tuple(map(ast.literal_eval, match.groups())) for line in printed["drop-in"] if (match := PRINTED.match(line))
    ]
    assert rows == sorted(rows)
    assert tables_of(url) == before


def test_nothing_to_delete_is_said_as_ever(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    require("airflow")
    url = copied_sqlite(migrated_sqlite(tmp_path_factory), tmp_path / "airflow.db")
    done = airflow_cli(url, "state-store", "clean", "--dry-run", env=DROP_IN)
    assert (done.returncode, done.stdout.strip()) == (0, "Nothing to delete.")


# --- in one process of Airflow, with its clock stopped ---------------------------------------------------------

OFFSETS: dict[str, timedelta | None] = {
    "long ago": timedelta(days=-4000),
    "just gone": timedelta(microseconds=-1),
    "now": timedelta(0),
    "a moment yet": timedelta(microseconds=1),
    "later": timedelta(days=3),
    "never": None,
    'it\'s "quoted" %s :x \\ ünïcode': timedelta(seconds=-1),
}
GONE = {"long ago", "just gone", 'it\'s "quoted" %s :x \\ ünïcode'}
SERVED: list[Family] = ["sqlite", "postgres", "mysql"]


@pytest.fixture(scope="module", params=SERVED)
def process(request: pytest.FixtureRequest, new_database: Callable[[Family], str]) -> Iterator[RealAirflow]:
    with RealAirflow(new_database(request.param), env=DROP_IN) as airflow:
        airflow.freeze_time(NOW)
        yield airflow


@pytest.fixture
def drop_in(process: RealAirflow) -> Iterator[RealAirflow]:
    """A process of Airflow with the drop-in, and a database without rows."""
    yield process
    process.delete_dag_run("etl", "r")
    process.add_dag_run("etl", "r")


@pytest.mark.parametrize("batch_size", [-1, 0, 1, 2, 7])
def test_cleanup_and_dry_run_around_the_instant(drop_in: RealAirflow, batch_size: int) -> None:
    for index, (key, offset) in enumerate(OFFSETS.items()):
        scope = sk.TaskScope("etl", "r", "t", index % 3 - 1)
        drop_in.set(scope, key, "1", expires_at=None if offset is None else NOW + offset)
    asset = sk.AssetScope(asset_id=drop_in.add_asset(f"a{batch_size}", f"s3://{batch_size}"))
    drop_in.set(asset, "k", "1")
    before = drop_in.dump()
    shown = drop_in.dry_run()
    assert drop_in.dump() == before
    assert {row[4] for row in shown} == GONE
    assert shown == sorted(shown)
    drop_in.cleanup(batch_size=batch_size)
    after = drop_in.dump()
    assert after.assets == before.assets
    assert after.tasks == [row for row in before.tasks if row.key not in GONE]
    assert drop_in.dry_run() == []
    drop_in.cleanup(batch_size=batch_size)
    assert drop_in.dump() == after


def test_everything_else_is_airflows_own(drop_in: RealAirflow, request: pytest.FixtureRequest) -> None:
    described = drop_in.backend()
    assert described["path"] == "storekit.airflow.backend.CleaningMetastoreBackend"
    assert described["is_stock"]  # the command skips what is not
    assert described["own"] == ["_summary_dry_run", "cleanup"]
    assert not {"pandas", "duckdb", "pyarrow"} & set(described["modules"])
    # Airflow has no awaiting driver for MySQL here.
    for is_async in (False, True) if "mysql" not in request.node.name else (False,):
        drop_in.set(SCOPE, "k", "1", is_async=is_async)
        assert drop_in.get(SCOPE, "k", is_async=is_async) == "1"
        drop_in.delete(SCOPE, "k", is_async=is_async)
        assert drop_in.get(SCOPE, "k", is_async=is_async) is None
        drop_in.set(SCOPE, "k", "1", is_async=is_async)
        drop_in.clear(SCOPE, is_async=is_async)
        assert drop_in.dump().tasks == []
    with pytest.raises(AirflowCallError, match="No DagRun found"):
        drop_in.set(sk.TaskScope("etl", "no such run", "t"), "k", "1")


@pytest.mark.parametrize(
    "family", ["sqlite", pytest.param("postgres", marks=on_ci_only("migrations on PostgreSQL are slow"))]
)
def test_a_dry_run_holds_no_more_than_a_part_of_the_rows(family: Family, new_database: Callable[[Family], str]) -> None:
    url, rows = new_database(family), 20_000
    fill(url, rows)
    peaks = {}
    for name, env in (("stock", {}), ("drop-in", DROP_IN)):
        with RealAirflow(url, env=env) as airflow:
            airflow.dry_run_peak()  # the first configures Airflow's models, which costs more than the rows
            answer = airflow.dry_run_peak()
            assert (answer["told"], answer["read"]) == (rows, rows)
            peaks[name] = answer["peak"]
    assert peaks["drop-in"] * 5 < peaks["stock"]


def test_a_dry_run_that_is_left_gives_its_connection_back(new_database: Callable[[Family], str]) -> None:
    url = new_database("postgres")
    fill(url, 3000)
    with RealAirflow(url, env=DROP_IN) as airflow:
        assert airflow.dry_run_left(2) == 0
        assert airflow.dry_run_left(3000) == 0
        # The session's level and its being read-only went with it.
        airflow.cleanup(batch_size=100)
        assert count(url) == 1


def test_a_failure_keeps_what_was_done_and_says_why(new_database: Callable[[Family], str]) -> None:
    url = new_database("sqlite")
    fill(url, 10)
    with like_airflows(url).begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TRIGGER held BEFORE DELETE ON task_state_store WHEN old.key = 'k8' "
                "BEGIN SELECT RAISE(ABORT, 'held back'); END"
            )
        )
    sized = {"AIRFLOW__STATE_STORE__STATE_CLEANUP_BATCH_SIZE": "3"}
    done = airflow_cli(url, "state-store", "clean", env=DROP_IN | sized)
    assert done.returncode == 1
    assert "held back" in done.stderr
    assert "Stopped deleting expired task_state_store rows" in done.stdout + done.stderr
    assert "rows_deleted=6" in done.stdout + done.stderr
    assert count(url) == 5


# --- the rows of a dry run, without Airflow --------------------------------------------------------------------

WITH_LAYOUTS = [(family, name) for family in SERVED for name in LAYOUT_NAMES]


@pytest.mark.parametrize(("family", "layout"), WITH_LAYOUTS)
def test_the_rows_are_those_that_were_counted(sandboxes: Sandboxes, family: Family, layout: str) -> None:
    made = open_store(sandboxes, family, layout, clock=ManualClock(NOW))
    made.add_dag_run("etl", "r")
    if family == "sqlite":
        with made.engine.connect() as connection:
            # As Airflow has it; in the other mode a reader keeps writers out.
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    gone = timedelta(days=-1)
    for index in (2, -1, 10, 3):
        for key in ("b", "a"):
            made.backend.set(sk.TaskScope("etl", "r", "t", index), key, "1", expires_at=NOW + gone)
    made.backend.set(SCOPE, "alive", "1", expires_at=NOW)
    expected = [("etl", "r", "t", index, key) for index in (-1, 2, 3, 10) for key in ("a", "b")]

    rows = ExpiredRows(Database(sandboxes.get(family).url, access="rw"), NOW)
    made.backend.delete(sk.TaskScope("etl", "r", "t", 2), "a")
    made.backend.set(SCOPE, "another", "1", expires_at=NOW + gone)
    assert len(rows) == len(expected)
    assert list(rows) == expected
    with pytest.raises(QueryError, match="not kept"):
        iter(rows)

    made.backend.clear(SCOPE)
    for index in (2, 3, 10):
        made.backend.clear(sk.TaskScope("etl", "r", "t", index))
    none = ExpiredRows(rows._database, NOW)
    assert (len(none), bool(none), list(none), list(none)) == (0, False, [], [])
    rows._database.dispose()
    made.backend.close()


@pytest.mark.parametrize("family", SERVED)
def test_the_connection_goes_back(sandboxes: Sandboxes, family: Family) -> None:
    made = open_store(sandboxes, family, "airflow-3.3", clock=ManualClock(NOW))
    made.add_dag_run("etl", "r")
    for number in range(5):
        made.backend.set(SCOPE, f"k{number}", "1", expires_at=NOW - timedelta(days=1))
    database = made.backend.database
    pool = database.engine.pool

    assert ExpiredRows(database, NOW - timedelta(days=9))._count == pool.checkedout() == 0  # type: ignore[attr-defined]
    rows = ExpiredRows(database, NOW)
    assert pool.checkedout() == 1  # type: ignore[attr-defined]
    assert len(list(rows)) == 5
    assert pool.checkedout() == 0  # type: ignore[attr-defined]
    dropped = ExpiredRows(database, NOW)
    del dropped
    gc.collect()
    assert pool.checkedout() == 0  # type: ignore[attr-defined]
    left = iter(ExpiredRows(database, NOW))
    next(left)
    del left
    gc.collect()
    assert pool.checkedout() == 0  # type: ignore[attr-defined]
    closed = ExpiredRows(database, NOW)
    closed.close()
    assert (len(closed), pool.checkedout()) == (5, 0)  # type: ignore[attr-defined]
    # What is lent again is as it was: it may write.
    assert made.backend.cleanup() == 5
    made.backend.close()


@pytest.mark.parametrize(("family", "kind"), [("postgres", "ServerCursor"), ("mysql", "SSCursor")])
def test_the_server_keeps_what_is_not_read_yet(sandboxes: Sandboxes, family: Family, kind: str) -> None:
    """What a driver's C code holds is in no measure of Python's memory."""
    made = open_store(sandboxes, family, "airflow-3.3", clock=ManualClock(NOW))
    made.add_dag_run("etl", "r")
    made.backend.set(SCOPE, "k", "1", expires_at=NOW - timedelta(days=1))
    database, cursors = made.backend.database, []

    def note(_connection: object, cursor: object, statement: str, *_: object) -> None:
        if "ORDER BY" in statement:
            cursors.append(type(cursor).__name__)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    assert len(list(ExpiredRows(database, NOW))) == 1
    assert cursors == [kind]
    made.backend.close()


def test_on_the_tables_of_3_4(tmp_path: Path) -> None:
    """As far as can be told: five columns, the index under its old name."""
    shutil.copy(AIRFLOW_34, tmp_path / "airflow.db")
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as connection:
        (youngest,) = connection.execute("SELECT max(updated_at) FROM task_state_store").fetchone()
        instant = datetime.fromisoformat(youngest) + timedelta(hours=1)
        expected = connection.execute(
            "SELECT dag_id, run_id, task_id, region_index, key FROM task_state_store WHERE expires_at < ? "
            "ORDER BY dag_id, run_id, task_id, region_index, region_id, key",
            [instant.isoformat(sep=" ", timespec="microseconds")],
        ).fetchall()
    database = Database(tmp_path / "airflow.db", access="rw")
    rows = ExpiredRows(database, instant.replace(tzinfo=UTC))
    assert len(rows) == 13
    assert list(rows) == expected
    database.dispose()


# --- where there is no such Airflow ----------------------------------------------------------------------------


@pytest.fixture
def _unimported() -> Iterator[None]:
    def forget() -> None:
        for name in [name for name in sys.modules if name.startswith(("storekit.airflow", "airflow", "structlog"))]:
            del sys.modules[name]

    if importlib.util.find_spec("airflow") is not None:
        pytest.skip("Airflow is installed beside the tests")
    forget()
    yield
    forget()


@pytest.mark.usefixtures("_unimported")
def test_without_airflow_the_import_says_what_is_missing() -> None:
    with pytest.raises(MissingDriverError, match="which is not installed here") as caught:
        importlib.import_module("storekit.airflow")
    assert "storekit[airflow]" in str(caught.value)


@pytest.mark.usefixtures("_unimported")
@pytest.mark.parametrize("half", [False, True])
def test_with_an_older_airflow_it_says_so(half: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "airflow").mkdir()
    for name, text in {"__init__": "", "settings": "", "configuration": "conf = None"}.items():
        (tmp_path / "airflow" / f"{name}.py").write_text(text)
    if half:
        (tmp_path / "airflow" / "state.py").write_text("")
    (tmp_path / "structlog.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDriverError, match="has no state store") as caught:
        importlib.import_module("storekit.airflow")
    assert "apache-airflow>=3.3" in str(caught.value)


@pytest.mark.usefixtures("_unimported")
def test_a_broken_airflow_says_what_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "__init__.py").write_text("import pendulum_that_is_not_there")
    (tmp_path / "structlog.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="pendulum_that_is_not_there") as caught:
        importlib.import_module("storekit.airflow")
    assert not isinstance(caught.value, MissingDriverError)
