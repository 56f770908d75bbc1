"""What future writes add under a policy: forecast writes, each living as long as the policy gives it.

Writes are spread evenly over their day, so the rows alive at an instant are a difference of two running sums:
all written until then, less all that the last cleanup found expired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from storekit.retention.flow import Flow
from storekit.retention.forecast import Forecast
from storekit.retention.lives import CLEARED, tally
from storekit.retention.rows import NO_EXPIRY, Int64s, StoreRows
from storekit.retention.written import DAY_US

__all__ = ["Future", "Shares", "shares_of"]

Floats = npt.NDArray[np.float64]
_STEP = np.log(1.05)
_STEPS = 1000  # of 5 %: 64 bits of microseconds are fewer
_NEVER = _STEPS - 1


@dataclass(frozen=True)
class Shares:
    """Of the writes of each kind, which part lives how long under a policy.

    Parameters
    ----------
    kind
        For each cell, the kind of write.
    lived_us
        For each cell, how long its rows live, in microseconds; `NO_EXPIRY`: for good.
    rows, sizes
        For each cell and group, the share of the kind's rows and bytes; what is cleared on success is in no cell.
    """

    kind: npt.NDArray[np.int64]
    lived_us: Int64s
    rows: Floats
    sizes: Floats


def shares_of(
    flow: Flow, rows: StoreRows, expires_us: Int64s, group: npt.NDArray[np.int64] | None = None, groups: int = 1
) -> Shares:
    """Return how the writes that a snapshot shows would have lived; the mix is taken to stay as it is.

    Parameters
    ----------
    flow
        The writes.
    rows, expires_us
        The snapshot's rows, and their expiries under the policy as if it had been in force.
    group, groups
        Each row's group, from 0, and how many there are; None: all are one.
    """
    at = np.flatnonzero(flow.counted)
    kind = flow.kind[at].astype(np.int64)
    sizes = rows.value_bytes[at]
    totals = tally(kind, sizes, flow.kinds)
    gone = expires_us[at] == CLEARED
    at, kind, sizes = at[~gone], kind[~gone], sizes[~gone]
    forever = expires_us[at] == NO_EXPIRY
    lived = np.where(forever, NO_EXPIRY, np.maximum(expires_us[at] - rows.updated_us[at], 0))
    steps = np.where(forever, _NEVER, np.log(np.maximum(lived, 1)) / _STEP).astype(np.int64)
    # Few numbers, so they are counted rather than sorted.
    place = kind * _STEPS + steps
    lived_sum = np.bincount(place, weights=lived, minlength=flow.kinds * _STEPS)
    counted = np.bincount(place, minlength=flow.kinds * _STEPS)
    cells = np.flatnonzero(counted)
    where = np.cumsum(counted > 0)[place] - 1
    of_group = np.zeros(len(at), np.int64) if group is None else group[at]
    count, size = tally(where * groups + of_group, sizes, len(cells) * groups)
    cell_kind, never = cells // _STEPS, cells % _STEPS == _NEVER
    mean = lived_sum[cells] / counted[cells]
    shape = (len(cells), groups)
    return Shares(
        cell_kind,
        np.where(never, NO_EXPIRY, np.minimum(mean, float(2**62)).astype(np.int64)),
        count.reshape(shape) / np.maximum(totals[0][cell_kind], 1)[:, None],
        size.reshape(shape) / np.maximum(totals[1][cell_kind], 1)[:, None],
    )


class Future:
    """Forecast writes of every kind, as paths.

    Parameters
    ----------
    flow, forecast
        The writes seen, and what they become; the forecast's days begin at ``start_us``.
    start_us
        When the snapshot was taken.
    """

    def __init__(self, flow: Flow, forecast: Forecast, start_us: int) -> None:
        self._kinds, self._start = flow.kinds, start_us
        written = np.cumsum(forecast.paths, axis=1)
        self._written = np.concatenate([np.zeros((len(written), 1, written.shape[2])), written], axis=1)

    def alive(self, shares: Shares, at_us: Int64s, cleaned_us: Int64s) -> tuple[Floats, Floats]:
        """Return rows and bytes alive at instants, [paths, instants, groups].

        Parameters
        ----------
        shares
            How long they live.
        at_us
            The instants.
        cleaned_us
            For each, the last cleanup until then; before the forecast's start: none.
        """
        return self._both(shares, lambda lived: (at_us, self._expired_before(cleaned_us, lived)))

    def deleted(self, shares: Shares, runs_us: Int64s) -> tuple[Floats, Floats]:
        """Return rows and bytes that each cleanup deletes, [paths, cleanups, groups]."""
        before = np.concatenate([[self._start], runs_us[:-1]]) if len(runs_us) else runs_us
        return self._both(
            shares, lambda lived: (self._expired_before(runs_us, lived), self._expired_before(before, lived))
        )

    def _expired_before(self, cleaned_us: Int64s, lived_us: int) -> Int64s:
        """Return until which write a cleanup found everything expired."""
        if lived_us == NO_EXPIRY:
            return np.full(len(cleaned_us), self._start)
        bound: Int64s = np.maximum(cleaned_us - np.int64(lived_us), self._start)
        return bound

    def _both(self, shares: Shares, bounds: Callable[[int], tuple[Int64s, Int64s]]) -> tuple[Floats, Floats]:
        paths, groups = len(self._written), shares.rows.shape[1]
        rows = sizes = None
        for cell, kind in enumerate(shares.kind):
            until, since = bounds(int(shares.lived_us[cell]))
            for column, share in ((kind, shares.rows[cell]), (kind + self._kinds, shares.sizes[cell])):
                written = self._until(column, until) - self._until(column, since)
                added = written[:, :, None] * share
                if column == kind:
                    rows = added if rows is None else rows + added
                else:
                    sizes = added if sizes is None else sizes + added
        if rows is None or sizes is None:
            length = len(bounds(0)[0])
            return np.zeros((paths, length, groups)), np.zeros((paths, length, groups))
        return rows, sizes

    def _until(self, column: int, instants_us: Int64s) -> Floats:
        """Return how much was written from the start until instants, [paths, instants]."""
        days = np.clip((instants_us - self._start) / DAY_US, 0, self._written.shape[1] - 1)
        whole = np.minimum(days.astype(np.int64), self._written.shape[1] - 2)
        part = days - whole
        held = self._written[:, :, column]
        value: Floats = held[:, whole] * (1 - part) + held[:, whole + 1] * part
        return value
