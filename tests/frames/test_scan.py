"""A scan as every kind of table, its dtypes, and when it opens and closes what it reads."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from filled import fill

from storekit import connect
from storekit.errors import ConnectError, QueryError, SnapshotError
from storekit.frames.contract import ASSETS, TASKS, Table
from storekit.frames.scan import TableScan
from storekit.frames.wire import BatchTooLargeError
from storekit.metastore.layouts import STOREKIT

NOW = datetime(2026, 11, 22, 10, 35, 18, 757162, tzinfo=UTC)
ROWS = [
    {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "region_id": None, "key": "a\x00😀<b>"}
    | {"value": '{"a": [1, null]}', "value_bytes": 16, "updated_at": NOW, "expires_at": NOW, "never_expire": False},
    {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": 2**40, "region_id": None, "key": "k"}
    | {"value": "s3://not/json", "value_bytes": 13, "updated_at": NOW, "expires_at": None, "never_expire": None},
    {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": 0, "region_id": None, "key": "l"}
    | {"value": "null", "value_bytes": 4, "updated_at": NOW, "expires_at": None, "never_expire": True},
]


class Source:
    """A wire reader that counts how often it is opened, read and closed."""

    def __init__(self, table: Table = TASKS, *, values: bool = True, rows: list[dict[str, Any]] | None = None) -> None:
        self.opened = self.read = self.closed = 0
        self.fail = False
        schema = table.schema(values=values)
        self.truth = pa.Table.from_pylist(
            [{name: row[name] for name in schema.names} for row in (ROWS if rows is None else rows)], schema
        )
        self.scan = TableScan(table, self.open, values=values)

    @contextmanager
    def open(self) -> Iterator[pa.RecordBatchReader]:
        if self.fail:
            raise ConnectError("gone")
        self.opened += 1
        # The wire form that is nearest to the contract: instants as such, flags as numbers.
        wire = self.truth
        for name in ("never_expire", "active"):
            if name in wire.schema.names:
                flags = wire[name].cast(pa.int64()).fill_null(-1)
                wire = wire.set_column(wire.schema.get_field_index(name), name, flags)

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in wire.to_batches(max_chunksize=1):
                self.read += 1
                yield batch

        try:
            yield pa.RecordBatchReader.from_batches(wire.schema, batches())
        finally:
            self.closed += 1


def test_every_library_gets_the_same_table() -> None:
    source = Source()
    assert source.scan.to_arrow().equals(source.truth)
    assert pa.table(source.scan).equals(source.truth)
    assert pa.Table.from_batches(list(source.scan), source.scan.schema).equals(source.truth)
    assert pl.DataFrame(source.scan).to_arrow().cast(source.truth.schema).equals(source.truth)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        result = duckdb.from_arrow(source.scan, connection=connection).to_arrow_table()
        assert result.cast(source.truth.schema).equals(source.truth)
    with source.scan.reader() as reader:
        assert reader.schema == source.scan.schema == TASKS.schema(values=True)
        assert reader.read_all().equals(source.truth)
    gc.collect()
    assert source.opened == source.closed


def test_nothing_is_read_before_it_is_asked_for() -> None:
    source = Source()
    assert repr(source.scan).startswith("TableScan(tasks: dag_id, run_id")
    assert pa.schema(source.scan) == source.scan.schema
    iterator = iter(source.scan)
    frames = source.scan.frames()
    assert source.opened == 0
    next(iterator)
    next(frames)
    assert (source.opened, source.read, source.closed) == (2, 2, 0)


@pytest.mark.parametrize("drop", ["iterator", "frames", "stream", "reader"])
def test_a_stream_that_is_dropped_halfway_is_closed(drop: str) -> None:
    source = Source()
    if drop == "stream":
        reader = pa.RecordBatchReader.from_stream(source.scan)
        reader.read_next_batch()
        del reader
    elif drop == "reader":
        with source.scan.reader() as reader:
            reader.read_next_batch()
    else:
        iterator = iter(source.scan) if drop == "iterator" else source.scan.frames()
        next(iterator)
        del iterator
    gc.collect()
    assert (source.opened, source.read, source.closed) == (1, 1, 1)


@pytest.mark.parametrize("read", [pa.table, pl.DataFrame, list, TableScan.to_pandas, TableScan.to_arrow])
def test_a_database_that_cannot_be_opened_is_our_error_everywhere(read: Any) -> None:
    source = Source()
    source.fail = True
    with pytest.raises(ConnectError, match="gone"):
        read(source.scan)


DTYPES: dict[str | None, dict[str, str]] = {
    None: {"dag_id": "str", "region_id": "str", "map_index": "int64", "never_expire": "boolean"}
    | {"updated_at": "datetime64[us, UTC]", "expires_at": "datetime64[us, UTC]", "value_bytes": "int64"}
    | {"active": "bool", "last_updated_by_map_index": "Int64", "asset_id": "int64", "asset_name": "str"},
    "numpy_nullable": {"dag_id": "string", "region_id": "string", "map_index": "Int64", "never_expire": "boolean"}
    | {"updated_at": "datetime64[us, UTC]", "expires_at": "datetime64[us, UTC]", "value_bytes": "Int64"}
    | {"active": "boolean", "last_updated_by_map_index": "Int64", "asset_id": "Int64", "asset_name": "string"},
    "pyarrow": {"dag_id": "large_string[pyarrow]", "region_id": "large_string[pyarrow]", "map_index": "int64[pyarrow]"}
    | {"never_expire": "bool[pyarrow]", "updated_at": "timestamp[us, tz=UTC][pyarrow]"}
    | {"expires_at": "timestamp[us, tz=UTC][pyarrow]", "value_bytes": "int64[pyarrow]", "active": "bool[pyarrow]"}
    | {"last_updated_by_map_index": "int64[pyarrow]", "asset_id": "int64[pyarrow]"}
    | {"asset_name": "large_string[pyarrow]"},
}
ASSET = {"asset_id": 1, "asset_name": "n", "asset_uri": "u", "active": True, "key": "k", "value": "1"} | {
    "value_bytes": 1,
    "updated_at": NOW,
    **{f"last_updated_by_{name}": None for name in ("kind", "dag_id", "run_id", "task_id", "map_index")},
}


@pytest.mark.parametrize("backend", DTYPES)
@pytest.mark.parametrize("table", [TASKS, ASSETS], ids=lambda table: table.name)
@pytest.mark.parametrize("empty", [False, True])
def test_dtypes_do_not_depend_on_the_rows(backend: Any, table: Table, empty: bool) -> None:
    rows = [] if empty else (ROWS if table is TASKS else [ASSET])
    frame = Source(table, rows=rows).scan.to_pandas(dtype_backend=backend)
    assert list(frame.columns) == table.names(values=True)
    assert isinstance(frame.index, pd.RangeIndex)
    assert len(frame) == len(rows)
    for name, dtype in DTYPES[backend].items():
        if name in frame:
            assert str(frame[name].dtype) == dtype, name


@pytest.mark.parametrize("backend", DTYPES)
def test_a_frame_holds_what_the_table_holds(backend: Any) -> None:
    source = Source()
    frame = source.scan.to_pandas(dtype_backend=backend)
    back = pa.Table.from_pandas(frame, preserve_index=False).cast(source.truth.schema)
    assert back.equals(source.truth)
    in_parts = pd.concat(list(source.scan.frames(dtype_backend=backend)), ignore_index=True)
    pd.testing.assert_frame_equal(in_parts, frame)
    for one in (frame, Source(rows=ROWS[:1]).scan.to_pandas(dtype_backend=backend)):
        for name in one.columns:  # no column is a view of what Arrow keeps read-only
            one.loc[0, name] = one.loc[len(one) - 1, name]


def test_rows_of_many_batches_are_all_there_and_in_order() -> None:
    rows = [{**ROWS[0], "map_index": number, "key": f"k{number}"} for number in range(70_000)]
    source = Source(rows=rows)
    source.scan = TableScan(TASKS, _in_batches(source, 1000), values=True)
    frame = source.scan.to_pandas()
    assert frame["map_index"].tolist() == list(range(70_000))
    assert frame["key"].tolist() == [f"k{number}" for number in range(70_000)]


def _in_batches(source: Source, rows: int) -> Any:
    @contextmanager
    def opened() -> Iterator[pa.RecordBatchReader]:
        flags = source.truth["never_expire"].cast(pa.int64()).fill_null(-1)
        wire = source.truth.set_column(10, "never_expire", flags)
        yield pa.RecordBatchReader.from_batches(wire.schema, wire.to_batches(max_chunksize=rows))

    return opened


def test_decoding_shows_what_is_not_json() -> None:
    frame = Source().scan.to_pandas(decode=True)
    assert frame["decoded"].tolist() == [{"a": [1, None]}, None, None]
    assert frame["decode_error"].isna().tolist() == [True, False, True]
    assert "not JSON" in frame.loc[1, "decode_error"]
    (first, *_) = Source().scan.frames(decode=True)
    assert json.dumps(first.loc[0, "decoded"]) == ROWS[0]["value"]
    empty = Source(rows=[]).scan.to_pandas(decode=True)
    assert (str(empty["decoded"].dtype), str(empty["decode_error"].dtype)) == ("object", "str")


def test_decoding_needs_values() -> None:
    source = Source(values=False)
    assert "value" not in source.scan.to_pandas()
    for ask in (source.scan.to_pandas, source.scan.frames):
        with pytest.raises(QueryError, match="values=True"):
            ask(decode=True)
    assert source.opened == 1


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="'numpy'"):
        Source().scan.to_pandas(dtype_backend="numpy")  # type: ignore[arg-type]


# --- values that are too long for the usual batch ---------------------------------------------------------------


def _too_large(source: Source, *, after: int) -> Any:
    """Open the rows, the batch after ``after`` of which is more than Arrow holds, as ADBC-SQLite would give it."""
    # The one batch that is handed out is a slice, so that its offsets may wrap round as the driver's do.
    offsets = pa.array([0, 50, -(2**31) + 20, 60], pa.int32()).buffers()[1]
    bad = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"x" * 64)]).slice(1, 1)

    @contextmanager
    def opened() -> Iterator[pa.RecordBatchReader]:
        with source.open() as wire:
            batches = []
            for number, batch in enumerate(wire):
                index = batch.schema.get_field_index("value")
                batches.append(batch.set_column(index, wire.schema.field("value"), bad) if number == after else batch)
            yield pa.RecordBatchReader.from_batches(wire.schema, batches)

    return opened


@pytest.mark.parametrize("after", [0, 2])
def test_a_whole_table_is_read_again_in_smaller_batches(after: int) -> None:
    source = Source()
    bad = _too_large(source, after=after)
    scan = TableScan(TASKS, bad, values=True, in_smaller_batches=[bad, source.open])
    assert scan.to_arrow().equals(source.truth)
    pd.testing.assert_frame_equal(scan.to_pandas(), source.scan.to_pandas())
    assert (source.opened, source.closed) == (7, 7)
    hopeless = TableScan(TASKS, bad, values=True, in_smaller_batches=[bad])
    with pytest.raises(BatchTooLargeError, match="2 GiB"):
        hopeless.to_arrow()
    # A stream cannot start anew: its first rows may be gone.
    with pytest.raises(BatchTooLargeError, match=r"scan_tasks\(batch_rows=1\)"):
        list(scan)


def _file(path: Path, rows: int) -> Path:
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    STOREKIT.metadata.create_all(engine)
    tasks = [{**ROWS[0], "key": f"k{number}", "never_expire": False} for number in range(rows)]
    fill(engine, STOREKIT, tasks, [ASSET | {"asset_id": 1}])
    return path


def test_a_store_reads_as_many_rows_at_a_time_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path / "a.db", rows=40)
    with connect(path) as store:
        for cursor in (False, True):
            if cursor:
                monkeypatch.setattr("storekit.metastore.reading._driver_for", lambda database: "cursor")
            assert [batch.num_rows for batch in store.scan_tasks(batch_rows=15)] == [15, 15, 10]
            assert [batch.num_rows for batch in store.scan_assets(batch_rows=1)] == [1]
            assert [batch.num_rows for batch in store.scan_tasks()] == [40]
        for wrong in (0, -1, 1.5, True, "1"):
            for scan in (store.scan_tasks, store.scan_assets):
                with pytest.raises(QueryError, match="batch_rows"):
                    scan(batch_rows=wrong)  # type: ignore[arg-type]


def test_a_store_reads_long_values_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from storekit.frames import wire

    valid = wire._valid_utf8
    sizes: list[int] = []

    def limited(array: pa.Array, column: Any, table: Table) -> pa.Array:
        if column.name == "value":
            sizes.append(len(array))
            if len(array) > 1:
                raise BatchTooLargeError("more than 2 GiB")
        return valid(array, column, table)

    monkeypatch.setattr(wire, "_valid_utf8", limited)
    with connect(_file(tmp_path / "a.db", rows=20)) as store:
        assert len(store.tasks()) == 20
        assert sizes == [20, 16, *[1] * 20]
        with pytest.raises(BatchTooLargeError):
            store.scan_tasks(batch_rows=5).to_pandas()


@pytest.mark.parametrize("cursor", [False, True])
@pytest.mark.parametrize("text", ["", "1700000000", "2026-11-22 10:35:18.757162+00:00", "2026-13-01 00:00:00.000000"])
def test_a_file_with_an_instant_that_airflow_would_not_write_is_refused(
    tmp_path: Path, text: str, cursor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(tmp_path / "a.db", rows=3)
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE task_store SET expires_at = ? WHERE key = 'k1'", (text,))
    if cursor:
        monkeypatch.setattr("storekit.metastore.reading._driver_for", lambda database: "cursor")
    with connect(path) as store:
        for read in (store.tasks, store.snapshot):
            with pytest.raises(ConnectError) as caught:
                read()
            assert f"tasks.expires_at holds {text or ' '!r}" in str(caught.value)
            assert "key='k1'" in str(caught.value)


def test_a_clock_without_a_zone_is_named(tmp_path: Path) -> None:
    class Naive:
        def now(self) -> datetime:
            return datetime(2026, 11, 22)  # noqa: DTZ001

        def __repr__(self) -> str:
            return "Naive()"

    with (
        connect(_file(tmp_path / "a.db", rows=1), clock=Naive()) as store,
        pytest.raises(SnapshotError, match=r"Naive\(\) tells no instant: .*no time zone"),
    ):
        store.snapshot()
