"""The order of a selection's rows as numbers, so that any page of it costs no more than its own rows.

Near its ends an order is read from there: DuckDB finds the first rows without sorting the rest. The order of all rows
is made once a page is asked for that lies elsewhere, and kept: 4 bytes a row (8 from two billion rows on).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from storekit.engines.texts import Order

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from storekit.engines.duckdb import DuckDBEngine

__all__ = ["FEW", "NEAR", "Numbers", "RowOrder"]

Numbers = npt.NDArray[np.int32] | npt.NDArray[np.int64]

NEAR = 1_000
"""Rows that are read at once from either end, and kept."""
# Of a million rows DuckDB finds the first 1,000 in the time of the first 25; the first 20,000 take it a whole sort.

FEW = 50_000
"""So many rows are sorted whole at once."""


class RowOrder:
    """One order of a selection's rows: their row numbers from the front, from the end, or all, as they are needed.

    Parameters
    ----------
    engine
        The snapshot's.
    values
        The selection's parameters.
    order, allowed
        As for `DuckDBEngine.stream`; it must be total.
    total, of
        How many rows are selected, and how many the snapshot has.
    """

    def __init__(
        self,
        engine: DuckDBEngine,
        values: Mapping[str, Any],
        order: Order,
        allowed: Collection[str],
        *,
        total: int,
        of: int,
    ) -> None:
        self._engine, self._values, self._order, self._allowed = engine, values, order, allowed
        self._total = total
        self._narrow = of < 2**31
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
            self._whole = self._read(self._total)
        return self._whole[start:stop]

    @cached_property
    def _front(self) -> Numbers:
        return self._read(min(NEAR, self._total))

    @cached_property
    def _back(self) -> Numbers:
        return self._read(min(NEAR, self._total), backwards=True)[::-1]

    def _read(self, size: int, *, backwards: bool = False) -> Numbers:
        found: Numbers = np.empty(size, np.int32) if self._narrow else np.empty(size, np.int64)
        start = 0
        for batch in self._engine.stream(
            "selected_order",
            {**self._values, "size": size},
            order=self._order,
            allowed=self._allowed,
            backwards=backwards,
        ):
            found[start : start + batch.num_rows] = batch.column("row_number").to_numpy()
            start += batch.num_rows
        return found
