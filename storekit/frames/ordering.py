"""The order of a selection's rows as numbers, so that any page of it costs no more than its own rows.

Near its ends an order is read from there: DuckDB finds the first rows without sorting the rest. The order of all rows
is made once a page is asked for that lies elsewhere, and kept: 4 bytes a row (8 from two billion rows on). DuckDB then
sorts by one column alone; rows alike in it are put in natural order by their places in it, which the snapshot keeps.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storekit.engines.texts import Order
from storekit.errors import QueryError
from storekit.frames.natural import NATURAL, Int64s, NaturalOrder, Numbers, numbers_of, packed_sort
from storekit.frames.selectionview import SORT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storekit.engines.duckdb import DuckDBEngine

__all__ = ["FEW", "NEAR", "ORDERABLE", "By", "RowOrder", "sorted_by"]

By = tuple[tuple[str, bool], ...]
"""What comes before the natural order: no column, or one with whether it descends."""

ORDERABLE = (*SORT_COLUMNS, "row_number")
"""What an order may be made of."""

NEAR = 1_000
"""Rows that are read at once from either end, and kept."""
# Of a million rows DuckDB finds the first 1,000 in the time of the first 25; the first 20,000 take it a whole sort.

FEW = 50_000
"""So many rows are sorted whole at once, by DuckDB."""


def sorted_by(sort: str | None, descending: bool) -> By:
    """Return what a caller sorts by; None: the natural order alone.

    Raises
    ------
    QueryError
        If it is no column to sort by, or nothing descends.
    """
    if sort is None:
        if descending:
            raise QueryError("descending=True has no column to go by", hint="name one: sort='value_bytes'")
        return ()
    if not isinstance(sort, str) or sort not in SORT_COLUMNS:
        raise QueryError(f"cannot sort by {sort!r}", hint=f"choose from {', '.join(SORT_COLUMNS)}, or None")
    return ((str(sort), bool(descending)),)


class RowOrder:
    """One order of a selection's rows: their row numbers from the front, from the end, or all, as they are needed.

    Parameters
    ----------
    engine
        The snapshot's.
    natural
        The snapshot's natural order.
    values
        The selection's parameters.
    by
        What comes before the natural order.
    total
        How many rows are selected.
    """

    def __init__(
        self,
        engine: DuckDBEngine,
        natural: NaturalOrder,
        values: Mapping[str, Any],
        by: By,
        *,
        total: int,
    ) -> None:
        self._engine, self._natural, self._values = engine, natural, values
        self._by, self._total = by, total
        self._whole: Numbers | None = None

    def numbers(self, start: int, stop: int) -> Numbers:
        """Return the row numbers of the places from ``start``, inclusive, to ``stop``, exclusive."""
        if self._whole is None and self._total > FEW:
            if stop <= NEAR:
                return self._front[start:stop]
            if start >= self._total - NEAR:
                end = self._back
                return end[len(end) - (self._total - start) : len(end) - (self._total - stop)]
        if self._whole is None:
            self._whole = self._read(self._total) if self._total <= FEW else self._sorted()
        return self._whole[start:stop]

    @cached_property
    def _front(self) -> Numbers:
        return self._read(min(NEAR, self._total))

    @cached_property
    def _back(self) -> Numbers:
        return self._read(min(NEAR, self._total), backwards=True)[::-1]

    def _read(self, size: int, *, backwards: bool = False) -> Numbers:
        order = (*self._by, *NATURAL)
        batches = self._stream("selected_order", order, size=size, backwards=backwards)
        return numbers_of(batches, size, self._natural.total)

    def _sorted(self) -> Numbers:
        natural = self._natural.numbers
        if self._by:
            return natural[self._sorted_places()]
        if self._total == len(natural):
            return natural
        asked = np.zeros(len(natural), np.bool_)
        for batch in self._stream("selected_numbers"):
            asked[batch.column("row_number").to_numpy()] = True
        return natural[asked[natural]]

    def _sorted_places(self) -> Int64s:
        """Return the places in natural order, sorted by the column; while they are, some 20 bytes a row are held."""
        places = self._natural.places()
        found, groups = np.empty(self._total, places.dtype), np.empty(self._total, np.int64)
        ((column, _),) = self._by
        start, last = 0, None
        for batch in self._stream("selected_column", self._by, keys=[column]):
            part, cells = slice(start, start + batch.num_rows), batch.column(column)
            found[part] = places[batch.column("row_number").to_numpy()]
            # Rows alike in the column are one group: the groups of a batch go on where those before it ended. Missing
            # values stand last; by itself, Arrow tells them apart by whatever lies under them.
            known = len(cells) - cells.null_count
            ends = pc.run_end_encode(cells.slice(0, known)).run_ends.to_numpy()
            if cells.null_count:
                ends = np.append(ends, len(cells))
            group = 0 if last is None else groups[start - 1] + (not cells[0].equals(last))
            groups[part] = np.repeat(np.arange(group, group + len(ends)), np.diff(ends, prepend=0))
            start, last = part.stop, cells[-1]
        del places
        return packed_sort(groups, found)

    def _stream(
        self,
        name: str,
        order: Order = (),
        *,
        keys: Sequence[str] = (),
        size: int | None = None,
        backwards: bool = False,
    ) -> pa.RecordBatchReader:
        values = {**self._values, "size": size}
        return self._engine.stream(name, values, keys=keys, order=order, backwards=backwards, allowed=ORDERABLE)
