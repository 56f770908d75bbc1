"""Rows of a snapshot as plain arrays: what simulation reads, without a database or a DataFrame."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["NO_EXPIRY", "TICK", "Labels", "StoreRows", "as_instant_us", "as_us", "from_us"]

Int64s = npt.NDArray[np.int64]

NO_EXPIRY = int(np.iinfo(np.int64).max)
"""Stands for "no expiry" among instants: it is later than every instant."""

TICK = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_us(span: timedelta) -> int:
    """Return a duration in microseconds, exactly."""
    return span // TICK


def as_instant_us(instant: datetime) -> int:
    """Return an aware instant in microseconds since 1970, exactly."""
    return as_us(instant - _EPOCH)


def from_us(instant: int) -> datetime:
    """Return the instant that `as_instant_us` turned into a number."""
    return _EPOCH + int(instant) * TICK


@dataclass(frozen=True)
class Labels:
    """A column of texts, each distinct one held once.

    Parameters
    ----------
    codes
        Index into ``names`` for each row; -1: missing.
    names
        The distinct texts.
    """

    codes: npt.NDArray[np.int32]
    names: pa.Array

    @classmethod
    def of(cls, column: Any) -> Labels:
        """Encode a column: a list of texts, an Arrow array, or an Arrow chunked array of texts or dictionaries."""
        array = column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column, pa.string())
        if not pa.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        if isinstance(array, pa.ChunkedArray):
            array = array.unify_dictionaries()
            chunks = [each.indices.fill_null(-1).to_numpy() for each in array.chunks]
            names = array.chunk(0).dictionary if array.num_chunks else pa.array([], pa.string())
            codes = np.concatenate(chunks) if chunks else np.empty(0)
        else:
            codes, names = array.indices.fill_null(-1).to_numpy(zero_copy_only=False), array.dictionary
        return cls(codes.astype(np.int32, copy=False), names)

    def code(self, name: str) -> int:
        """Return the code of a text; -2, which no row has, for one that is not there."""
        found = self.names.index(name).as_py() if len(self.names) else -1
        return -2 if found < 0 else int(found)

    def take(self, order: npt.NDArray[np.intp]) -> Labels:
        """Return the column of the rows at these positions."""
        return Labels(self.codes[order], self.names)

    def compact(self) -> Labels:
        """Return the column without the names that no row has."""
        used = np.unique(self.codes[self.codes >= 0])
        codes = np.where(self.codes < 0, -1, np.searchsorted(used, self.codes))
        return Labels(codes.astype(np.int32), self.names.take(pa.array(used)))


@dataclass(frozen=True)
class StoreRows:
    """Every row of both stores, ordered by last write. All arrays have one length.

    Parameters
    ----------
    updated_us, expires_us
        Instants in microseconds since 1970, UTC; an expiry of `NO_EXPIRY`: none.
    value_bytes
        Size of the stored text.
    never
        1: flagged NEVER_EXPIRE; 0: not flagged; -1: the layout has no flag to tell.
    is_asset, is_reference
        Whether it is an asset's row; whether its text refers to a worker-side object.
    dag_id, task_id, key, task_state
        Texts; missing for asset rows, but for the key.
    row
        Which row of the snapshot it is.
    """

    updated_us: Int64s
    expires_us: Int64s
    value_bytes: Int64s
    never: npt.NDArray[np.int8]
    is_asset: npt.NDArray[np.bool_]
    is_reference: npt.NDArray[np.bool_]
    dag_id: Labels
    task_id: Labels
    key: Labels
    task_state: Labels
    row: Int64s

    def __len__(self) -> int:
        return len(self.updated_us)

    def take(self, at: npt.NDArray[np.intp]) -> StoreRows:
        """Return the rows at these positions, with their texts alone; in order, they stay ordered by last write."""
        dag_id, task_id, key, state = (
            each.take(at).compact() for each in (self.dag_id, self.task_id, self.key, self.task_state)
        )
        return StoreRows(
            self.updated_us[at],
            self.expires_us[at],
            self.value_bytes[at],
            self.never[at],
            self.is_asset[at],
            self.is_reference[at],
            dag_id,
            task_id,
            key,
            state,
            self.row[at],
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays hold, distinct texts included."""
        numbers = (self.updated_us, self.expires_us, self.value_bytes, self.never, self.is_asset, self.is_reference)
        labels = (self.dag_id, self.task_id, self.key, self.task_state)
        texts = sum(each.codes.nbytes + int(each.names.nbytes) for each in labels)
        return sum(each.nbytes for each in numbers) + self.row.nbytes + texts
