"""The one door: reading by every route, and what reading must never do."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from parts import LAYOUT_NAMES, Family, Sandboxes
from stores import open_store

import storekit as sk
from storekit.clock import ManualClock
from storekit.errors import ConnectError, LayoutError, QueryError, ReadOnlyError
from storekit.metastore import MetastoreStateBackend
from storekit.testing import HOSTILE_KEYS

FIXTURES = Path(__file__).resolve().parent.parent / "data" / "fixtures"
AIRFLOW_33 = FIXTURES / "airflow-3.3.2.db"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FAMILIES: list[Family] = ["sqlite", "postgres", "mysql"]

TASK_DTYPES = {
    "dag_id": "str",
    "run_id": "str",
    "task_id": "str",
    "map_index": "int64",
    "region_id": "str",
    "key": "str",
    "value": "str",
    "value_bytes": "int64",
    "updated_at": "datetime64[us, UTC]",
    "expires_at": "datetime64[us, UTC]",
    "never_expire": "boolean",
}


def filled(sandboxes: Sandboxes, family: Family, layout: str) -> tuple[sk.Store, dict[str, str]]:
    """Return a store with a row for each hostile key, and the values by key."""
    clock = ManualClock(NOW)
    made = open_store(sandboxes, family, layout, clock=clock)
    made.add_dag_run("etl", "r1")
    scope = sk.TaskScope("etl", "r1", "load", 3)
    wide = layout == "storekit" or family != "mysql"
    values = {}
    for number, key in enumerate(HOSTILE_KEYS):
        if not wide and (max(key) > "\uffff" or key != key.rstrip(" ")):
            continue  # Airflow's own columns on MySQL cannot hold these
        values[key] = json.dumps({"é<b>": [key[:20], number]}, ensure_ascii=False) if number % 2 else "not JSON \x01 {"
        expiry = (None, NOW - timedelta(microseconds=1), NOW, NOW + timedelta(days=1))[number % 4]
        made.backend.set(scope, key, values[key], expires_at=expiry)
    if layout == "storekit":
        made.backend.set(scope, "kept", "1", expires_at=sk.NEVER_EXPIRE)
        values["kept"] = "1"
    if family != "memory":  # closing is the end of that one
        made.backend.close()
    store = sk.connect(made.backend if family == "memory" else sandboxes.get(family).url, clock=clock)
    return store, values


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
@pytest.mark.parametrize("family", FAMILIES)
class TestEveryDatabaseAndLayout:
    def test_tables_have_the_contract(self, sandboxes: Sandboxes, family: Family, layout: str) -> None:
        store, values = filled(sandboxes, family, layout)
        with store:
            frame = store.tasks()
            assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == TASK_DTYPES
            assert dict(zip(frame["key"], frame["value"], strict=True)) == values
            assert (frame["value_bytes"] == [len(values[key].encode()) for key in frame["key"]]).all()
            assert (frame["updated_at"] == NOW).all()
            assert frame["never_expire"].isna().all() == (layout != "storekit")
            assert frame["region_id"].isna().all() == (layout != "airflow-3.4")
            assert store.layout.name == layout

    def test_hostile_keys_survive_every_path(
        self, sandboxes: Sandboxes, family: Family, layout: str, tmp_path: Path
    ) -> None:
        store, values = filled(sandboxes, family, layout)
        with store:
            snap = store.snapshot()
        wanted = sorted(values)
        assert sorted(snap.tasks()["key"]) == wanted
        snap.save(tmp_path / "saved")
        preview = sk.open_snapshot(tmp_path / "saved").preview()
        assert sorted(preview.rows(verdict=None)["key"]) == wanted
        assert sorted(row["key"] for row in json.loads(str(preview.to_json(verdict=None)))["rows"]) == wanted
        table = csv.DictReader(io.StringIO(str(preview.to_csv(verdict=None)), newline=""))
        assert sorted(row["key"] for row in table) == wanted
        preview.to_parquet(tmp_path / "rows.parquet", verdict=None)
        assert sorted(pd.read_parquet(tmp_path / "rows.parquet")["key"]) == wanted

    def test_a_preview_counts_what_the_rule_says(self, sandboxes: Sandboxes, family: Family, layout: str) -> None:
        store, values = filled(sandboxes, family, layout)
        with store:
            preview = store.snapshot().preview()
        held = [key for key in HOSTILE_KEYS if key in values]
        expired = [key for key in held if HOSTILE_KEYS.index(key) % 4 == 1]  # NOW itself is kept
        assert preview.deleted == len(expired)
        assert preview.deleted_bytes == sum(len(values[key].encode()) for key in expired)
        assert preview.kept == len(values) - len(expired)
        assert sorted(preview.rows()["key"]) == sorted(expired)

    def test_nothing_can_be_written(self, sandboxes: Sandboxes, family: Family, layout: str) -> None:
        store, values = filled(sandboxes, family, layout)
        with store:
            with pytest.raises(ReadOnlyError, match="writable=True"):
                _ = store.backend
            with pytest.raises(ReadOnlyError):  # and past our own door it is the database that refuses
                store._database.run(lambda c: c.execute(store.layout.task_store.delete()))
            assert len(store.tasks()) == len(values)

    def test_filters_are_evaluated_by_the_database(self, sandboxes: Sandboxes, family: Family, layout: str) -> None:
        store, values = filled(sandboxes, family, layout)
        with store:
            for key in values:
                assert store.tasks(where={"key": key})["value"].tolist() == [values[key]]
            two = list(values)[:2]
            assert sorted(store.tasks(where={"key": two, "map_index": 3})["key"]) == sorted(two)
            assert store.tasks(where={"dag_id": "'; DROP TABLE x; --\\"}).empty
            with pytest.raises(QueryError, match="nope"):
                store.tasks(where={"nope": 1})

    def test_other_libraries_take_the_stream(self, sandboxes: Sandboxes, family: Family, layout: str) -> None:
        store, values = filled(sandboxes, family, layout)
        with store:
            scan = store.scan_tasks()
            assert pl.DataFrame(scan)["key"].sort().to_list() == sorted(values)
            assert pa.table(scan).num_rows == len(values)
            assert sum(len(frame) for frame in scan.frames()) == len(values)


def test_a_store_in_memory_reads_like_the_others(sandboxes: Sandboxes) -> None:
    store, values = filled(sandboxes, "memory", "storekit")
    frame = store.tasks(decode=True)
    assert dict(zip(frame["key"], frame["value"], strict=True)) == values
    assert frame.loc[frame["value"].str.startswith("not JSON"), "decode_error"].notna().all()
    assert len(store.snapshot()) == len(values)


@pytest.mark.parametrize(
    ("dtype_backend", "text"), [("numpy_nullable", "string"), ("pyarrow", "large_string[pyarrow]"), (None, "str")]
)
def test_dtype_backends(dtype_backend: str | None, text: str) -> None:
    with sk.connect(AIRFLOW_33) as store:
        frame = store.tasks(dtype_backend=dtype_backend)  # type: ignore[arg-type]
    assert str(frame["dag_id"].dtype) == text
    assert len(frame) == 104


# --- a database is not changed by being looked at --------------------------------------------------------------


def fingerprint(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def look_at_everything(path: Path) -> int:
    with sk.connect(path) as store:
        store.tasks()
        store.assets(decode=True)
        store.counts()
        return store.snapshot().preview(now="2026-11-28T00:00:00Z").deleted


@contextmanager
def as_nobody() -> Iterator[None]:
    """Drop root for a while: root may write what is read-only."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def copy_in(folder: Path, *, wal: bool) -> Path:
    folder.mkdir()
    path = folder / "airflow.db"
    shutil.copy(AIRFLOW_33, path)
    if wal:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE scratch (x)")
        connection.close()
    return path


@pytest.mark.parametrize("wal", [False, True], ids=["rollback-journal", "wal"])
def test_looking_changes_not_one_byte(tmp_path: Path, wal: bool) -> None:
    path = copy_in(tmp_path / "db", wal=wal)
    before = path.read_bytes()
    assert look_at_everything(path) == 32
    assert path.read_bytes() == before


@pytest.mark.parametrize("wal", [False, True], ids=["rollback-journal", "wal"])
def test_a_read_only_file_in_a_read_only_folder(request: pytest.FixtureRequest, wal: bool) -> None:
    folder = Path(tempfile.mkdtemp())  # not pytest's own: that one is closed to other users
    request.addfinalizer(lambda: shutil.rmtree(folder))
    folder.chmod(0o755)
    path = copy_in(folder / "db", wal=wal)
    before = fingerprint(path.parent)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    look_at_everything(AIRFLOW_33)  # what is imported on use is imported before root is dropped
    try:
        with as_nobody():
            with pytest.raises(PermissionError):
                (path.parent / "new").touch()
            assert look_at_everything(path) == 32
    finally:
        path.parent.chmod(0o755)
    assert fingerprint(path.parent) == before


def test_a_database_user_who_may_only_read(sandboxes: Sandboxes) -> None:
    store, values = filled(sandboxes, "postgres", "airflow-3.3")
    store.close()
    sandbox = sandboxes.get("postgres")
    role = f"sktest_reader_{os.getpid()}"
    with sandbox.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {role} LOGIN"))
        connection.execute(sa.text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
    try:
        url = sa.make_url(sandbox.url).set(username=role)
        with sk.connect(url) as reader:
            assert len(reader.tasks()) == len(reader.snapshot()) == len(values)
    finally:
        with sandbox.engine.begin() as connection:
            connection.execute(sa.text(f"DROP OWNED BY {role}"))
            connection.execute(sa.text(f"DROP ROLE {role}"))


def test_a_snapshot_is_one_instant(tmp_path: Path) -> None:
    """Rows move between the tables while it is read: their sum never changes."""
    path = tmp_path / "store.db"
    backend = MetastoreStateBackend(path)
    backend.create_tables()
    backend.add_dag_run("d", "r")
    for number in range(50):
        backend.set(sk.TaskScope("d", "r", "t"), f"k{number}", "1")
    with sk.connect(path) as store:
        snap = store.snapshot()
    backend.clear(sk.TaskScope("d", "r", "t"))
    assert len(snap) == 50
    assert len(snap.tasks()) == 50


# --- what cannot be opened -------------------------------------------------------------------------------------


def truncated(folder: Path) -> Path:
    path = folder / "cut.db"
    path.write_bytes(AIRFLOW_33.read_bytes()[:300_000])
    return path


def not_a_database(folder: Path) -> Path:
    path = folder / "notes.db"
    path.write_text("this is no database, but it is long enough to be read as the header of one" * 20)
    return path


def without_tables(folder: Path) -> Path:
    path = folder / "empty.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE dag (x)")
    connection.close()
    return path


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda folder: folder / "nope.db", ConnectError, "no such file"),
        (lambda folder: folder, ConnectError, "is a folder"),
        (not_a_database, ConnectError, "not a SQLite database"),
        (truncated, ConnectError, "damaged"),
        (without_tables, LayoutError, "task_state_store"),
        (lambda _: "oracle://db/x", ConnectError, "unknown database scheme 'oracle'"),
        (lambda _: "postgresql://u:secret@127.0.0.1:1/x", ConnectError, "cannot be reached"),
        (lambda _: "", ConnectError, "neither a database URL nor a file"),
    ],
    ids=["missing", "folder", "not-a-database", "truncated", "no-tables", "scheme", "no-server", "empty"],
)
def test_one_clear_error(make: object, kind: type[Exception], said: str, tmp_path: Path) -> None:
    source = make(tmp_path)  # type: ignore[operator]
    with pytest.raises(kind, match=said) as caught, sk.connect(source) as store:
        store.tasks()
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "nope.db").exists()


def test_no_url_means_what_airflow_configures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "airflow.cfg").write_text(
        f"[database]\nsql_alchemy_conn = sqlite:///{AIRFLOW_33}\n[state_store]\nbackend = my.package.Backend\n"
    )
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    with sk.connect() as store:
        preview = store.snapshot().preview()
    assert any("my.package.Backend" in note for note in preview.notes)
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{FIXTURES / 'airflow-3.4-schema.db'}")
    with sk.connect() as store:
        assert store.layout.name == "airflow-3.4"


def test_two_stores_in_one_database_need_a_name(tmp_path: Path) -> None:
    path = copy_in(tmp_path / "db", wal=False)
    own = MetastoreStateBackend("sqlite://")
    own.create_tables()
    ddl = [str(row[0]) for row in own.database.run(lambda c: c.exec_driver_sql("SELECT sql FROM sqlite_master").all())]
    connection = sqlite3.connect(path)
    for statement in ddl:
        if statement.startswith(("CREATE TABLE task_store", "CREATE TABLE asset_store")):
            connection.execute(statement)
    connection.close()
    with pytest.raises(LayoutError, match="more than one"):
        sk.connect(path)
    with sk.connect(path, layout="airflow-3.3") as store:
        assert len(store.tasks()) == 104
