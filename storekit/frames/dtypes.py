"""Contract rows as pandas columns, one dtype for each kind of column, whatever the rows hold.

========================  ====================  ====================  ===========================
contract                  default               numpy_nullable        pyarrow
========================  ====================  ====================  ===========================
text                      ``str``               ``string``            ``string[pyarrow]``
integer                   ``int64``             ``Int64``             ``int64[pyarrow]``
integer, nullable         ``Int64``             ``Int64``             ``int64[pyarrow]``
bool                      ``bool``              ``boolean``           ``bool[pyarrow]``
bool, nullable            ``boolean``           ``boolean``           ``bool[pyarrow]``
instant                   ``datetime64[us, UTC]``, NaT                ``timestamp[us, tz=UTC]``
========================  ====================  ====================  ===========================

``numpy_nullable`` has no instants of its own. The ``pyarrow`` columns print as pandas names them
(``large_string`` for texts: 64-bit offsets, so that a column may pass 2 GiB).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

__all__ = ["DtypeBackend", "to_frame"]

DtypeBackend = Literal["numpy_nullable", "pyarrow"] | None

_CHUNK_ROWS = 32_768
"""Rows per chunk of a text column: few chunks, and no second copy of a whole column to make them."""


def to_frame(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, *, dtype_backend: DtypeBackend = None
) -> pd.DataFrame:
    """Return contract batches as a DataFrame.

    Parameters
    ----------
    batches
        Of ``schema``; none make an empty frame of the same dtypes.
    schema
        A contract table's.
    dtype_backend
        None: pandas' defaults; ``"numpy_nullable"`` or ``"pyarrow"`` as in `pandas.read_sql`.

    Raises
    ------
    ValueError
        If ``dtype_backend`` is another.
    """
    if dtype_backend not in (None, "numpy_nullable", "pyarrow"):
        raise ValueError(f"dtype_backend is {dtype_backend!r}; it is None, 'numpy_nullable' or 'pyarrow'")
    columns = _collected(batches, schema)
    series = {}
    for field in schema:
        column = columns.pop(field.name)  # freed as soon as it is converted
        series[field.name] = _series(column, field, dtype_backend)
    return pd.DataFrame(series, copy=False)


def _collected(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> dict[str, pa.ChunkedArray]:
    # A driver's batch is one piece of memory, kept whole while any of its columns is, and its buffers are up to
    # twice what they hold; so columns are copied out of a few batches at a time. The system's allocator holds them
    # in 60 MB less of 250 than Arrow's own, which keeps what passes through.
    types = {field.name: pa.large_string() if field.type == pa.string() else field.type for field in schema}
    chunks: dict[str, list[pa.Array]] = {name: [] for name in types}
    pending: list[pa.RecordBatch] = []
    rows = 0
    pool = pa.system_memory_pool()

    def flush() -> None:
        for name, type_ in types.items():
            arrays = [batch.column(name).cast(type_) for batch in pending]
            chunks[name].append(pa.concat_arrays(arrays, memory_pool=pool))
        pending.clear()

    for batch in batches:
        pending.append(batch)
        rows += batch.num_rows
        if rows >= _CHUNK_ROWS:
            flush()
            rows = 0
    if pending:
        flush()
    return {name: pa.chunked_array(chunks[name], type=type_) for name, type_ in types.items()}


def _series(column: pa.ChunkedArray, field: pa.Field, backend: DtypeBackend) -> pd.Series[Any]:
    dtype = _dtype(field, backend)
    if dtype is None:
        cells = column.to_numpy()
        return pd.Series(cells, copy=not cells.flags.writeable)  # one chunk is shown as it lies in Arrow
    array = dtype.__from_arrow__(column)
    if isinstance(dtype, pd.DatetimeTZDtype) and column.num_chunks <= 1:
        array = array.copy()
    return pd.Series(array, copy=False)


def _dtype(field: pa.Field, backend: DtypeBackend) -> Any:
    """Return a field's pandas dtype; None where numpy's own is meant."""
    if backend == "pyarrow":
        return pd.ArrowDtype(pa.large_string() if field.type == pa.string() else field.type)
    nullable = field.nullable or backend == "numpy_nullable"
    if field.type == pa.string():
        return pd.StringDtype("pyarrow", na_value=np.nan if backend is None else pd.NA)
    if pa.types.is_timestamp(field.type):
        return pd.DatetimeTZDtype("us", "UTC")
    if pa.types.is_boolean(field.type):
        return pd.BooleanDtype() if nullable else None
    if pa.types.is_int64(field.type):
        return pd.Int64Dtype() if nullable else None
    return None  # durations have a NaT, floats a NaN
