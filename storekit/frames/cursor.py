"""The route for any cursor: rows as tuples, made into Arrow here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from typing import Any

import pyarrow as pa

from storekit.errors import ConnectError, StorekitError
from storekit.frames.contract import ASSETS, ROWS, TASKS
from storekit.frames.redaction import essence

__all__ = ["CursorRoute", "OpenRows"]

OpenRows = Callable[[str, tuple[Any, ...]], AbstractContextManager[Iterable[Sequence[tuple[Any, ...]]]]]
"""Runs a statement and gives its rows in chunks, each a sequence of tuples; closes what it opened."""

_DECLARED = {column.name: column.type for table in (TASKS, ASSETS, ROWS) for column in table.columns}


class CursorRoute:
    """Any cursor: an in-memory SQLite, or a database whose fast driver is missing. Costs a Python object per cell.

    Parameters
    ----------
    open_rows
        Called with the statement and its parameters, as `open` was; it may hold a statement of its own and
        ignore them.
    names
        The names of the statement's columns, in order; their wire types follow from the contract.
    where
        How to name the database in an error; without credentials.
    batch_rows
        Rows per record batch at most; None: as many as a chunk has.
    """

    def __init__(
        self,
        open_rows: OpenRows,
        names: Sequence[str],
        *,
        where: str = "the database",
        batch_rows: int | None = None,
    ) -> None:
        unknown = [name for name in names if name not in _DECLARED]
        if unknown:
            raise ValueError(f"the contract has no columns {unknown}")
        self._open_rows = open_rows
        self._names = tuple(names)
        self._where = where
        self.batch_rows = batch_rows

    def __repr__(self) -> str:
        return f"CursorRoute({self._where!r})"

    @contextmanager
    def open(self, sql: str = "", parameters: tuple[Any, ...] = ()) -> Iterator[pa.RecordBatchReader]:
        with ExitStack() as stack:
            with self._said():
                chunks = iter(stack.enter_context(self._open_rows(sql, parameters)))
                # The first row tells how this database gives an instant: as text, a number or a datetime.
                first = next((chunk for chunk in chunks if chunk), ())
                schema = self._schema(first)
            yield pa.RecordBatchReader.from_batches(schema, self._batches(first, chunks, schema))

    def _batches(
        self, first: Sequence[tuple[Any, ...]], rest: Iterator[Sequence[tuple[Any, ...]]], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        chunk: Sequence[tuple[Any, ...]] | None = first
        while chunk is not None:
            size = self.batch_rows or max(len(chunk), 1)
            for start in range(0, len(chunk), size):
                yield self._batch(chunk[start : start + size], schema)
            with self._said():
                chunk = next(rest, None)

    def _batch(self, rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
        with self._said():
            columns = zip(*rows, strict=True)
            arrays = [_array(cells, type_) for cells, type_ in zip(columns, schema.types, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _schema(self, rows: Sequence[tuple[Any, ...]]) -> pa.Schema:
        instant: pa.DataType = pa.string()
        if rows and "updated_at" in self._names:  # never NULL, so the first row will do
            sample = rows[0][self._names.index("updated_at")]
            if isinstance(sample, datetime):
                instant = pa.timestamp("us", tz="UTC")
            elif isinstance(sample, int):
                instant = pa.int64()
        return pa.schema([(name, _wire_type(_DECLARED[name], instant)) for name in self._names])

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (StorekitError, MemoryError):
            raise
        except Exception as error:
            raise ConnectError(
                f"{self._where} cannot be read: {essence(str(error))}", hint="check the database, then try again"
            ) from error


def _wire_type(declared: pa.DataType, instant: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(declared):
        return instant
    # Flags come as 0 and 1, with -1 or -2 for none: MySQL and SQLite have no booleans.
    return pa.int64() if pa.types.is_boolean(declared) else declared


def _array(cells: tuple[Any, ...], type_: pa.DataType) -> pa.Array:
    if not pa.types.is_string(type_):
        return pa.array(cells, type=type_)
    try:
        return pa.array(cells, type=type_)
    except (pa.ArrowInvalid, UnicodeError):
        # Bytes that are not UTF-8, as bytes or as lone surrogates: replaced, as `wire` does for the fast routes.
        return pa.array([_replaced(cell) for cell in cells], type=type_)


def _replaced(cell: Any) -> Any:
    if isinstance(cell, str):
        cell = cell.encode("utf-8", "surrogateescape" if _only_escapes(cell) else "replace")
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell


def _only_escapes(text: str) -> bool:
    return all("\udc80" <= character <= "\udcff" for character in text if "\ud800" <= character <= "\udfff")
