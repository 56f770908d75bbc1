"""Cells of every wire form, read or refused; the oracle is Python's own datetime, uuid and codecs."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storekit.errors import ConnectError
from storekit.frames.contract import ASSETS, ROWS, TASKS, Table
from storekit.frames.wire import to_contract

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
CELLS: dict[str, Any] = {
    "dag_id": "d",
    "run_id": "r",
    "task_id": "t",
    "map_index": -1,
    "region_id": "",
    "key": "k",
    "value": "",
    "value_bytes": 0,
    "updated_at": "2026-11-22 10:35:18.757162",
    "expires_at": "",
    "never_expire": -1,
}


def tasks(**columns: Any) -> list[dict[str, Any]]:
    """Return the contract rows of task rows whose given columns are lists or arrays."""
    length = len(next(iter(columns.values())))
    arrays = {name: columns.get(name, [cell] * length) for name, cell in CELLS.items()}
    batch = pa.record_batch({name: pa.array(cells) for name, cells in arrays.items()})
    return contract(TASKS, batch)


def contract(table: Table, *batches: pa.RecordBatch) -> list[dict[str, Any]]:
    wire = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
    result = to_contract(wire, table, values="value" in batches[0].schema.names).read_all()
    result.validate(full=True)
    return result.to_pylist()


@given(st.lists(st.none() | INSTANTS, min_size=1))
@example([EPOCH - timedelta(microseconds=1), None])
def test_instants_are_exact_in_every_wire_form(instants: list[datetime | None]) -> None:
    def text(instant: datetime | None) -> str:
        return "" if instant is None else instant.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")

    def microseconds(instant: datetime | None) -> int | None:
        return None if instant is None else (instant - EPOCH) // timedelta(microseconds=1)

    forms = {
        "SQLite": pa.array([text(each) for each in instants]),
        "MySQL": pa.array([microseconds(each) for each in instants], pa.int64()),
        "PostgreSQL": pa.array(instants, pa.timestamp("us", tz="UTC")),
    }
    for name, array in forms.items():
        assert [row["expires_at"] for row in tasks(expires_at=array)] == instants, name


GOOD = "2026-11-22 10:35:18.757162"
OTHER_FORMS = [
    " ",
    "0",
    "never",
    "now'",
    "a\x00b",
    "1700000000",
    "1795343718.5",
    "2026-11-22",
    "2026-11-22 10:35:18",
    "2026-11-22 10:35:18.757",
    "2026-11-22 10:35:18.7571621",
    "2026-11-22T10:35:18.757162",
    "2026-11-22 10:35:18.75716Z",
    "2026-11-22 10:35:18.757+05",
    "2026-11-22 10:35:18.757162Z",
    "2026-11-22 10:35:18.757162+00:00",
    "2026-11-22 10:35:18+05:30",
    "2026-11-22 10:35:18,757162",
    "2026-11-22 10:35:18.757162\n",
    " 2026-11-22 10:35:18.75716",
    "2026-13-01 00:00:00.000000",
    "2026-02-29 00:00:00.000000",
    "2026-11-22 24:00:00.000000",
    "2026-11-22 23:59:60.000000",
    "0000-01-01 00:00:00.000000",
    "10000-01-01 00:00:00.00000",
    "\u0662\u0660\u0662\u0666-11-22 10:35:18.757162",
    "2026-11-22 10:35:18.75716\u0662",
]


@pytest.mark.parametrize("text", OTHER_FORMS)
@pytest.mark.parametrize("column", ["expires_at", "updated_at"])
@pytest.mark.parametrize("beside", [[GOOD], ["", GOOD], []])
def test_an_instant_in_another_form_is_refused_with_its_row(text: str, column: str, beside: list[str]) -> None:
    cells = [*beside, text]
    with pytest.raises(ConnectError) as caught:
        tasks(**{column: cells}, key=[f"k{number}" for number in range(len(cells))])
    said = str(caught.value)
    assert f"tasks.{column} holds {text!r}" in said
    assert f"dag_id='d', run_id='r', task_id='t', map_index=-1, key='k{len(beside)}'" in said
    assert "YYYY-MM-DD HH:MM:SS.ffffff" in str(caught.value.hint)


@given(
    text=st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-6][0-9]:[0-6][0-9]\.[0-9]{5}[0-9Z]", fullmatch=True
    )
)
@example(text=GOOD)
def test_what_is_read_is_what_would_be_written_again(text: str) -> None:
    try:
        (row,) = tasks(expires_at=[text])
    except ConnectError:
        with pytest.raises(ValueError, match=r"."):  # noqa: PT012
            if "T" in text or "Z" in text or " 24:" in text:
                raise ValueError("another form") from None
            datetime.fromisoformat(text)
    else:
        assert row["expires_at"].replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds") == text


def test_a_refused_instant_names_the_table_that_its_row_is_of() -> None:
    cells = dict.fromkeys(ROWS.names(values=False), "") | {"active": 1, "never_expire": -1, "value_bytes": 0}
    cells |= {"map_index": -2, "asset_id": 1, "last_updated_by_map_index": -2, "updated_at": "1700000000"}
    asset = cells | {"store": "asset", "asset_name": "orders\u202e", "key": "k"}
    task = cells | {"store": "task", "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": 3, "key": "k"}
    region = {"region_id": "00000000-0000-0000-0000-000000000000"}
    for row, said in (
        (asset, "assets.updated_at holds '1700000000'"),
        (asset, "in the row asset_name='orders\\u202e', key='k'"),
        (task, "tasks.updated_at holds '1700000000'"),
        (task, "in the row dag_id='d', run_id='r', task_id='t', map_index=3, key='k'"),
        (task | region, "map_index=3, region_id='00000000-0000-0000-0000-000000000000', key='k'"),
    ):
        with pytest.raises(ConnectError) as caught:
            contract(ROWS, pa.record_batch({name: pa.array([cell]) for name, cell in row.items()}))
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("updated_at", ["2026-11-22 10:35:18.757162", ""]),
        ("updated_at", pa.array([None, None], pa.string())),
        ("key", ["k", None]),
        ("map_index", [1, None]),
    ],
)
def test_a_null_where_none_may_stand_is_refused(column: str, cells: Any) -> None:
    with pytest.raises(ConnectError, match=rf"tasks.{column} is NULL in \d rows"):
        tasks(**{column: cells})


@given(st.lists(st.none() | st.uuids(), min_size=1), st.booleans())
def test_a_region_is_dashed_whatever_it_was(regions: list[uuid.UUID | None], null: bool) -> None:
    absent = None if null else ""
    for spell in (str, lambda region: region.hex, lambda region: str(region).upper()):
        cells = pa.array([absent if region is None else spell(region) for region in regions], pa.string())
        assert [row["region_id"] for row in tasks(region_id=cells)] == [each and str(each) for each in regions]


def test_what_is_no_region_is_named() -> None:
    with pytest.raises(ConnectError, match="'not a uuid', which is no UUID"):
        tasks(region_id=["not a uuid"])


@given(st.lists(st.binary(max_size=20), min_size=1))
@example([b"a\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"ok\x00"])
def test_any_bytes_come_out_as_python_would_decode_them(cells: list[bytes]) -> None:
    offsets = [0]
    for cell in cells:
        offsets.append(offsets[-1] + len(cell))
    buffers = [None, pa.py_buffer(pa.array(offsets, pa.int32()).buffers()[1]), pa.py_buffer(b"".join(cells))]
    array = pa.Array.from_buffers(pa.string(), len(cells), buffers)
    assert [row["value"] for row in tasks(value=array)] == [cell.decode("utf-8", "replace") for cell in cells]


def test_a_batch_past_2_gib_is_an_error_and_not_a_crash() -> None:
    # ADBC-SQLite lets 32-bit offsets wrap round.
    offsets = pa.array([0, 50, -(2**31) + 20, 60], pa.int32()).buffers()[1]
    array = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"x" * 64)])
    with pytest.raises(ConnectError, match=r"tasks.value holds more than 2 GiB.*\n.*scan_tasks\(batch_rows=1\)"):
        tasks(value=array)


def test_flags_and_what_is_absent() -> None:
    rows = tasks(never_expire=[-1, 0, 1], map_index=pa.array([-1, 2**40, 0]), value=["", "''", "\x00"])
    assert [row["never_expire"] for row in rows] == [None, False, True]
    assert [row["map_index"] for row in rows] == [-1, 2**40, 0]
    assert [row["value"] for row in rows] == ["", "''", "\x00"]


def test_minus_two_is_no_index_for_an_asset_and_a_number_for_a_task() -> None:
    assert tasks(map_index=[-2])[0]["map_index"] == -2
    batch = pa.record_batch({name: pa.array([""]) for name in ASSETS.names(values=True)})
    for name, cells in {"asset_id": [1], "active": [1], "value_bytes": [0], "last_updated_by_map_index": [-2]}.items():
        batch = batch.set_column(batch.schema.get_field_index(name), name, pa.array(cells))
    batch = batch.set_column(batch.schema.get_field_index("updated_at"), "updated_at", pa.array([0]))
    (row,) = contract(ASSETS, batch)
    assert (row["last_updated_by_map_index"], row["last_updated_by_kind"], row["active"]) == (None, None, True)


def test_columns_are_taken_by_name() -> None:
    batch = pa.record_batch({name: pa.array([cell]) for name, cell in reversed(CELLS.items())})
    assert list(contract(TASKS, batch)[0]) == TASKS.names(values=True)
    with pytest.raises(ConnectError, match="rows came without store, asset_id"):
        contract(ROWS, batch.drop_columns(["value"]))


def test_no_batches_of_the_wrong_types_are_an_empty_table() -> None:
    # ADBC-SQLite types an empty result's columns as integers.
    schema = pa.schema([(name, pa.int64()) for name in TASKS.names(values=True)])
    table = to_contract(pa.RecordBatchReader.from_batches(schema, []), TASKS, values=True).read_all()
    assert table.equals(TASKS.schema(values=True).empty_table())
