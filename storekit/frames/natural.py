"""The natural order of a snapshot's rows, as numbers: made once, of which every other order is made.

DuckDB sorts the rows by the last columns of the natural key; numbers stand for the first ones, whose names repeat a
lot, and numpy sorts those. A sort of all columns at once takes three times as long, and spills.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from storekit.engines.texts import Order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storekit.engines.duckdb import DuckDBEngine

__all__ = ["NATURAL", "Int64s", "NaturalOrder", "Numbers", "numbers_of", "packed_sort"]

Numbers = npt.NDArray[np.int32] | npt.NDArray[np.int64]
Int64s = npt.NDArray[np.int64]

# The order of preview_rows, but that it names the region before the asset: no row has both. The last two columns tell
# apart what nothing else would: no page may depend on chance.
_NAMES = ("dag_id", "run_id", "task_id", "map_index", "asset_name", "asset_uri")
_FIRST: Order = (("store", True), *((name, False) for name in _NAMES))
_LAST: Order = tuple((name, False) for name in ("region_id", "key", "asset_id", "row_number"))

# What natural_codes makes of the first columns.
_CODES = ("store", "dag_id", "run_id", "task_id", "map_index", "asset")

NATURAL: Order = (*_FIRST, *_LAST)
"""What rows are sorted by, and by what those alike in another column are: no two rows are alike in it."""

_BITS = 63


class NaturalOrder:
    """Where each row of a snapshot stands.

    Parameters
    ----------
    engine
        The snapshot's.
    total
        How many rows it has.
    """

    def __init__(self, engine: DuckDBEngine, total: int) -> None:
        self._engine, self.total = engine, total

    @cached_property
    def numbers(self) -> Numbers:
        """The numbers of all rows, in natural order: 4 bytes a row; while it is made, some 50."""
        tail = self._engine.stream("natural_tail", order=_LAST, allowed=[name for name, _ in _LAST])
        found = numbers_of(tail, self.total, self.total)
        codes = self._codes()
        packed, sizes = np.zeros(self.total, np.int64), 1
        for name in reversed(_CODES):  # the last one first: each sort keeps what those before it made
            column = codes.pop(name)
            size = int(column.max(initial=0)) + 1
            if (sizes * size).bit_length() + self.total.bit_length() > _BITS:
                found = _resorted(found, packed)
                packed, sizes = np.zeros(self.total, np.int64), 1
            packed += column * np.int64(sizes)
            sizes *= size
        return _resorted(found, packed)

    def _codes(self) -> dict[str, Numbers]:
        codes = {name: _numbers(self.total, self.total) for name in _CODES}
        for batch in self._engine.stream("natural_codes"):
            at = batch.column("row_number").to_numpy()
            for name, column in codes.items():
                column[at] = batch.column(name).to_numpy()
        return codes

    def places(self) -> Numbers:
        """Return the place of each row, by its number: the inverse of `numbers`."""
        places = np.empty_like(self.numbers)
        places[self.numbers] = np.arange(self.total, dtype=places.dtype)
        return places


def _resorted(numbers: Numbers, codes: Int64s) -> Numbers:
    return numbers[packed_sort(codes[numbers], np.arange(len(numbers)))]


def numbers_of(batches: Iterable[pa.RecordBatch], size: int, total: int) -> Numbers:
    """Return the row numbers of a stream of so many rows, in the narrowest type that holds each of ``total``."""
    found = _numbers(size, total)
    start = 0
    for batch in batches:
        found[start : start + batch.num_rows] = batch.column("row_number").to_numpy()
        start += batch.num_rows
    return found


def _numbers(size: int, total: int) -> Numbers:
    return np.empty(size, np.int32) if total < 2**31 else np.empty(size, np.int64)


def packed_sort(codes: Int64s, places: Numbers) -> Int64s:
    """Return ``places`` sorted by ``codes``, and those of one code by themselves.

    Parameters
    ----------
    codes
        At least 0; overwritten.
    places
        Of the same length, at least 0. A code and a place together may have 63 bits.
    """
    # One number each: numpy sorts numbers four times as fast as it finds out how they would be sorted.
    bits = int(places.max(initial=0)).bit_length()
    codes <<= bits
    codes |= places
    codes.sort()
    codes &= (1 << bits) - 1
    return codes
