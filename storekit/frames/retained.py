"""A snapshot's rows as the plain arrays that retention is simulated on: one scan, each distinct text held once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from storekit.engines.texts import NO_LIMIT
from storekit.frames.answers import answer_frame
from storekit.frames.instants import as_skew
from storekit.frames.outcomes import Progress
from storekit.retention.ages import AgeIndex, Selection, selected_places
from storekit.retention.held import Held
from storekit.retention.rows import NO_EXPIRY, Int64s, Labels, StoreRows
from storekit.retention.written import Evidence, Written, checked_defaults, infer

if TYPE_CHECKING:
    from storekit.engines.duckdb import DuckDBEngine
    from storekit.frames.stages import Stages
    from storekit.retention.lives import Grounds

__all__ = ["Retained", "Understood", "as_told", "read_store_rows"]

_INSTANT = pa.timestamp("us", "UTC")
_EVIDENCE = pa.schema(
    [
        pa.field("written", pa.string(), nullable=False),
        pa.field("retention", pa.duration("us")),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("rows", "value_bytes", "tasks", "dags")),
        pa.field("first_written_at", _INSTANT, nullable=False),
        pa.field("last_written_at", _INSTANT, nullable=False),
        pa.field("skew", pa.duration("us")),
        pa.field("because", pa.string(), nullable=False),
    ]
)

_SELECTIONS = 3
_NATURALS = 64
_TEXTS = ("dag_id", "task_id", "key", "task_state")


@dataclass(frozen=True)
class Understood:
    """The rows, with one reading of how they were written."""

    rows: StoreRows
    written: Written
    ages: AgeIndex

    @cached_property
    def grounds(self) -> Grounds:
        """The rows, ready for policies."""
        from storekit.retention.lives import Grounds

        return Grounds(self.rows, self.written, self.ages)

    def take(self, at: npt.NDArray[np.intp]) -> Understood:
        """Return some of the rows, with what was understood of them among all."""
        rows, written = self.rows.take(at), self.written.take(at)
        return Understood(rows, written, AgeIndex(rows, written))

    @cached_property
    def evidence(self) -> list[Evidence]:
        """What speaks for the reading."""
        return self.written.evidence(self.rows)

    @cached_property
    def assumptions(self) -> tuple[str, ...]:
        """What the reading rests on, in words."""
        from storekit.frames.assumptions import of_writing

        return of_writing(self)


class Retained:
    """A snapshot's rows for simulation: read at the first question, kept for all others.

    Parameters
    ----------
    engine
        The snapshot's.
    total
        How many rows it has.
    """

    def __init__(self, engine: DuckDBEngine, total: int) -> None:
        self._engine, self._total = engine, total
        self._rows: StoreRows | None = None
        self._readings: Held[Understood] = Held(1)
        self._selections: Held[Understood] = Held(_SELECTIONS)
        self._naturals: Held[tuple[Int64s, Int64s]] = Held(_NATURALS)

    @property
    def rows(self) -> StoreRows:
        """All rows, by last write."""
        return self.read()

    def read(self, progress: Progress | None = None) -> StoreRows:
        """Return all rows, by last write; ``progress`` is told how many are read, at the first time."""
        if self._rows is None:
            self._rows = read_store_rows(self._engine, self._total, progress)
        return self._rows

    def understood(self, defaults: Iterable[int] | None, skew: timedelta | str) -> Understood:
        """Return the rows with how they were written; the last reading is kept."""
        told, skew = as_told(defaults), as_skew(skew)

        def read() -> Understood:
            written = infer(self.rows, defaults=told, skew=skew)
            return Understood(self.rows, written, AgeIndex(self.rows, written))

        return self._readings.get((told, skew), read)

    def selected(self, told: tuple[int, ...] | None, skew: timedelta, selection: Selection) -> Understood:
        """Return the rows of a selection, with how they were written as told from all."""
        known = self.understood(told, skew)
        if selection == (None, None, None):
            return known
        return self._selections.get((told, skew, selection), lambda: known.take(selected_places(known.rows, selection)))

    def natural(self, dag_id: str) -> tuple[Int64s, Int64s]:
        """Return the numbers of a Dag's rows, ascending, and the place of each by natural key.

        A row is of one Dag, so all that is held is 16 bytes a row at most.
        """

        def ask() -> tuple[Int64s, Int64s]:
            numbers = self.rows.row[self.rows.dag_id.codes == self.rows.dag_id.code(dag_id)]
            values = {"numbers": numbers.tolist(), "size": NO_LIMIT, "skip": 0}
            ordered = self._engine.query("retained_rows", values).column("row_number").to_numpy()
            place = np.argsort(ordered)
            return ordered[place], place

        return self._naturals.get(dag_id, ask)

    @cached_property
    def stages(self) -> Stages:
        """What simulations share."""
        from storekit.frames.stages import Stages

        return Stages(self)

    def evidence(self, defaults: Iterable[int] | None, skew: timedelta | str) -> pd.DataFrame:
        """Return what `Snapshot.written` returns."""
        lines = [{**vars(each), "written": each.how.word} for each in self.understood(defaults, skew).evidence]
        return answer_frame(pa.Table.from_pylist(lines, schema=_EVIDENCE))


def as_told(defaults: Iterable[int] | None) -> tuple[int, ...] | None:
    """Return defaults as plain numbers, which can be read more than once.

    Raises
    ------
    QueryError
        If one is no whole number of days of at least 0.
    """
    if defaults is None:
        return None
    one = isinstance(defaults, Integral | str) or not isinstance(defaults, Iterable)
    return checked_defaults([defaults] if one else defaults)  # type: ignore[list-item]


def read_store_rows(engine: DuckDBEngine, total: int, progress: Progress | None = None) -> StoreRows:
    """Read every row of a snapshot.

    Parameters
    ----------
    engine
        The snapshot's.
    total
        How many rows it has.
    progress
        Called with (rows read, rows in all); what it raises ends the reading.
    """
    updated, expires, sizes, number = (np.empty(total, np.int64) for _ in range(4))
    never = np.empty(total, np.int8)
    is_asset, is_reference = np.empty(total, np.bool_), np.empty(total, np.bool_)
    texts: dict[str, list[pa.Array]] = {name: [] for name in _TEXTS}
    start = 0
    for batch in engine.stream("retention_rows"):
        part = slice(start, start + batch.num_rows)
        updated[part] = _microseconds(batch.column("updated_at"))
        expires[part] = _microseconds(batch.column("expires_at"))
        sizes[part] = batch.column("value_bytes").to_numpy()
        number[part] = batch.column("row_number").to_numpy()
        never[part] = batch.column("never_expire").cast(pa.int8()).fill_null(-1).to_numpy()
        is_asset[part] = pc.equal(batch.column("store"), "asset").to_numpy(zero_copy_only=False)
        is_reference[part] = batch.column("is_reference").to_numpy(zero_copy_only=False)
        for name, held in texts.items():
            held.append(batch.column(name).dictionary_encode())
        start += batch.num_rows
        if progress is not None:
            progress(start, total)
    order = np.argsort(updated, kind="stable")
    labels = {}
    for name in _TEXTS:  # one after the other: the texts of a million keys are held twice while they are encoded
        column = pa.chunked_array(texts.pop(name), type=pa.dictionary(pa.int32(), pa.string()))
        labels[name] = Labels.of(column).take(order)
    return StoreRows(
        updated[order],
        expires[order],
        sizes[order],
        never[order],
        is_asset[order],
        is_reference[order],
        **labels,
        row=number[order],
    )


def _microseconds(column: pa.Array) -> Int64s:
    numbers: npt.NDArray[np.int64] = column.cast(pa.int64()).fill_null(NO_EXPIRY).to_numpy()
    return numbers
