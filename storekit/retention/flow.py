"""What is written, day by day, as far as a snapshot can tell: what a forecast starts from.

Only survivors are visible. A row with a retention of 7 days, written 8 days ago, may have been cleaned up, so its
kind is counted over the last 7 days only, and over as much more as the oldest expired row that is still there proves:
had a cleanup run after its expiry, it would be gone. A key that was written again shows its last write alone. Snapshots
taken earlier help: each day is counted in the first snapshot after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from storekit.retention.durations import spell_duration
from storekit.retention.forecast import DailyHistory
from storekit.retention.lives import tally
from storekit.retention.rows import NO_EXPIRY, Int64s, StoreRows, as_us, from_us
from storekit.retention.written import DAY_US, Written

__all__ = ["MOST_DAYS", "Flow", "Sighting", "flow_of"]

MOST_DAYS = 366
_MOST_KINDS = 24
_FREQUENT = 8
_UNLIKELY = 0.001
"""Where so few histories would show no row by chance, a kind is taken not to have begun."""
_SHORTEST_US = as_us(timedelta(minutes=1))
"""What expired stays until the next cleanup, so the last minute is seen whole, or all but always."""
_STEP = np.log(1.05)


@dataclass(frozen=True)
class Sighting:
    """A snapshot's rows, how they were written, and when it was taken."""

    rows: StoreRows
    written: Written
    taken_us: int


@dataclass(frozen=True)
class Flow:
    """Writes per day, by kind: rows that are visible for about the same time.

    Parameters
    ----------
    history
        Days of 24 hours that end at the newest snapshot; columns: rows of each kind, then bytes of each kind.
    kind
        For each row of the newest snapshot, its kind; -1: an asset's.
    counted
        Which of its rows lie in the window of their kind, and in the days of the history.
    windows
        For each kind, how many days it can be seen.
    uncleaned_us
        For how long, at least, no cleanup has run, in microseconds.
    """

    history: DailyHistory
    kind: npt.NDArray[np.int32]
    counted: npt.NDArray[np.bool_]
    windows: npt.NDArray[np.float64]
    uncleaned_us: int

    @property
    def kinds(self) -> int:
        """How many."""
        return len(self.windows)


def flow_of(newest: Sighting, earlier: Sequence[Sighting] = ()) -> Flow:
    """Count the writes of each day.

    Parameters
    ----------
    newest
        The snapshot that is simulated.
    earlier
        Older ones of the same store, in any order.
    """
    edges, lasting_us = _kinds_of(newest)
    sightings = [newest, *sorted(earlier, key=lambda each: -each.taken_us)]
    looks = [_look(each, edges, lasting_us) for each in sightings]
    kinds = len(edges)
    days_of = _days_seen(sightings, looks, kinds)
    days = int(days_of.max(initial=1))
    counts = np.zeros((days, 2 * kinds))
    seen = np.zeros((days, 2 * kinds), np.bool_)
    ends = newest.taken_us - DAY_US * np.arange(days - 1, -1, -1, dtype=np.int64)
    for sighting, look in zip(sightings, looks, strict=True):
        # From the newest back: an earlier snapshot counts its days again, and knows more.
        _count(sighting, *look, ends, counts, seen)
    kind, usable, visible_us = looks[0]
    seen[np.arange(days)[:, None] < days - np.tile(days_of, 2)] = False
    counted = usable.copy()
    counted[usable] = newest.taken_us - newest.rows.updated_us[usable] <= days_of[kind[usable]] * DAY_US
    _count_short(newest, kind, counted, visible_us, counts, seen)
    _forget_before_begin(counts, seen)
    names = tuple(_name(each) for each in lasting_us)
    # A day of 24 hours is called by the date that most of it falls on.
    first = from_us(int(ends[0]) - DAY_US // 2).date()
    history = DailyHistory(
        first, counts, seen, names=(*(f"rows {each}" for each in names), *(f"bytes {each}" for each in names))
    )
    return Flow(history, kind, counted, np.minimum(visible_us / DAY_US, days_of), _uncleaned(newest))


def _kinds_of(newest: Sighting) -> tuple[Int64s, Int64s]:
    """Return the kinds, as steps of 5 %, and how long, at least, the rows of each last."""
    task = ~newest.rows.is_asset
    steps, lived = _steps(newest.written)[task], newest.written.lived_us[task]
    values, counts = np.unique(steps, return_counts=True)
    kept = np.arange(len(values))
    if len(values) > _MOST_KINDS:
        frequent = np.argsort(-counts, kind="stable")[:_FREQUENT]
        spread = np.linspace(0, len(values) - 1, _MOST_KINDS - _FREQUENT).astype(int)
        kept = np.union1d(frequent, spread)
    kinds = values[kept]
    shortest = np.full(len(kinds), NO_EXPIRY, np.int64)
    np.minimum.at(shortest, _below(steps, kinds), lived)
    return kinds, np.maximum(shortest, 1)


_FOREVER = 10_000


def _steps(written: Written) -> Int64s:
    steps = np.full(len(written.how), _FOREVER, np.int64)
    expires = written.lived_us != NO_EXPIRY
    # What expired before it was written is seen for no time at all.
    steps[expires] = np.floor(np.log(np.maximum(written.lived_us[expires], 1)) / _STEP)
    return steps


def _look(
    sighting: Sighting, kinds: Int64s, lasting_us: Int64s
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_], Int64s]:
    """Return each row's kind, whether it can be counted, and how far back each kind is whole."""
    kind, visible_us = _assigned(sighting, kinds), _visible(lasting_us, sighting)
    age = sighting.taken_us - sighting.rows.updated_us
    usable = (kind >= 0) & (age >= 0)
    usable[usable] &= age[usable] <= visible_us[kind[usable]]
    return kind, usable, visible_us


def _visible(lasting_us: Int64s, sighting: Sighting) -> Int64s:
    """Return how far back each kind is whole in a snapshot: no row of it can have been cleaned up."""
    uncleaned = _uncleaned(sighting)
    lasting_us = np.maximum(lasting_us, _SHORTEST_US)
    return np.where(lasting_us > NO_EXPIRY - uncleaned, NO_EXPIRY, lasting_us + uncleaned)


def _uncleaned(sighting: Sighting) -> int:
    """Return for how long no cleanup can have run: what expired that long ago is still there."""
    task = ~sighting.rows.is_asset & (sighting.rows.never != 1)
    # What had expired when it was written tells of no cleanup before its write.
    since = np.maximum(sighting.rows.expires_us, sighting.rows.updated_us)[task]
    return max(sighting.taken_us - int(since.min(initial=sighting.taken_us)), 0)


def _assigned(sighting: Sighting, kinds: Int64s) -> npt.NDArray[np.int32]:
    """Return each row's kind: the longest that lasts no longer, so that none is counted where it may be gone."""
    if not len(kinds):
        return np.full(len(sighting.rows), -1, np.int32)
    kind = _below(_steps(sighting.written), kinds).astype(np.int32)
    kind[sighting.rows.is_asset] = -1
    return kind


def _below(steps: Int64s, kinds: Int64s) -> npt.NDArray[np.intp]:
    # An earlier snapshot may have shorter ones than the newest: they count with its shortest.
    return np.maximum(np.searchsorted(kinds, steps, side="right") - 1, 0)


def _days_seen(
    sightings: Sequence[Sighting],
    looks: Sequence[tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_], Int64s]],
    kinds: int,
) -> Int64s:
    """Return for each kind over how many days it is counted: the same for all, or one more."""
    firsts = [int(each.rows.updated_us[~each.rows.is_asset].min()) for each in sightings if (~each.rows.is_asset).any()]
    if not firsts:
        return np.ones(kinds, np.int64)
    # The day of the first row is seen in part only, and would make a rate too small.
    whole = (sightings[0].taken_us - min(firsts)) // DAY_US
    # But what was written on it alone would be forecast as zeros, as if that were known.
    ever, late = (np.zeros(kinds, np.bool_) for _ in range(2))
    for sighting, (kind, usable, _) in zip(sightings, looks, strict=True):
        ever[kind[usable]] = True
        late[kind[usable & (sightings[0].taken_us - sighting.rows.updated_us < whole * DAY_US)]] = True
    days: Int64s = np.clip(whole + (ever & ~late), 1, MOST_DAYS).astype(np.int64)
    return days


def _count(
    sighting: Sighting,
    kind: npt.NDArray[np.int32],
    usable: npt.NDArray[np.bool_],
    visible_us: Int64s,
    ends: Int64s,
    counts: npt.NDArray[np.float64],
    seen: npt.NDArray[np.bool_],
) -> None:
    """Count the days that a snapshot has seen to their end, over what a later one made of them."""
    days, kinds = len(ends), len(visible_us)
    day = (sighting.rows.updated_us - (ends[0] - DAY_US)) // DAY_US
    inside = usable & (day >= 0) & (day < days)
    place = day[inside] * kinds + kind[inside]
    rows, sizes = tally(place.astype(np.intp), sighting.rows.value_bytes[inside], days * kinds)
    starts = ends - DAY_US
    for each in range(kinds):
        oldest = -NO_EXPIRY if visible_us[each] == NO_EXPIRY else sighting.taken_us - int(visible_us[each])
        whole = (ends <= sighting.taken_us) & (starts >= oldest)
        counts[whole, each] = rows.reshape(days, kinds)[whole, each]
        counts[whole, kinds + each] = sizes.reshape(days, kinds)[whole, each]
        seen[whole, each] = seen[whole, kinds + each] = True


def _count_short(
    newest: Sighting,
    kind: npt.NDArray[np.int32],
    counted: npt.NDArray[np.bool_],
    visible_us: Int64s,
    counts: npt.NDArray[np.float64],
    seen: npt.NDArray[np.bool_],
) -> None:
    """Give a kind that is visible for less than a day its rate of the last hours, as one day's."""
    kinds = len(visible_us)
    for each in np.flatnonzero(~seen[:, :kinds].any(axis=0)):
        recent = counted & (kind == each)
        scale = DAY_US / int(visible_us[each])
        counts[-1, each] = float(recent.sum()) * scale
        counts[-1, kinds + each] = float(newest.rows.value_bytes[recent].sum()) * scale
        seen[-1, each] = seen[-1, kinds + each] = True


def _forget_before_begin(counts: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_]) -> None:
    """Take the days before a kind's first row for unseen, where they are too many for chance: it had not begun."""
    kinds = counts.shape[1] // 2
    for each in range(kinds):
        days = np.flatnonzero(seen[:, each])
        written = counts[days, each]
        if not written.any():
            continue
        first = int(np.argmax(written > 0))
        # Of the days after its first one, how many saw any: a job that runs once a week may well have begun before.
        busy = float((written[first + 1 :] > 0).mean()) if first + 1 < len(days) else 0.0
        if (1 - busy) ** first < _UNLIKELY:
            seen[days[:first], each] = seen[days[:first], kinds + each] = False


def _name(visible_us: np.int64) -> str:
    """Return what a kind is called: ``without expiry``, ``kept 30 days``, ``kept 20 seconds``."""
    if visible_us == NO_EXPIRY:
        return "without expiry"
    # To a unit: the way to the server shortens what is seen.
    for unit in (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)):
        whole = round(int(visible_us) / as_us(unit))
        if whole >= 1:
            return f"kept {spell_duration(whole * unit)}"
    return "kept no time"
