"""What future writes add under a policy: forecast writes, each living as long as the policy gives it.

Writes are spread evenly over their day, so the rows alive at an instant are a difference of two running sums:
all written until then, less all that the last cleanup found expired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from storekit.retention.flow import Flow
from storekit.retention.forecast import Forecast
from storekit.retention.lives import CLEARED, LAST_US, Fixed, Lives, tally
from storekit.retention.rows import NO_EXPIRY, Int64s, StoreRows
from storekit.retention.written import DAY_US

__all__ = ["Future", "Mixes", "Shares", "shares_of"]

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


class _Cells:
    """Writes by kind and by how long they live, in steps of 5 %: few numbers, so they are counted, not sorted."""

    def __init__(self, kinds: int) -> None:
        self.lived = np.zeros(kinds * _STEPS)
        self.rows, self.sizes = np.zeros(kinds * _STEPS, np.int64), np.zeros(kinds * _STEPS, np.int64)

    def copy(self) -> _Cells:
        other = _Cells(0)
        other.lived, other.rows, other.sizes = self.lived.copy(), self.rows.copy(), self.sizes.copy()
        return other

    def add(self, counted: tuple[Int64s, Int64s], lived_us: int) -> None:
        """Add rows and bytes of each kind that live equally long."""
        step = int(_steps(np.array([lived_us]))[0])
        self.lived[step::_STEPS] += float(lived_us) * counted[0]
        self.rows[step::_STEPS] += counted[0]
        self.sizes[step::_STEPS] += counted[1]


def _steps(lived_us: Int64s) -> Int64s:
    steps = np.log(np.maximum(lived_us, 1)) / _STEP
    return np.where(lived_us == NO_EXPIRY, _NEVER, steps).astype(np.int64)


def _lived(expires_us: Int64s, updated_us: Int64s) -> Int64s:
    return np.where(expires_us == NO_EXPIRY, NO_EXPIRY, np.maximum(expires_us - updated_us, 0))


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
    totals = tally(flow.kind[at], rows.value_bytes[at], flow.kinds)
    at = at[expires_us[at] != CLEARED]
    sizes, lived = rows.value_bytes[at], _lived(expires_us[at], rows.updated_us[at])
    place = flow.kind[at] * np.int64(_STEPS) + _steps(lived)
    cells = _Cells(flow.kinds)
    cells.lived = np.bincount(place, weights=lived, minlength=len(cells.lived)).astype(np.float64)
    cells.rows, cells.sizes = tally(place, sizes, len(cells.rows))
    if group is None:
        return _shares(cells, totals)
    used = np.flatnonzero(cells.rows)
    where = np.cumsum(cells.rows > 0)[place] - 1
    count, size = tally(where * groups + group[at], sizes, len(used) * groups)
    return _shares(cells, totals, (count.reshape(len(used), groups), size.reshape(len(used), groups)))


def _shares(cells: _Cells, totals: tuple[Int64s, Int64s], grouped: tuple[Int64s, Int64s] | None = None) -> Shares:
    used = np.flatnonzero(cells.rows)
    kind, never = used // _STEPS, used % _STEPS == _NEVER
    mean = cells.lived[used] / cells.rows[used]
    rows, sizes = grouped or (cells.rows[used][:, None], cells.sizes[used][:, None])
    return Shares(
        kind,
        np.where(never, NO_EXPIRY, np.minimum(mean, float(2**62)).astype(np.int64)),
        rows / np.maximum(totals[0][kind], 1)[:, None],
        sizes / np.maximum(totals[1][kind], 1)[:, None],
    )


class Mixes:
    """The shares of policies: those that differ in their default alone are told from one count of the rows.

    Parameters
    ----------
    flow
        The writes.
    rows
        The snapshot's.
    """

    def __init__(self, flow: Flow, rows: StoreRows) -> None:
        self.flow, self._rows = flow, rows
        # By identity; what is forgotten there is forgotten here.
        self._counted: WeakKeyDictionary[Fixed, _Mix] = WeakKeyDictionary()

    def shares(self, lives: Lives, *, soonest: bool) -> Shares:
        """Return what `shares_of` does of the whole store, lives being those as if the policy had been in force."""
        rows, by_us = self._rows, lives.by_us
        late = by_us is not None and by_us != NO_EXPIRY and len(rows) and rows.updated_us[-1] > LAST_US - by_us
        if by_us is None or late:  # of what the default gives, some ends after the year 9999: each row by itself
            return shares_of(self.flow, rows, lives.at(slice(None), soonest=soonest))
        if lives.fixed not in self._counted:
            self._counted[lives.fixed] = _Mix(self.flow, lives.fixed)
        mix = self._counted[lives.fixed]
        cells = mix.settled.copy()
        cells.add(mix.by_default, by_us)
        cells.add(mix.untold, by_us if soonest else NO_EXPIRY)
        return _shares(cells, mix.totals)


class _Mix:
    """A flow's rows, counted: those that the default decides by kind, the others by how long they live too."""

    def __init__(self, flow: Flow, fixed: Fixed) -> None:
        rows = fixed.rows
        self.totals = self._of(flow, fixed, flow.counted)
        self.by_default = self._of(flow, fixed, flow.counted & fixed.by_default)
        self.untold = self._of(flow, fixed, flow.counted & fixed.untold)
        settled = flow.counted & ~fixed.by_default & ~fixed.untold & (fixed.expires_us != CLEARED)
        at = np.flatnonzero(settled)
        lived = _lived(fixed.expires_us[at], rows.updated_us[at])
        place = flow.kind[at] * np.int64(_STEPS) + _steps(lived)
        self.settled = _Cells(flow.kinds)
        lived_sum = np.bincount(place, weights=lived, minlength=len(self.settled.lived))
        self.settled.lived = lived_sum.astype(np.float64)  # of no rows at all, it is of integers
        self.settled.rows, self.settled.sizes = tally(place, rows.value_bytes[at], len(self.settled.rows))

    def _of(self, flow: Flow, fixed: Fixed, mask: npt.NDArray[np.bool_]) -> tuple[Int64s, Int64s]:
        return tally(flow.kind[mask], fixed.rows.value_bytes[mask], flow.kinds)


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
        written = np.cumsum(forecast.paths, axis=1).transpose(2, 1, 0)
        # [columns, days, paths]: what is asked for is all paths at an instant, and so they lie together.
        self._written = np.zeros((written.shape[0], written.shape[1] + 1, written.shape[2]))
        self._written[:, 1:] = written

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
        groups = shares.rows.shape[1]
        length = len(bounds(0)[0])
        rows, sizes = (np.zeros((groups, length, self._written.shape[2])) for _ in range(2))
        last: dict[int, tuple[Int64s, Floats]] = {}
        for cell, kind in enumerate(shares.kind):
            until, since = bounds(int(shares.lived_us[cell]))
            for total, column, share in (
                (rows, kind, shares.rows[cell]),
                (sizes, kind + self._kinds, shares.sizes[cell]),
            ):
                # Until when is the same for all cells of a kind, as long as it is alive that is asked for.
                if column not in last or last[column][0] is not until:
                    last[column] = until, self._until(column, until)
                written = last[column][1] - self._until(column, since)
                for group in np.flatnonzero(share):
                    total[group] += written * share[group]
        return rows.transpose(2, 1, 0), sizes.transpose(2, 1, 0)

    def _until(self, column: int, instants_us: Int64s) -> Floats:
        """Return how much was written from the start until instants, [instants, paths]."""
        days = np.clip((instants_us - self._start) / DAY_US, 0, self._written.shape[1] - 1)
        whole = np.minimum(days.astype(np.int64), self._written.shape[1] - 2)
        part = (days - whole)[:, None]
        held = self._written[column]
        value: Floats = held[whole] * (1 - part)
        value += held[whole + 1] * part
        return value
