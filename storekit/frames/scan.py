"""One table of a live store, as Arrow batches, an Arrow table, or DataFrames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from storekit.errors import QueryError
from storekit.frames.contract import Table
from storekit.frames.wire import BatchTooLargeError, to_contract

if TYPE_CHECKING:
    import pandas as pd

    from storekit.frames.dtypes import DtypeBackend

__all__ = ["OpenWire", "TableScan"]

OpenWire = Callable[[], AbstractContextManager[pa.RecordBatchReader]]
"""Runs the table's statement by some route: ``lambda: route.open(sql, parameters)``."""

_Read = TypeVar("_Read")


class TableScan:
    """A table to be read, each time anew: nothing is read before it is asked for, and nothing is kept.

    It is an Arrow stream to whatever takes one: ``polars.DataFrame(scan)``, ``pyarrow.table(scan)``,
    ``duckdb.from_arrow(scan)``. Every reading is one statement, so one instant of the database; two readings are
    two instants.

    A reading holds a read transaction until it ends. On SQLite, writers wait for it (storekit's for 30 seconds, then
    they are told that the database is locked); so inside a loop over the batches, write nothing to the same
    database: collect first, then write.

    Parameters
    ----------
    table
        The contract: columns and types.
    open_wire
        Opens a fresh reader of the table's wire rows.
    values
        Whether they have ``value``.
    in_smaller_batches
        Open the same rows in ever smaller batches. `to_arrow` and `to_pandas` read again by the next one where a
        batch's values are more than Arrow holds (2 GiB); a stream, parts of which are handed out by then, cannot.
    """

    def __init__(
        self,
        table: Table,
        open_wire: OpenWire,
        *,
        values: bool,
        in_smaller_batches: Sequence[OpenWire] = (),
    ) -> None:
        self._table = table
        self._open_wire = open_wire
        self._values = values
        self._in_smaller_batches = tuple(in_smaller_batches)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema: the contract's columns, in order."""
        return self._table.schema(values=self._values)

    def __repr__(self) -> str:
        return f"TableScan({self._table.name}: {', '.join(self.schema.names)})"

    @contextmanager
    def reader(self) -> Iterator[pa.RecordBatchReader]:
        """Open the table, to be read inside the ``with`` block.

        Yields
        ------
        pyarrow.RecordBatchReader
            Of `schema`. To be read once; the connection closes with the block.

        Raises
        ------
        ConnectError
            If the database cannot be read, or holds a cell that cannot be; also later, from the reader.
        """
        with self._reader(self._open_wire) as reader:
            yield reader

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Iterate record batches; the connection closes with the last one, or when the iterator is dropped."""
        with self.reader() as reader:
            yield from reader

    def __arrow_c_schema__(self) -> Any:
        """Give the schema to another Arrow library, without reading."""
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Give the rows to another Arrow library, as a stream; its connection closes with the stream."""
        batches = self._opened()
        next(batches)  # opened now, so that an error is ours and not the other library's
        stream = pa.RecordBatchReader.from_batches(self.schema, batches)
        return stream.__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> pa.Table:
        """Return the whole table as an Arrow table.

        Returns
        -------
        pyarrow.Table
            Of `schema`: string, int64, bool and timestamp[us, UTC].

        Raises
        ------
        ConnectError
            If the database cannot be read, or holds a cell that cannot be.
        """
        return self._whole(lambda reader: reader.read_all())

    def to_pandas(self, dtype_backend: DtypeBackend = None, *, decode: bool = False) -> pd.DataFrame:
        """Return the whole table as a DataFrame.

        Parameters
        ----------
        dtype_backend
            None (default): ``str`` for texts (NaN for null), ``datetime64[us, UTC]`` (NaT), ``int64`` and
            ``bool``, or ``Int64`` and ``boolean`` (NA) where the contract allows null. ``"numpy_nullable"``:
            ``string``, ``Int64``, ``boolean``, and instants as before. ``"pyarrow"``: Arrow's types throughout.
            An empty table has the same dtypes.
        decode
            Add ``decoded`` (object: what the JSON of ``value`` holds, None where it is none) and
            ``decode_error`` (text: why not; null where fine). Needs ``value``.

        Returns
        -------
        pandas.DataFrame
            The columns of `schema`, a RangeIndex.

        Raises
        ------
        QueryError
            If ``decode`` is asked of a scan without values.
        ConnectError
            If the database cannot be read, or holds a cell that cannot be.
        """
        self._check_decode(decode)
        from storekit.frames.dtypes import to_frame

        frame = self._whole(lambda reader: to_frame(reader, self.schema, dtype_backend=dtype_backend))
        return _decoded(frame) if decode else frame

    def frames(self, dtype_backend: DtypeBackend = None, *, decode: bool = False) -> Iterator[pd.DataFrame]:
        """Iterate DataFrames, one per record batch: for a store larger than memory. An empty table gives none.

        Parameters
        ----------
        dtype_backend, decode
            As for `to_pandas`.

        Yields
        ------
        pandas.DataFrame
            The columns and dtypes of `to_pandas`: for tasks dag_id, run_id, task_id (str), map_index (int64),
            region_id, key, value (str), value_bytes (int64), updated_at, expires_at (datetime64[us, UTC]), never_expire
            (boolean); with ``decode``, decoded (object), decode_error (str). Each frame's index starts at 0.

        Raises
        ------
        QueryError
            As for `to_pandas`, at the call.
        ConnectError
            As for `to_pandas`, while it is iterated.
        """
        self._check_decode(decode)
        return self._frames(dtype_backend, decode=decode)

    def _frames(self, dtype_backend: DtypeBackend, *, decode: bool) -> Iterator[pd.DataFrame]:
        from storekit.frames.dtypes import to_frame

        for batch in self:
            frame = to_frame([batch], self.schema, dtype_backend=dtype_backend)
            yield _decoded(frame) if decode else frame

    def _check_decode(self, decode: bool) -> None:
        if decode and not self._values:
            raise QueryError("decode=True needs the values, and this scan has none", hint="scan with values=True")

    @contextmanager
    def _reader(self, open_wire: OpenWire) -> Iterator[pa.RecordBatchReader]:
        with open_wire() as wire, closing(to_contract(wire, self._table, values=self._values)) as reader:
            yield reader

    def _whole(self, collect: Callable[[pa.RecordBatchReader], _Read]) -> _Read:
        *wider, narrowest = (self._open_wire, *self._in_smaller_batches)
        for open_wire in wider:
            try:
                with self._reader(open_wire) as reader:
                    return collect(reader)
            except BatchTooLargeError:
                continue  # nothing of it was handed out, so it may start anew
        with self._reader(narrowest) as reader:
            return collect(reader)

    def _opened(self) -> Iterator[Any]:
        with self.reader() as reader:
            yield None
            yield from reader


def _decoded(frame: pd.DataFrame) -> pd.DataFrame:
    from storekit.frames.accessor import decode

    return decode(frame)
