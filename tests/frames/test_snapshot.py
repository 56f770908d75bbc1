"""Snapshots: what they hold, that they cannot change, saving and opening, differences."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contract_rows import HOSTILE, SCHEMA, TICK, T, asset_row, info, many_rows, reader, snapshot, task_row
from hypothesis import given, settings
from profiles import ON_CI
from pydantic import ValidationError

from storekit.errors import ConnectError, QueryError, SnapshotError
from storekit.frames import saved
from storekit.frames.contract import ASSETS, TASKS
from storekit.frames.dtypes import to_frame
from storekit.frames.snapshot import FORMAT_VERSION, Snapshot, SnapshotInfo, open_snapshot

TWO = [task_row(expires_at=T, never_expire=False), asset_row()]


def bag(rows: Any) -> list[str]:
    # An instant's repr tells which class its zone is; its text does not.
    return sorted(repr([str(row[name]) for name in SCHEMA.names]) for row in rows)


def contents(of: Snapshot) -> list[str]:
    return bag(of.to_reader().read_all().to_pylist())


# --- what it holds ---------------------------------------------------------------------------------------------


@given(rows=many_rows())
def test_it_holds_the_rows_it_was_given(rows: list[dict[str, Any]]) -> None:
    taken = snapshot(rows)
    assert contents(taken) == bag(rows)
    assert len(taken) == len(rows)
    assert taken.info.task_rows == len(taken.tasks()) == sum(row["store"] == "task" for row in rows)
    assert taken.info.asset_rows == len(taken.assets()) == sum(row["store"] == "asset" for row in rows)
    assert taken.value_bytes == sum(row["value_bytes"] for row in rows)


def test_more_rows_than_one_chunk_arrive_once_each() -> None:
    rows = pa.RecordBatch.from_pylist([task_row(key=str(number)) for number in range(1000)], schema=SCHEMA)
    batches = (rows.set_column(3, SCHEMA.field("task_id"), pa.array([str(number)] * 1000)) for number in range(260))
    taken = Snapshot.from_reader(pa.RecordBatchReader.from_batches(SCHEMA, batches), info())
    found = taken.sql("SELECT count(*) AS n, count(DISTINCT (task_id, key)) AS d FROM rows").iloc[0]
    assert (len(taken), found["n"], found["d"]) == (260_000, 260_000, 260_000)


def test_frames_are_what_the_store_hands_out() -> None:
    taken = snapshot([task_row(key="b"), task_row(key="a", map_index=0), asset_row()])
    for frame, table in ((taken.tasks(), TASKS), (taken.assets(), ASSETS)):
        empty = to_frame([], table.schema(values=False))
        pd.testing.assert_series_equal(frame.dtypes, empty.dtypes)
    assert list(taken.tasks()["key"]) == ["b", "a"]  # by map_index before key
    none = snapshot([])
    pd.testing.assert_series_equal(none.tasks().dtypes, taken.tasks().dtypes)
    pd.testing.assert_series_equal(none.assets().dtypes, taken.assets().dtypes)


def test_hostile_texts_come_back() -> None:
    rows = [task_row(key=text, dag_id=text) for text in HOSTILE] + [asset_row(key=text) for text in HOSTILE]
    taken = snapshot(rows)
    assert sorted(taken.tasks()["key"]) == sorted(HOSTILE)
    assert sorted(taken.assets()["key"]) == sorted(HOSTILE)
    for text in HOSTILE:
        assert taken.sql("SELECT count(*) AS n FROM tasks WHERE key = $key AND dag_id = $key", key=text)["n"][0] == 1


def test_anything_that_reads_arrow_can_read_it() -> None:
    taken = snapshot(TWO)
    assert pa.table(taken).schema == SCHEMA
    assert pl.DataFrame(taken).height == 2


def test_rows_that_break_the_contract_are_refused() -> None:
    names = [name for name in SCHEMA.names if name != "key"]
    with pytest.raises(SnapshotError, match=r"missing \['key'\]"):
        Snapshot.from_reader(pa.RecordBatchReader.from_batches(pa.schema([SCHEMA.field(n) for n in names]), []), info())
    wrong = SCHEMA.set(SCHEMA.get_field_index("value_bytes"), pa.field("value_bytes", pa.float64()))
    with pytest.raises(SnapshotError, match="value_bytes is double, not int64"):
        Snapshot.from_reader(pa.RecordBatchReader.from_batches(wrong, []), info())
    swapped = pa.schema([SCHEMA.field(name) for name in reversed(SCHEMA.names)])
    with pytest.raises(SnapshotError, match="another order"):
        Snapshot.from_reader(pa.RecordBatchReader.from_batches(swapped, []), info())
    batch = pa.RecordBatch.from_arrays([pa.nulls(1, field.type) for field in SCHEMA], schema=SCHEMA)
    with pytest.raises(SnapshotError, match="NOT NULL"):
        Snapshot.from_reader(pa.RecordBatchReader.from_batches(SCHEMA, [batch]), info())
    with pytest.raises(SnapshotError, match=r"holds x\\x1b"):
        snapshot([task_row(store="x\x1b")])


def test_an_error_while_reading_is_the_readers_own() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from reader(TWO)
        raise ConnectError("the connection broke", hint="again")

    with pytest.raises(ConnectError, match="the connection broke"):
        Snapshot.from_reader(pa.RecordBatchReader.from_batches(SCHEMA, batches()), info())


def test_nothing_is_left_of_a_closed_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    taken = snapshot(TWO)
    (spill,) = tmp_path.iterdir()
    assert spill.stat().st_mode & 0o077 == 0
    taken.close()
    assert not list(tmp_path.iterdir())


def test_a_closed_snapshot_says_so() -> None:
    taken = snapshot(TWO)
    preview = taken.preview()
    taken.close()
    taken.close()
    for ask in (
        lambda: taken.sql("SELECT 1"),
        taken.tasks,
        taken.assets,
        taken.to_reader,
        lambda: taken.preview().deleted,
        preview.rows,
        lambda: repr(preview),
        lambda: taken.diff(snapshot([])),
        lambda: taken.equals(taken),
    ):
        with pytest.raises(SnapshotError, match="this snapshot is closed") as caught:
            ask()
        assert caught.value.hint
    assert (len(taken), "task rows" in repr(taken)) == (2, True)


@pytest.mark.parametrize("sizes", [[2**62, 2**62], [-1, 5], [2**63 - 1, 2**63 - 1, 2**63 - 1]])
@pytest.mark.parametrize("make", [task_row, asset_row])
def test_sizes_that_are_none_are_refused(sizes: list[int], make: Any) -> None:
    with pytest.raises(SnapshotError) as caught:
        snapshot([task_row(value_bytes=sizes[0]), *(make(key=str(s), value_bytes=s) for s in sizes[1:])])
    assert caught.value.hint


# --- SQL -------------------------------------------------------------------------------------------------------

OUTSIDE = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_parquet('https://example.org/x.parquet')",
    "SELECT * FROM glob('/*')",
    "FROM '/etc/passwd'",
    "FROM frame",
]
CHANGES = [
    "INSERT INTO rows SELECT * FROM rows",
    "WITH x AS (SELECT 1) INSERT INTO rows SELECT * FROM rows",
    "UPDATE rows SET key = 'x'",
    "DELETE FROM rows",
    "DELETE FROM rows RETURNING *",
    "TRUNCATE rows",
    "DROP TABLE rows",
    "DROP VIEW tasks",
    "ALTER TABLE rows ADD COLUMN x INT",
    "CREATE TABLE x AS SELECT 1",
    "CREATE TEMP TABLE rows AS SELECT 1",
    "CREATE MACRO instant(x) AS NULL",
    "ATTACH 'x.db'",
    "ATTACH ':memory:' AS x",
    "DETACH snap",
    "USE memory",
    "COPY rows TO 'x.csv'",
    "EXPORT DATABASE 'x'",
    "SET threads = 1",
    "SET VARIABLE x = 1",
    "RESET TimeZone",
    "PRAGMA database_list",
    "PRAGMA threads = 1",
    "CALL pragma_version()",
    "INSTALL httpfs",
    "LOAD httpfs",
    "BEGIN",
    "COMMIT",
    "CHECKPOINT",
    "VACUUM",
    "PREPARE x AS SELECT 1",
    "EXPLAIN ANALYZE INSERT INTO rows SELECT * FROM rows",
    "EXPLAIN ANALYZE DELETE FROM rows",
    "EXPLAIN /* */ ANALYZE COMMIT",
    "/* explain (*/ EXPLAIN ANALYZE COMMIT -- ) */ select 1",
    "-- explain select 1\nEXPLAIN ANALYZE COMMIT",
    "EXPLAIN (ANALYZE) COMMIT",
    "EXPLAIN (FORMAT json, ANALYZE) DELETE FROM rows",
    "EXPLAIN ANALYZE SELECT 1; COMMIT",
    "EXPLAIN ANALYZE FROM checkpoint()",
    "FROM checkpoint()",
    'FROM "CheckPoint"()',
    "FROM system.main.checkpoint()",
    "SELECT (WITH x AS (FROM checkpoint('snap')) SELECT count(*) FROM x)",
    "DESCRIBE FROM checkpoint()",
    "FROM query('FROM checkpoint()')",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM checkpoint()'))",
    "FROM truncate_duckdb_logs()",
    "SELECT write_log('x')",
    "FROM enable_logging()",
    "FROM disable_profiling()",
    "FROM destroy_external_resource('checkpoint', 'snap')",
    "FROM arrow_scan()",
    "PIVOT rows ON store USING count(*)",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE rows",
    "",
    "-- nothing",
]


@pytest.mark.parametrize("query", OUTSIDE + CHANGES)
def test_sql_can_neither_reach_outside_nor_change_anything(
    query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # DuckDB looks for variables where it is called from.
    monkeypatch.setattr("storekit.engines.duckdb.frame", pd.DataFrame({"secret": [1]}), raising=False)
    taken = snapshot(TWO)
    before = contents(taken)
    with pytest.raises(QueryError) as caught:
        taken.sql(query)
    assert caught.value.hint
    assert contents(taken) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO rows SELECT * FROM rows",
        "DROP TABLE rows",
        "CREATE TABLE x AS SELECT 1",
        "DELETE FROM rows",
    ],
)
def test_the_transaction_alone_keeps_it_frozen(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The second lock: what if the parsed statement were taken for a question?
    monkeypatch.setattr("storekit.engines.duckdb._one_reading_statement", lambda cursor, sql: sql)
    taken = snapshot(TWO)
    before = contents(taken)
    with pytest.raises(QueryError, match="read-only"):
        taken.sql(query)
    assert contents(taken) == before


@pytest.mark.parametrize("query", ["SET threads = 1", "SET enable_external_access = true", "RESET memory_limit"])
def test_the_configuration_alone_keeps_it_closed(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storekit.engines.duckdb._one_reading_statement", lambda cursor, sql: sql)
    with pytest.raises(QueryError, match=r"locked|Cannot change"):
        snapshot(TWO).sql(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM rows",
        "FROM tasks",
        "WITH x AS (FROM assets) SELECT * FROM x",
        "VALUES (1), (2)",
        "EXPLAIN SELECT * FROM rows",
        "EXPLAIN ANALYZE SELECT * FROM rows",
        "\n explain\tanalyze (FROM rows)",
        "-- what is there\nSELECT * FROM rows -- ;",
        "SELECT * FROM range(3), generate_series(1, 2)",
        "DESCRIBE rows",
        "SUMMARIZE tasks",
        "SHOW TABLES",
        "PIVOT rows ON store IN ('task', 'asset') USING sum(value_bytes)",
    ],
)
def test_questions_are_answered(query: str) -> None:
    assert len(snapshot(TWO).sql(query)) > 0


@pytest.mark.parametrize(
    ("query", "params", "said"),
    [
        ("SELEC 1", {}, "syntax error"),
        ("SELECT nope FROM rows", {}, "nope"),
        ("SELECT * FROM nope", {}, "nope"),
        ("SELECT $a", {}, "not provided"),
        ("SELECT 1", {"a": 1}, "count mismatch"),
        ("SELECT $a", {"a": object()}, "Unable to transform"),
        ("SELECT CAST('x' AS INT)", {}, "Could not convert"),
    ],
)
def test_wrong_sql_is_said_in_duckdbs_words(query: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(QueryError, match=said) as caught:
        snapshot(TWO).sql(query, **params)
    assert caught.value.hint


def test_dtypes_of_an_answer_depend_on_the_column_only() -> None:
    query = """SELECT count(*) AS n, sum(value_bytes) AS total, max(map_index) AS top, bool_and(never_expire) AS flag,
        max(expires_at) AS at, max(expires_at) - min(updated_at) AS span, avg(value_bytes) AS mean, max(key) AS text
        FROM tasks"""
    expected = ["Int64", "Int64", "Int64", "boolean", "datetime64[us, UTC]", "timedelta64[us]", "float64", "str"]
    for rows in (TWO, [task_row()], []):
        assert [str(dtype) for dtype in snapshot(rows).sql(query).dtypes] == expected
    full = snapshot(TWO).sql(query).iloc[0]
    assert (full["n"], full["total"], full["at"], full["span"]) == (1, 10, T, timedelta(days=1))


def test_a_query_may_have_a_parameter_named_query() -> None:
    assert snapshot(TWO).sql("SELECT $query AS q", query="x")["q"][0] == "x"


def test_threads_can_ask_at_once() -> None:
    taken = snapshot([task_row(key=str(number)) for number in range(5000)])
    found: list[int] = []

    def ask() -> None:
        for _ in range(5):
            found.append(int(taken.sql("SELECT count(*) AS n FROM rows")["n"][0]))  # noqa: PERF401

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [5000] * 20


# --- metadata --------------------------------------------------------------------------------------------------


def test_the_instant_is_kept_in_utc_and_must_be_aware() -> None:
    elsewhere = info(taken_at=T.astimezone(timezone(timedelta(hours=5, minutes=45))))
    assert (elsewhere.taken_at, elsewhere.taken_at.tzinfo) == (T, UTC)
    with pytest.raises(ValidationError):
        info(taken_at=datetime(2026, 11, 22))  # noqa: DTZ001


@pytest.mark.parametrize(
    "database",
    [
        "postgresql://me:s3cret@host/airflow",
        "mysql://host/airflow?password=s3cret",
        "postgresql://h/d?sslPassword=s3cret",
    ],
)
def test_a_password_is_refused_and_not_repeated(database: str) -> None:
    with pytest.raises(ValidationError) as caught:
        info(database=database)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "database", ["sqlite:///x?password.db", "sqlite:////a/b?password=x.db", "sqlite:// (in memory)"]
)
def test_a_sqlite_files_name_is_no_credential(database: str) -> None:
    assert info(database=database).database == database


@pytest.mark.parametrize("version", ["1", 0, -1, True, 1.5, FORMAT_VERSION + 1])
def test_a_format_is_a_number_that_this_storekit_writes(version: Any) -> None:
    with pytest.raises(ValidationError):
        info(format_version=version)


def test_the_card_escapes_what_it_shows() -> None:
    taken = snapshot(TWO, database="sqlite:///<b>\x1b.db", custom_backend="my.<i>Backend")
    assert "<b>\\x1b.db" in repr(taken)
    assert "\x1b" not in repr(taken)
    page = taken._repr_html_()
    assert "&lt;b&gt;\\x1b.db" in page
    assert "<i>" not in page
    assert "cleanup is skipped" in page


# --- saving ----------------------------------------------------------------------------------------------------


@settings(max_examples=settings.default.max_examples if ON_CI else 8)
@given(rows=many_rows())
def test_saved_and_opened_it_is_equal(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    taken = snapshot(rows, custom_backend="my.Backend")
    opened = open_snapshot(taken.save(tmp_path_factory.mktemp("saved")))
    assert opened.info == taken.info
    assert contents(opened) == contents(taken) == bag(rows)
    assert opened.equals(taken)
    assert taken.equals(opened)


def test_equality_sees_every_column_and_the_metadata() -> None:
    taken = snapshot(TWO)
    assert taken.equals(snapshot(list(reversed(TWO))))
    assert not taken.equals(snapshot(TWO, layout="airflow-3.3"))
    assert not taken.equals(snapshot(TWO[:1]))
    one, other = task_row(key="one"), task_row(key="other")
    assert not snapshot([one, one, other]).equals(snapshot([one, other, other]))
    for field in SCHEMA:
        if field.name == "store":
            continue
        number = 1 if TWO[1][field.name] is not None else 0
        changed = [dict(row) for row in TWO]
        old = changed[number][field.name]
        changed[number][field.name] = {
            bool: lambda old: not old,
            int: lambda old: old + 1,
            str: lambda old: old + "x",
            datetime: lambda old: old + TICK,
            type(None): lambda _: {pa.string(): "x", pa.bool_(): True}.get(field.type, 5),  # noqa: B023
        }[type(old)](old)
        assert not taken.equals(snapshot(changed)), field.name


def test_a_saved_snapshot_is_plain_parquet_readable_by_others(tmp_path: Path) -> None:
    directory = snapshot(TWO).save(tmp_path / "saved")
    assert sorted(path.name for path in directory.iterdir()) == ["rows.parquet", "snapshot.json"]
    assert pq.read_schema(directory / "rows.parquet") == SCHEMA
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o007])
def test_what_is_saved_follows_the_umask_and_leaves_it_alone(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The umask is the process's: what changes it for a moment changes it for all threads.
    before = os.umask(umask)
    try:
        with monkeypatch.context() as patch:
            patch.delattr(os, "umask")
            directory = snapshot(TWO).save(tmp_path / "saved")
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o777 == 0o777 & ~umask
    for path in directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_only_a_saved_snapshot_is_replaced_and_only_when_asked(tmp_path: Path) -> None:
    first, second = snapshot(TWO), snapshot(TWO[:1])
    directory = first.save(tmp_path / "saved")
    with pytest.raises(SnapshotError, match="not empty"):
        second.save(directory)
    assert open_snapshot(directory).equals(first)
    assert second.save(directory, overwrite=True) == directory
    assert open_snapshot(directory).equals(second)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]

    (directory / "thesis.txt").write_text("mine")
    with pytest.raises(SnapshotError, match=r"thesis\.txt"):
        first.save(directory, overwrite=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "snapshot.json").write_text('{"kind": "something else"}')
    with pytest.raises(SnapshotError, match="something else than"):
        first.save(other, overwrite=True)
    link = tmp_path / "link"
    link.symlink_to(directory)
    for target in (link, directory / "thesis.txt"):
        with pytest.raises(SnapshotError, match="not a directory"):
            first.save(target, overwrite=True)
    with pytest.raises(SnapshotError, match="does not exist"):
        first.save(tmp_path / "no" / "where")
    assert (directory / "thesis.txt").read_text() == "mine"


def test_an_empty_directory_may_be_there(tmp_path: Path) -> None:
    assert len(open_snapshot(snapshot(TWO).save(tmp_path))) == 2


@pytest.mark.parametrize("step", ["_sha256", "_flush", "_put"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_midway_leaves_what_was_there(
    step: str, overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "saved"
    if overwrite:
        snapshot(TWO).save(directory)

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(saved, step, fails)
        with pytest.raises(SnapshotError, match="No space left"):
            snapshot(TWO[:1]).save(directory, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == (["saved"] if overwrite else [])
    if overwrite:
        assert len(open_snapshot(directory)) == 2


def test_a_failed_second_rename_brings_the_old_snapshot_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = snapshot(TWO).save(tmp_path / "saved")
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.suffix == ".partial":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fails)
        with pytest.raises(SnapshotError, match="Input/output"):
            snapshot(TWO[:1]).save(directory, overwrite=True)
    assert len(open_snapshot(directory)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def _rewrite(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        manifest = json.loads((directory / "snapshot.json").read_text())
        change(manifest)
        (directory / "snapshot.json").write_text(json.dumps(manifest))

    return apply


def _flip_a_byte(directory: Path) -> None:
    path = directory / "rows.parquet"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def _other_rows(rows: pa.Table | bytes) -> Callable[[Path], None]:
    """Replace the Parquet, checksum included: what it holds is then what is wrong."""

    def apply(directory: Path) -> None:
        path = directory / "rows.parquet"
        if isinstance(rows, bytes):
            path.write_bytes(rows)
        else:
            pq.write_table(rows, path)
        sums = {"sha256": saved._sha256(path), "bytes": path.stat().st_size}
        _rewrite(lambda manifest: manifest["files"].update({"rows.parquet": sums}))(directory)

    return apply


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda directory: (directory / "snapshot.json").unlink(), "not a saved snapshot"),
        (lambda directory: (directory / "snapshot.json").write_text("{"), "cannot be read"),
        (lambda directory: (directory / "snapshot.json").write_bytes(b"\xff\xfe\x00"), "cannot be read"),
        (lambda directory: (directory / "snapshot.json").write_text("[]"), "not the metadata"),
        (lambda directory: (directory / "rows.parquet").unlink(), "No such file"),
        (_flip_a_byte, "SHA-256"),
        (lambda directory: (directory / "rows.parquet").write_bytes(b""), "SHA-256"),
        (_rewrite(lambda manifest: manifest.pop("files")), "SHA-256"),
        (_rewrite(lambda manifest: manifest.update(files=[])), "SHA-256"),
        (_rewrite(lambda manifest: manifest["files"].update({"rows.parquet": []})), "SHA-256"),
        (_rewrite(lambda manifest: manifest.pop("info")), "damaged"),
        (_rewrite(lambda manifest: manifest["info"].update(format_version="9")), "format_version"),
        (_rewrite(lambda manifest: manifest["info"].update(format_version=0)), "format_version"),
        (_rewrite(lambda manifest: manifest["info"].update(format_version=True)), "format_version"),
        (_other_rows(pa.Table.from_pylist([{**row, "value_bytes": 2**63 - 1} for row in TWO], SCHEMA)), "no sizes"),
        (lambda directory: (directory / "snapshot.json").write_text("[" * 200_000), "cannot be read"),
        (_rewrite(lambda manifest: manifest["info"].update(format_version=2)), "format 2; this storekit reads up to 1"),
        (_rewrite(lambda manifest: manifest["info"].update(taken_at="2026-11-22T10:00:00")), "taken_at"),
        (_rewrite(lambda manifest: manifest["info"].update(surprise=1)), "surprise"),
        (_rewrite(lambda manifest: manifest["info"].update(task_rows=7)), "has 1 task and 1 asset rows"),
        (_other_rows(pa.table({"x": [1]})), "columns are not a snapshot's"),
        (_other_rows(b"PAR1 not really PAR1"), "not Parquet"),
        (_other_rows(pa.Table.from_pylist(TWO[:1], schema=SCHEMA)), "has 1 task and 0 asset rows"),
    ],
)
def test_what_is_not_what_was_saved_is_refused(damage: Callable[[Path], Any], said: str, tmp_path: Path) -> None:
    directory = snapshot(TWO).save(tmp_path / "saved")
    open_snapshot(directory)
    damage(directory)
    with pytest.raises(SnapshotError, match=said) as caught:
        open_snapshot(directory)
    assert caught.value.hint


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="there is no"):
        open_snapshot(tmp_path / "nowhere")


# --- differences -----------------------------------------------------------------------------------------------

KEYED = ("store", "dag_id", "run_id", "task_id", "map_index", "region_id", "asset_name", "asset_uri", "key")


def model(older: list[dict[str, Any]], newer: list[dict[str, Any]]) -> dict[tuple[Any, ...], tuple[str, bool]]:
    """What differs, by dictionaries."""
    was = {tuple(row[name] for name in KEYED): row for row in older}
    now = {tuple(row[name] for name in KEYED): row for row in newer}
    changes: dict[tuple[Any, ...], tuple[str, bool]] = {}
    for key in was.keys() | now.keys():
        if key not in was:
            changes[key] = ("appeared", False)
        elif key not in now:
            changes[key] = ("disappeared", False)
        else:
            a, b = was[key], now[key]
            expiry = (a["expires_at"], a["never_expire"]) != (b["expires_at"], b["never_expire"])
            if (a["updated_at"], a["value_bytes"]) != (b["updated_at"], b["value_bytes"]):
                changes[key] = ("rewritten", expiry)
            elif expiry:
                changes[key] = ("expiry", True)
    return changes


@settings(max_examples=settings.default.max_examples if ON_CI else 8)
@given(one=many_rows(), other=many_rows())
def test_a_diff_is_what_dictionaries_say(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    # Some rows are shared as they are, so that "unchanged" is reached too.
    newer = list({tuple(row[name] for name in KEYED): row for row in [*other, *one[::2]]}.values())
    diff = snapshot(newer).diff(snapshot(one))
    table = pa.Table.from_pandas(diff.rows())
    found = {tuple(row[name] for name in KEYED): (row["change"], row["expiry_changed"]) for row in table.to_pylist()}
    expected = model(one, newer)
    assert found == expected
    kinds = [change for change, _ in expected.values()]
    assert (diff.appeared, diff.disappeared, diff.rewritten) == tuple(
        kinds.count(kind) for kind in ("appeared", "disappeared", "rewritten")
    )
    assert diff.expiry_changed == sum(expiry for _, expiry in expected.values())
    assert diff.added_bytes == sum(r["value_bytes"] for r in newer) - sum(r["value_bytes"] for r in one)
    assert bool(diff) == bool(expected)


@pytest.mark.parametrize(
    ("change", "kind", "expiry_changed"),
    [
        ({"updated_at": T}, "rewritten", False),
        ({"value_bytes": 11}, "rewritten", False),
        ({"updated_at": T, "expires_at": None}, "rewritten", True),
        ({"expires_at": T + TICK}, "expiry", True),
        ({"expires_at": None}, "expiry", True),
        ({"never_expire": True}, "expiry", True),
        ({"never_expire": None}, "expiry", True),
        ({"last_updated_by_kind": "api"}, None, None),
    ],
)
def test_each_kind_of_change(change: dict[str, Any], kind: str | None, expiry_changed: bool | None) -> None:
    row = task_row(expires_at=T, never_expire=False)
    diff = snapshot([{**row, **change}]).diff(snapshot([row]))
    found = [tuple(each) for each in diff.rows()[["change", "expiry_changed"]].itertuples(index=False)]
    assert found == ([] if kind is None else [(kind, expiry_changed)])


def test_a_region_is_part_of_the_key_and_null_is_one_key() -> None:
    zero, one = "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"
    older = snapshot([task_row(region_id=zero), task_row(region_id=None, key="n")])
    newer = snapshot([task_row(region_id=one), task_row(region_id=None, key="n")])
    rows = newer.diff(older).rows()
    assert sorted(zip(rows["change"], rows["region_id"], strict=True)) == [("appeared", one), ("disappeared", zero)]


def test_an_asset_is_known_by_name_not_by_its_reused_id() -> None:
    older, newer = snapshot([asset_row(asset_id=3)]), snapshot([asset_row(asset_id=3, asset_name="other")])
    assert (newer.diff(older).appeared, newer.diff(older).disappeared) == (1, 1)
    assert not snapshot([asset_row(asset_id=4)]).diff(snapshot([asset_row(asset_id=3)]))


def test_rows_of_a_diff_show_both_sides() -> None:
    older = snapshot([task_row(expires_at=T), task_row(key="gone")])
    newer = snapshot([task_row(expires_at=None, updated_at=T, value_bytes=11), task_row(key="new")])
    diff = newer.diff(older)
    rewritten = diff.rows("rewritten").iloc[0]
    assert (rewritten["older_value_bytes"], rewritten["value_bytes"]) == (10, 11)
    assert (rewritten["older_expires_at"], rewritten["updated_at"]) == (T, T)
    assert pd.isna(rewritten["expires_at"])
    assert list(diff.rows("appeared")["key"]) == ["new"]
    assert list(diff.rows(limit=1, offset=1)["key"]) == list(diff.rows()["key"])[1:2]
    with pytest.raises(QueryError, match="no change 'vanished'"):
        diff.rows("vanished")  # type: ignore[arg-type]
    assert "rewritten                  1" in repr(diff)


def test_what_cannot_be_compared_is_noted() -> None:
    older = snapshot(TWO, taken_at=T + TICK, database="sqlite:///other.db", layout="airflow-3.4")
    notes = snapshot(TWO).diff(older).notes
    assert [note.split()[0] for note in notes] == ["The", "They", "The"]
    assert not snapshot(TWO).diff(snapshot(TWO)).notes


def test_info_is_immutable() -> None:
    held: SnapshotInfo = info()
    with pytest.raises(ValidationError):
        held.layout = "other"  # type: ignore[misc]
