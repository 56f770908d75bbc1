"""Every route gives what was inserted, on every database and layout; and each fails as it says it does."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from filled import (
    FAMILIES,
    cursor_scan,
    expected,
    expected_rows,
    fast_scan,
    fill,
    in_order,
    route_to,
    statement_for,
    stores,
    texts,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parts import LAYOUT_NAMES, Family, Sandboxes
from profiles import ON_CI

from storekit.errors import ConnectError, MissingDriverError
from storekit.frames import routes
from storekit.frames.contract import ASSETS, ROWS, TASKS
from storekit.frames.cursor import CursorRoute
from storekit.frames.routes import AdbcPostgresRoute, AdbcSqliteRoute, ConnectorxRoute, Route
from storekit.metastore.layouts import STOREKIT
from storekit.metastore.scans import compile_for_driver

TABLES = (TASKS, ASSETS, ROWS)
NOW = datetime(2026, 11, 22, 10, 35, 18, 757162, tzinfo=UTC)


def task_row(**given_cells: Any) -> dict[str, Any]:
    """Return a task row with what a test does not care for filled in."""
    row: dict[str, Any] = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "region_id": None}
    row |= {"key": "k", "value": "1", "updated_at": NOW, "expires_at": None, "never_expire": False}
    row |= given_cells
    return row | {"value_bytes": len(row["value"].encode())}


# --- what comes out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout_name", LAYOUT_NAMES)
@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=8 if ON_CI else 3,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_every_route_gives_the_rows_that_were_inserted(
    sandboxes: Sandboxes, family: Family, layout_name: str, data: st.DataObject
) -> None:
    sandbox = sandboxes.get(family)
    layout = sandbox.hold(layout_name)
    tasks, assets = data.draw(stores(family, layout))
    fill(sandbox.engine, layout, tasks, assets)
    truth = {
        "tasks": expected(TASKS, tasks),
        "assets": expected(ASSETS, assets),
        "rows": expected_rows(tasks, assets, layout, family),
    }
    for table in TABLES:
        fast = fast_scan(sandbox, family, layout, table).to_arrow()
        assert fast.schema == truth[table.name].schema
        assert in_order(fast).equals(truth[table.name])
        slow = cursor_scan(sandbox.engine, layout, table).to_arrow()
        assert in_order(slow).equals(truth[table.name])


@pytest.mark.parametrize("layout_name", LAYOUT_NAMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_store_has_the_same_columns(sandboxes: Sandboxes, family: Family, layout_name: str) -> None:
    sandbox = sandboxes.get(family)
    layout = sandbox.hold(layout_name)
    for table in TABLES:
        for scan in (fast_scan(sandbox, family, layout, table), cursor_scan(sandbox.engine, layout, table)):
            assert scan.to_arrow().equals(table.schema(values=table is not ROWS).empty_table())


@pytest.mark.parametrize("layout_name", LAYOUT_NAMES)
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=8 if ON_CI else 3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_filter_takes_any_text(sandboxes: Sandboxes, family: Family, layout_name: str, data: st.DataObject) -> None:
    sandbox = sandboxes.get(family)
    layout = sandbox.hold(layout_name)
    keys = data.draw(st.lists(texts(family, layout_name, smallest=1, largest=30), min_size=1, max_size=4))
    tasks = [
        task_row(task_id=f"t{number}", key=key + ".", never_expire=False if layout.has_never_expire else None)
        | ({"region_id": "00000000-0000-0000-0000-000000000000"} if layout.has_regions else {})
        for number, key in enumerate(keys)
    ]
    fill(sandbox.engine, layout, tasks, [])
    wanted = keys[0] + "."
    found = fast_scan(sandbox, family, layout, TASKS, where={"key": wanted, "map_index": [-1, 7]}).to_arrow()
    assert set(found["key"].to_pylist()) == {wanted}


def test_columns_that_start_with_5000_nulls_keep_their_types(sandboxes: Sandboxes) -> None:
    sandbox = sandboxes.get("sqlite")
    layout = sandbox.hold("airflow-3.4")
    region = "12345678-1234-5678-1234-567812345678"
    tasks = [task_row(key=f"{number:04}", region_id=region, never_expire=None) for number in range(5000)]
    tasks.append(task_row(key="z\x00😀", region_id=region, never_expire=None, expires_at=NOW, map_index=2**31 + 5))
    assets = [
        {"asset_id": number, "asset_name": f"n{number}", "asset_uri": f"u{number}", "active": False, "key": "k"}
        | {"value": "", "value_bytes": 0, "updated_at": NOW}
        for number in range(1, 5001)
    ]
    writer = {"kind": "task", "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": 2**40}
    assets.append(
        {**assets[0], "key": "z", "asset_id": 5001, "asset_name": "n", "asset_uri": "u"}
        | {f"last_updated_by_{name}": cell for name, cell in writer.items()}
    )
    fill(sandbox.engine, layout, tasks, assets)
    for table, truth in ((TASKS, expected(TASKS, tasks)), (ASSETS, expected(ASSETS, assets))):
        assert in_order(fast_scan(sandbox, "sqlite", layout, table).to_arrow()).equals(truth)
    both = fast_scan(sandbox, "sqlite", layout, ROWS).to_arrow()
    assert in_order(both).equals(expected_rows(tasks, assets, layout, "sqlite"))


def test_bytes_that_are_not_utf8_are_replaced_and_counted_as_they_are(sandboxes: Sandboxes) -> None:
    sandbox = sandboxes.get("sqlite")
    layout = sandbox.hold("storekit")
    fill(sandbox.engine, layout, [task_row()], [])
    with sandbox.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE task_store SET value = CAST(x'61ff62c3' AS TEXT)")
    (row,) = fast_scan(sandbox, "sqlite", layout, TASKS).to_arrow().to_pylist()
    assert (row["value"], row["value_bytes"]) == ("a\ufffdb\ufffd", 4)


# --- SQLite files ------------------------------------------------------------------------------------------------


def sqlite_file(path: Path, *, wal: bool = False, rows: int = 3) -> Path:
    """Make a database with storekit's tables, rows of ``rows`` tasks and no connection left open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(path), poolclass=sa.NullPool)
    if wal:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    STOREKIT.metadata.create_all(engine)
    fill(engine, STOREKIT, [task_row(key=f"k{number}") for number in range(rows)], [])
    return path


def sqlite_statement() -> tuple[str, tuple[Any, ...]]:
    engine = sa.create_engine("sqlite://")
    compiled = compile_for_driver(statement_for(engine, STOREKIT, TASKS), engine.dialect)
    return compiled.sql, compiled.parameters


def count(route: Route, sql: str | None = None) -> int:
    with route.open(*((sql, ()) if sql else sqlite_statement())) as reader:
        return sum(batch.num_rows for batch in reader)


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "q?mode=rw.db", "h#x.db", "ü😀.db", "%41.db", "a'\"b.db"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    assert count(AdbcSqliteRoute(sqlite_file(tmp_path / name))) == 3
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("wal", [False, True])
def test_reading_changes_no_byte(tmp_path: Path, wal: bool) -> None:
    path = sqlite_file(tmp_path / "a.db", wal=wal)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert count(AdbcSqliteRoute(path)) == 3
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    with pytest.raises(ConnectError, match="readonly database"):
        count(AdbcSqliteRoute(path), "DELETE FROM task_store RETURNING key")
    assert path.read_bytes() == before[0]


def test_rows_that_are_only_in_the_wal_are_read(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "a.db", wal=True)
    writer = sqlite3.connect(path)
    try:
        writer.execute("DELETE FROM task_store WHERE key = 'k0'")
        writer.commit()
        assert count(AdbcSqliteRoute(path)) == 2
    finally:
        writer.close()


needs_permissions = pytest.mark.skipif(
    sys.platform == "win32" or (os.geteuid() == 0 and shutil.which("setpriv") is None),
    reason="root passes over permissions; run as another user, or bring setpriv: apt-get install util-linux",
)

WITHOUT_WRITING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from storekit.frames.routes import AdbcSqliteRoute
with AdbcSqliteRoute(sys.argv[2]).open("SELECT count(*) AS n FROM task_store", ()) as reader:
    print(reader.read_all()["n"].to_pylist())
"""


def read_unprivileged(path: Path) -> subprocess.CompletedProcess[str]:
    """Read in a process whose user may not pass over permissions, as root may."""
    command = [sys.executable, "-c", WITHOUT_WRITING, str(Path(__file__).parents[2]), str(path)]
    if os.geteuid() == 0:
        drop = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}", *command]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_permissions
@pytest.mark.parametrize("wal", [False, True])
def test_a_file_in_a_read_only_directory_is_read(tmp_path: Path, wal: bool) -> None:
    path = sqlite_file(tmp_path / "locked" / "a.db", wal=wal)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        done = read_unprivileged(path)
        assert done.stdout == "[3]\n", done.stderr
        assert [each.name for each in path.parent.iterdir()] == ["a.db"]
    finally:
        path.parent.chmod(0o755)


@needs_permissions
def test_rows_in_a_wal_beyond_reach_are_never_left_out(tmp_path: Path) -> None:
    live = sqlite_file(tmp_path / "live" / "a.db", wal=True)
    writer = sqlite3.connect(live)
    writer.execute("DELETE FROM task_store WHERE key = 'k0'")
    writer.commit()
    path = tmp_path / "locked" / "a.db"
    path.parent.mkdir()
    for suffix in ("", "-wal"):
        path.with_name(path.name + suffix).write_bytes(live.with_name(live.name + suffix).read_bytes())
    writer.close()
    path.parent.chmod(0o555)
    try:
        done = read_unprivileged(path)
        assert "a -wal file beside it holds rows" in done.stderr
        assert done.stdout == ""
    finally:
        path.parent.chmod(0o755)


WRITE_ELSEWHERE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
try:
    connection.execute("UPDATE task_store SET value = '2'")
    connection.commit()
except sqlite3.OperationalError as error:
    print(error)
"""


def write_elsewhere(path: Path) -> str:
    """Write from another process; return what SQLite said, or nothing."""
    done = subprocess.run(
        [sys.executable, "-c", WRITE_ELSEWHERE, str(path)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_writers_wait_while_a_read_lasts_and_no_longer(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "a.db", rows=10_000)
    writer = sqlite3.connect(path, timeout=0)
    with AdbcSqliteRoute(path).open(*sqlite_statement()) as reader:
        read = [reader.read_next_batch()]
        # ADBC's SQLite is another than Python's: in one process they do not see each other's locks.
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            writer.execute("DELETE FROM task_store").connection.commit()
        writer.rollback()
        # Closing a file drops all the locks that the process has on it.
        writer.close()
        assert write_elsewhere(path) == "database is locked"
        read += list(reader)
    assert sum(batch.num_rows for batch in read) == 10_000
    assert write_elsewhere(path) == ""


def test_a_locked_database_is_waited_for_and_then_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sqlite_file(tmp_path / "a.db")
    monkeypatch.setattr(routes, "SQLITE_BUSY_MS", 50)
    writer = sqlite3.connect(path)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ConnectError, match="database is locked") as caught:
        count(AdbcSqliteRoute(path))
    writer.close()
    assert "try again" in str(caught.value)


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="there is no database file"):
        count(AdbcSqliteRoute(tmp_path / "no.db"))
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("not a database " * 100)
    with pytest.raises(ConnectError, match="file is not a database"):
        count(AdbcSqliteRoute(path))


def test_a_column_of_mixed_types_is_an_error(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "a.db", rows=5000)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE task_store SET map_index = 'seven' WHERE key = 'k4999'")
    connection.close()
    with pytest.raises(ConnectError, match="Type mismatch"):
        count(AdbcSqliteRoute(path))


# --- errors and servers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_statement_that_is_wrong_is_a_connect_error(sandboxes: Sandboxes, family: Family) -> None:
    sandbox = sandboxes.get(family)
    sandbox.hold("storekit")
    with pytest.raises(ConnectError, match="nope") as caught:
        count(route_to(sandbox, family), "SELECT nope FROM task_store")
    assert "SELECT" not in str(caught.value).replace("'SELECT'", "")


@pytest.mark.parametrize(
    ("family", "sql"),
    [
        ("postgres", "SELECT CASE WHEN i > 150000 THEN 1 / (i - i) ELSE i END AS n FROM generate_series(1, 200000) i"),
        ("mysql", "SELECT IF(seq > 150000, (SELECT 1 UNION SELECT 2), seq) AS n FROM seq_1_to_200000"),
    ],
)
def test_an_error_halfway_is_a_connect_error(sandboxes: Sandboxes, family: Family, sql: str) -> None:
    with pytest.raises(ConnectError, match=r"division by zero|more than 1 row"):
        count(route_to(sandboxes.get(family), family), sql)


@pytest.mark.parametrize("family", ["postgres", "mysql"])
def test_a_server_refuses_to_write(sandboxes: Sandboxes, family: Family) -> None:
    sandbox = sandboxes.get(family)
    layout = sandbox.hold("storekit")
    fill(sandbox.engine, layout, [task_row()], [])
    with pytest.raises(ConnectError):
        count(route_to(sandbox, family), "DELETE FROM task_store RETURNING id")
    assert fast_scan(sandbox, family, layout, TASKS).to_arrow().num_rows == 1


def test_an_error_of_the_caller_stays_his(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "a.db")
    with pytest.raises(ZeroDivisionError), AdbcSqliteRoute(path).open(*sqlite_statement()):
        _ = 1 / 0


@pytest.mark.parametrize(
    ("module", "route", "command"),
    [
        ("adbc_driver_postgresql.dbapi", AdbcPostgresRoute("postgresql://h/d"), "pip install 'storekit[postgres]'"),
        ("connectorx", ConnectorxRoute("mysql://h/d"), "pip install 'storekit[mysql]'"),
    ],
)
def test_a_missing_driver_names_the_command(
    monkeypatch: pytest.MonkeyPatch, module: str, route: Route, command: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    with pytest.raises(MissingDriverError) as caught, route.open("SELECT 1", ()):
        pass
    assert caught.value.hint == command


def test_connectorx_takes_no_parameters() -> None:
    with pytest.raises(ValueError, match="literals"), ConnectorxRoute("mysql://h/d").open("SELECT 1", (1,)):
        pass


# --- cursors -----------------------------------------------------------------------------------------------------

TASK_CELLS = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "region_id": "", "key": "k"}


def by_cursor(*chunks: list[tuple[Any, ...]], names: list[str], fail: bool = False) -> pa.Table:
    closed: list[bool] = []

    @contextmanager
    def open_rows(sql: str, parameters: tuple[Any, ...]) -> Iterator[Any]:
        assert (sql, parameters) == ("SQL", (1,))

        def several() -> Iterator[list[tuple[Any, ...]]]:
            yield from chunks
            if fail:
                raise sqlite3.OperationalError("disk I/O error")

        yield several()
        closed.append(True)

    with CursorRoute(open_rows, names, where="sqlite://").open("SQL", (1,)) as reader:
        table = reader.read_all()
    assert closed
    return table


@pytest.mark.parametrize(
    ("cell", "type_"),
    [
        ("2026-11-22 10:35:18.757162", pa.string()),
        (1795343718757162, pa.int64()),
        (NOW, pa.timestamp("us", tz="UTC")),
        (NOW.astimezone(timezone(timedelta(hours=3))), pa.timestamp("us", tz="UTC")),
    ],
)
def test_a_cursor_is_typed_by_its_first_row(cell: Any, type_: pa.DataType) -> None:
    table = by_cursor([], [("k", cell, None)], [("l", cell, cell)], names=["key", "updated_at", "expires_at"])
    assert table.schema.types == [pa.string(), type_, type_]
    value = NOW if pa.types.is_timestamp(type_) else cell
    assert table.to_pylist() == [
        {"key": "k", "updated_at": value, "expires_at": None},
        {"key": "l", "updated_at": value, "expires_at": value},
    ]


@pytest.mark.parametrize("cell", [b"a\xffb", "a\udcffb"])
def test_a_cursor_replaces_what_is_not_utf8(cell: Any) -> None:
    assert by_cursor([(cell,)], names=["value"])["value"].to_pylist() == ["a\ufffdb"]


def test_a_cursor_that_fails_is_a_connect_error() -> None:
    with pytest.raises(ConnectError, match="sqlite:// cannot be read: disk I/O error"):
        by_cursor([("k",)], names=["key"], fail=True)


def test_a_cursor_of_unknown_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="nope"):
        by_cursor(names=["nope"])


def test_a_tunnel_is_not_left_for_a_socket(sandboxes: Sandboxes) -> None:
    sql = "SELECT host FROM information_schema.processlist WHERE id = connection_id()"
    with route_to(sandboxes.get("mysql"), "mysql").open(sql, ()) as reader:
        (host,) = reader.read_all().column(0).to_pylist()
    assert ":" in host  # with a port: over TCP
