"""Answers of an engine as pandas: dtypes depend on the column, never on the data in it.

The same dtypes as `storekit.frames.dtypes` gives to contract rows, and those that only an analysis has: durations,
floats, 128-bit sums.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa

__all__ = ["answer_frame"]

_HUGEINT = pa.decimal128(38, 0)


def answer_frame(table: pa.Table) -> pd.DataFrame:
    """Return a table as a DataFrame.

    Texts are ``str`` (missing: NaN), instants ``datetime64[us, UTC]``, durations ``timedelta64[us]``, floats
    ``float64``. Integers and booleans are ``Int64`` and ``boolean`` where the schema allows a null, else ``int64``
    and ``bool``. What has no such form (a list, a struct, an exact decimal) is ``object``.
    """
    table = _plain_numbers(table)
    frame: pd.DataFrame = table.to_pandas(types_mapper=_mapped)
    strict = {
        field.name: "int64" if pa.types.is_integer(field.type) else "bool"
        for field in table.schema
        if not field.nullable and (pa.types.is_integer(field.type) or pa.types.is_boolean(field.type))
    }
    return frame.astype(strict) if strict else frame


def _mapped(kind: pa.DataType) -> Any:
    if pa.types.is_uint64(kind):
        return pd.UInt64Dtype()
    if pa.types.is_integer(kind):
        return pd.Int64Dtype()
    if pa.types.is_boolean(kind):
        return pd.BooleanDtype()
    return None


def _plain_numbers(table: pa.Table) -> pa.Table:
    """Turn DuckDB's 128-bit sums into 64-bit integers where they fit, and its intervals into durations."""
    for index, field in enumerate(table.schema):
        column = table.column(index)
        if field.type == _HUGEINT:
            try:
                column = column.cast(pa.int64())
            except pa.ArrowInvalid:
                continue
        elif field.type == pa.month_day_nano_interval():
            spans = column.to_pylist()
            if any(span is not None and span.months for span in spans):
                continue  # a month is no number of days
            column = pa.chunked_array([pa.array([_duration(span) for span in spans], pa.duration("us"))])
        else:
            continue
        table = table.set_column(index, pa.field(field.name, column.type), column)
    return table


def _duration(span: Any) -> timedelta | None:
    return None if span is None else timedelta(days=span.days, microseconds=span.nanoseconds // 1000)
