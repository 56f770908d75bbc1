"""Wire rows to contract rows, batch by batch.

The wire form is what a database can say cheaply and alike (`storekit.metastore.statements`): instants as text
(SQLite), as microseconds since 1970 (MySQL) or as such (PostgreSQL); flags as 0 and 1; ``''``, -1 and -2 for what
a layout lacks, since SQLite's driver types a column by its first rows and must not meet NULLs there.

An instant that is text is read in the one form that Airflow writes, and refused in any other: cleanup compares the
texts, so what is spelled otherwise would be judged one way here and another way there.

Arrow's own kernels do it: on 1,000,000 rows they take 0.2 s of CPU and a few MB, where DuckDB takes 1.0 s and
400 MB for the same casts.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from storekit.errors import ConnectError
from storekit.frames.contract import ASSETS, Column, Table
from storekit.frames.display import shorten

__all__ = ["BatchTooLargeError", "to_contract"]

_INSTANT = pa.timestamp("us", tz="UTC")
_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", re.ASCII)
_WRITTEN_BYTES = 26
_FIRST = pa.scalar(-62_135_596_800_000_000, pa.int64())  # 0001-01-01: Arrow reads a year 0, Python has none
_TASK_KEY = ("dag_id", "run_id", "task_id", "map_index", "region_id", "key")
_ASSET_KEY = ("asset_name", "key")


class BatchTooLargeError(ConnectError):
    """A batch holds more text than Arrow can address; smaller batches of the same rows may be read."""


def to_contract(wire: pa.RecordBatchReader, table: Table, *, values: bool) -> pa.RecordBatchReader:
    """Return the rows of a wire reader in the contract's columns and types.

    Parameters
    ----------
    wire
        Columns by the contract's names, in any order; it is read as the result is.
    table
        `TASKS`, `ASSETS` or `ROWS`.
    values
        Whether ``value`` is among the columns.

    Raises
    ------
    ConnectError
        If a column is missing, or, from the reader, if a cell cannot be read: an instant that is none or is not
        spelled as Airflow does, a region that is none, a NULL where none may stand. Bytes that are not UTF-8
        (SQLite stores any) become U+FFFD.
    """
    schema = table.schema(values=values)
    missing = [name for name in schema.names if name not in wire.schema.names]
    if missing:
        raise ConnectError(f"{table.name} came without {', '.join(missing)}", hint="was the statement changed?")
    columns = [column for column in table.columns if values or column.name != "value"]

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in wire:
            if batch.num_rows:
                arrays = [_converted(batch, column, table) for column in columns]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _converted(batch: pa.RecordBatch, column: Column, table: Table) -> pa.Array:
    array = batch.column(column.name)
    if pa.types.is_string(column.type):
        array = _texts(array, column, table)
    elif pa.types.is_timestamp(column.type):
        array = _instants(array, batch, column, table)
    elif pa.types.is_boolean(column.type):
        array = _flags(array)
    else:
        array = _integers(array, column, table)
    if not column.nullable and array.null_count:
        raise ConnectError(
            f"{table.name}.{column.name} is NULL in {array.null_count} rows", hint="the layout declares it NOT NULL"
        )
    return array


def _texts(array: pa.Array, column: Column, table: Table) -> pa.Array:
    if not pa.types.is_string(array.type):
        array = array.cast(pa.string())
    array = _valid_utf8(array, column, table)
    if column.nullable:
        array = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
    return _regions(array, table) if column.name == "region_id" else array


def _valid_utf8(array: pa.Array, column: Column, table: Table) -> pa.Array:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            # SQLite's driver lets 32-bit offsets overflow, and says nothing.
            raise BatchTooLargeError(
                f"{table.name}.{column.name} holds more than 2 GiB in one batch of {len(array)} rows",
                hint=f"read fewer rows at a time: scan_{table.name}(batch_rows={max(len(array) // 16, 1)})",
            ) from None
        cells = array.cast(pa.binary()).to_pylist()
        return pa.array([None if cell is None else cell.decode("utf-8", "replace") for cell in cells], pa.string())
    return array


def _regions(array: pa.Array, table: Table) -> pa.Array:
    if array.null_count == len(array):
        return array
    encoded = array.dictionary_encode()  # few regions, many rows
    dashed = []
    for text in encoded.dictionary.to_pylist():
        try:
            dashed.append(str(uuid.UUID(text)))
        except ValueError:
            raise ConnectError(
                f"{table.name}.region_id holds {text!r}, which is no UUID", hint="Airflow 3.4 writes UUIDs there"
            ) from None
    return pa.array(dashed, pa.string()).take(encoded.indices)


def _instants(array: pa.Array, batch: pa.RecordBatch, column: Column, table: Table) -> pa.Array:
    if array.null_count == len(array):
        return pa.nulls(len(array), _INSTANT)
    if pa.types.is_timestamp(array.type):
        return array if array.type == _INSTANT else array.cast(_INSTANT)
    if pa.types.is_integer(array.type):
        return array.cast(pa.int64()).cast(pa.timestamp("us")).cast(_INSTANT)
    # A NULL comes as '', since SQLite's driver must not meet it; an empty text comes as ' '.
    texts = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
    # Of 26 bytes, Arrow takes the written form and the same with a "T": a third of what a regex would cost.
    uniform = pc.all(pc.equal(pc.binary_length(texts), _WRITTEN_BYTES)).as_py() is not False
    if uniform and pc.any(pc.match_substring(texts, "T")).as_py() is not True:
        try:
            instants = texts.cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            pass
        else:
            if pc.any(pc.less(instants.cast(pa.int64()), _FIRST)).as_py() is not True:
                return instants.cast(_INSTANT)
    raise _misspelled(texts, batch, column, table)


def _misspelled(texts: pa.Array, batch: pa.RecordBatch, column: Column, table: Table) -> ConnectError:
    position, text = next(
        (position, text)
        for position, text in enumerate(_cell(raw) for raw in texts.cast(pa.binary()).to_pylist())
        if text is not None and not _is_written(text)
    )
    name, row = _row(batch, position, table)
    return ConnectError(
        f"{name}.{column.name} holds {shorten(text, 80)!r}, which is no instant as Airflow writes it, in the row {row}",
        hint="the form is YYYY-MM-DD HH:MM:SS.ffffff, in UTC: 2026-11-22 10:35:18.757162; any other is judged "
        "wrongly by cleanup, which compares texts: correct it, or delete the row",
    )


def _is_written(text: str) -> bool:
    try:
        return _WRITTEN.fullmatch(text) is not None and bool(datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f"))  # noqa: DTZ007
    except ValueError:
        return False


def _row(batch: pa.RecordBatch, position: int, table: Table) -> tuple[str, str]:
    """Return the name of a row's table (`ROWS` is of both) and its natural key."""
    name = f"{_at(batch, 'store', position)}s" if "store" in batch.schema.names else table.name
    key = {each: _at(batch, each, position) for each in (_ASSET_KEY if name == ASSETS.name else _TASK_KEY)}
    if not key.get("region_id"):  # only Airflow 3.4 has one
        key.pop("region_id", None)
    return name, ", ".join(f"{each}={cell!r}" for each, cell in key.items())


def _at(batch: pa.RecordBatch, name: str, position: int) -> Any:
    cell = batch.column(name).slice(position, 1)
    return _cell(cell.cast(pa.binary())[0].as_py()) if pa.types.is_string(cell.type) else cell[0].as_py()


def _cell(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "replace")


def _flags(array: pa.Array) -> pa.Array:
    known = pc.greater_equal(array, 0)
    return pc.if_else(known, pc.equal(array, 1), pa.scalar(None, pa.bool_()))


def _integers(array: pa.Array, column: Column, table: Table) -> pa.Array:
    if array.type != pa.int64():
        try:
            array = array.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise ConnectError(
                f"{table.name}.{column.name} holds what is no integer: {error}", hint="its column is an integer's"
            ) from None
    if column.nullable:
        array = pc.if_else(pc.equal(array, -2), pa.scalar(None, pa.int64()), array)
    return array
