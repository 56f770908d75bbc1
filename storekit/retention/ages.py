"""What each ``default_retention_days`` would delete: every candidate from one build, exact to the microsecond.

Rows that the default wrote die under a candidate by the age of their last write alone. So their last writes in
order, beside running sums of their bytes, answer a candidate by one binary search.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from storekit.retention.rows import Int64s, StoreRows
from storekit.retention.written import DAY_US, How, Written

__all__ = ["AgeIndex", "Curve", "Selection", "Sums", "selected_places"]

_SELECTIONS_HELD = 8
_EARLIEST = int(np.iinfo(np.int64).min)

Selection = tuple[str | None, str | None, str | None]
"""Names of a Dag, a task and a key; None: any. A row is selected by all that are told, exactly."""


@dataclass(frozen=True)
class Curve:
    """Deleted and kept for each candidate; ``…_high``: with the rows that may or may not be the default's."""

    days: Int64s
    deleted: Int64s
    deleted_bytes: Int64s
    deleted_high: Int64s
    deleted_bytes_high: Int64s
    rows: int
    value_bytes: int


class Sums:
    """Instants in order, and the bytes of all before each."""

    def __init__(self, instants: Int64s, sizes: Int64s) -> None:
        self.instants = instants
        self.before = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=self.before[1:])

    def until(self, bounds: Int64s) -> tuple[Int64s, Int64s]:
        """Return how many instants lie before each bound, strictly, and their bytes."""
        count = np.searchsorted(self.instants, bounds, side="left")
        return count.astype(np.int64), self.before[count]

    @property
    def nbytes(self) -> int:
        return self.instants.nbytes + self.before.nbytes


@dataclass(frozen=True)
class _Selected:
    """The rows of one selection, ready to be asked."""

    by_default: Sums  # by last write
    untold: Sums  # by last write
    fixed: Sums  # by expiry: what a program chose itself
    rows: int
    value_bytes: int


class AgeIndex:
    """The rows of a snapshot, so arranged that a candidate costs microseconds, and a selection one look at the codes.

    Parameters
    ----------
    rows
        Ordered by last write.
    written
        How each was written.
    """

    def __init__(self, rows: StoreRows, written: Written) -> None:
        self._rows, self._written = rows, written
        self._held: OrderedDict[Selection, _Selected] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes that the structures hold for all rows, without the rows themselves."""
        whole = self.whole
        return whole.by_default.nbytes + whole.untold.nbytes + whole.fixed.nbytes

    def curve(
        self,
        days: npt.NDArray[np.int64],
        now_us: int,
        *,
        dag_id: str | None = None,
        task_id: str | None = None,
        key: str | None = None,
    ) -> Curve:
        """Return what each candidate would delete at an instant, had it been in force at each write.

        Parameters
        ----------
        days
            Candidates, at least 0; 0: no expiry.
        now_us
            The instant of the cleanup; a row that expires at it is kept.
        dag_id, task_id, key
            Only rows of these; None: of all.
        """
        chosen = self._select((dag_id, task_id, key))
        # In Python's integers: a candidate of a million years does not fit the microseconds of 64 bits.
        cutoffs = np.array([max(now_us - int(each) * DAY_US, _EARLIEST) for each in days], np.int64)
        cutoffs[days == 0] = _EARLIEST
        deleted, deleted_bytes = chosen.by_default.until(cutoffs)
        more, more_bytes = chosen.untold.until(cutoffs)
        fixed, fixed_bytes = chosen.fixed.until(np.array([now_us], np.int64))
        deleted, deleted_bytes = deleted + fixed, deleted_bytes + fixed_bytes
        return Curve(
            days, deleted, deleted_bytes, deleted + more, deleted_bytes + more_bytes, chosen.rows, chosen.value_bytes
        )

    @cached_property
    def whole(self) -> _Selected:
        """All rows."""
        return self._arranged(None)

    def _select(self, selection: Selection) -> _Selected:
        if selection == (None, None, None):
            return self.whole
        if selection in self._held:
            self._held.move_to_end(selection)
            return self._held[selection]
        made = self._arranged(selected_places(self._rows, selection))
        self._held[selection] = made
        if len(self._held) > _SELECTIONS_HELD:
            self._held.popitem(last=False)
        return made

    def _arranged(self, at: npt.NDArray[np.intp] | None) -> _Selected:
        rows = self._rows
        how = self._written.how if at is None else self._written.how[at]
        sizes = rows.value_bytes if at is None else rows.value_bytes[at]
        updated = rows.updated_us if at is None else rows.updated_us[at]
        by_default, untold, fixed = (how == np.uint8(each) for each in (How.DEFAULT, How.UNTOLD, How.EXPLICIT))
        expires = (rows.expires_us if at is None else rows.expires_us[at])[fixed]
        order = np.argsort(expires, kind="stable")
        return _Selected(
            Sums(updated[by_default], sizes[by_default]),
            Sums(updated[untold], sizes[untold]),
            Sums(expires[order], sizes[fixed][order]),
            len(how),
            int(sizes.sum()),
        )


def selected_places(rows: StoreRows, selection: Selection) -> npt.NDArray[np.intp]:
    """Return where the selected rows are; a name that no row has selects none."""
    mask = np.ones(len(rows), np.bool_)
    for column, name in zip((rows.dag_id, rows.task_id, rows.key), selection, strict=True):
        if name is not None:
            mask &= column.codes == column.code(name)
    return np.flatnonzero(mask)
