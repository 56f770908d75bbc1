"""Which ``default_retention_days`` were in force, and since when: found in what was written.

A retention of whole days may be the default or a program's own choice. What tells them apart:

- At one time there is one default, and it is everyone's: so it is what most Dags share in the newest week.
- A default changes for everyone at once, a program's choice does not: an earlier default is one that several tasks, of
  two Dags or more where there are two, left on the same day for the later one.
- Who wrote a retention while another default was in force chose it, then and always.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from storekit.retention.rows import Int64s, StoreRows

__all__ = ["DAY_US", "MOST_DAYS", "found_defaults", "pairs_of"]

DAY_US = 86_400_000_000
MOST_DAYS = 36_500
"""A longer retention is no default that anyone sets."""

_WEEK = 7
_SHIPPED = 30
_OVERLAP = 1  # on the day of a change both are in force
_MOST_CHANGES = 20
_SAID = 3


@dataclass(frozen=True)
class _Choices:
    """Each retention of each task, with the first and the last day on which it was written."""

    unit: Int64s
    dag: Int64s
    days: Int64s
    first: Int64s
    last: Int64s


@dataclass(frozen=True)
class _Regime:
    """A default, and the first day on which it was in force; None: as far as can be seen."""

    days: int
    since: int | None


def pairs_of(first: Int64s, second: Int64s) -> tuple[tuple[Int64s, Int64s], npt.NDArray[np.intp]]:
    """Return the distinct pairs in order, as two columns, and for each row which pair it has."""
    names, code = np.unique(second, return_inverse=True)
    pairs, where = np.unique(first * len(names) + code, return_inverse=True)
    return (pairs // len(names), names[pairs % len(names)]), where


def found_defaults(
    rows: StoreRows, days: npt.NDArray[np.int32], near: npt.NDArray[np.bool_]
) -> tuple[tuple[int, ...], npt.NDArray[np.bool_], str | None]:
    """Find the defaults that were in force, newest first, which rows they wrote, and what is doubtful about it.

    Parameters
    ----------
    rows
        A snapshot's.
    days, near
        The whole days nearest to each row's retention, and whether it is near enough.
    """
    by_default = np.zeros(len(rows), np.bool_)
    at = np.flatnonzero(near)
    if not len(at):
        return (), by_default, None
    day = rows.updated_us[at] // DAY_US
    tasks = len(rows.task_id.names) + 1
    dag = rows.dag_id.codes[at].astype(np.int64) + 1
    (unit, retention), where = pairs_of(dag * tasks + rows.task_id.codes[at] + 1, days[at].astype(np.int64))
    choices = _Choices(unit, unit // tasks, retention, *_spans(where, day, len(unit)))
    newest = int(day.max())
    current, support, dags = _most_shared(choices, day, where, newest)
    regimes = _regimes(choices, current)
    by_default[at] = _by_default(choices, regimes, day, where)
    return tuple(dict.fromkeys(each.days for each in regimes)), by_default, _doubt(regimes[0], current, support, dags)


def _spans(where: npt.NDArray[np.intp], day: Int64s, total: int) -> tuple[Int64s, Int64s]:
    first, last = np.full(total, np.iinfo(np.int64).max), np.full(total, np.iinfo(np.int64).min)
    np.minimum.at(first, where, day)
    np.maximum.at(last, where, day)
    return first, last


def _most_shared(
    choices: _Choices, day: Int64s, where: npt.NDArray[np.intp], newest: int
) -> tuple[int, dict[int, int], int]:
    """Return the retention that most Dags share in the newest week, of how many Dags each is, and how many there are.

    Of as many Dags, that of more tasks; then 30 days, which Airflow comes with; then that of more rows.
    """
    written = np.bincount(where[day > newest - _WEEK], minlength=len(choices.unit))
    recent = np.flatnonzero(written)
    support = {}
    ranked = []
    for value in np.unique(choices.days[recent]).tolist():
        of_value = recent[choices.days[recent] == value]
        support[value] = len(np.unique(choices.dag[of_value]))
        ranked.append((support[value], len(of_value), value == _SHIPPED, int(written[of_value].sum()), value))
    return max(ranked)[-1], support, len(np.unique(choices.dag[recent]))


def _regimes(choices: _Choices, current: int) -> list[_Regime]:
    """Return the defaults, newest first."""
    later = _Regime(current, None)
    for _ in range(_MOST_CHANGES):  # a change in the newest week: most of it may have been written before
        change = _change(choices, earlier=later.days, before=None)
        if change is None:
            break
        later = change
    found = [later]
    before: int | None = None
    while len(found) < _MOST_CHANGES:
        change = _change(choices, later=found[-1].days, before=before)
        if change is None:
            break
        found[-1] = _Regime(found[-1].days, change.since)
        before = change.since
        found.append(_Regime(change.days, None))
    return found


def _change(
    choices: _Choices, *, before: int | None, later: int | None = None, earlier: int | None = None
) -> _Regime | None:
    """Return the best supported change from or to a default: the other default, and the day of the change.

    Parameters
    ----------
    before
        Only changes before this day.
    later, earlier
        The default that is known, one of the two.
    """
    known = later if earlier is None else earlier
    best: tuple[int, int, _Regime] | None = None
    all_dags = len(np.unique(choices.dag))
    of_known = np.flatnonzero(choices.days == known)
    by_unit = dict(zip(choices.unit[of_known].tolist(), of_known.tolist(), strict=True))
    both = np.array([each in by_unit for each in choices.unit.tolist()], np.bool_) & (choices.days != known)
    for other in np.unique(choices.days[both]).tolist():
        ours = np.flatnonzero(choices.days == other)
        theirs = np.array([by_unit.get(each, -1) for each in choices.unit[ours].tolist()], np.int64)
        old, new = (ours, theirs) if earlier is None else (theirs, ours)
        paired = theirs >= 0
        moved = paired.copy()
        ours_first, theirs_first = choices.first[old[paired]], choices.first[new[paired]]
        ours_last, theirs_last = choices.last[old[paired]], choices.last[new[paired]]
        onward = (ours_first <= theirs_first) & (ours_last <= theirs_last)
        onward &= (ours_first < theirs_first) | (ours_last < theirs_last)
        moved[paired] = onward & (ours_last <= theirs_first + _OVERLAP)
        if before is not None:
            moved[moved] &= choices.first[new[moved]] < before
        if not moved.any():
            continue
        # The first who moved say when; whoever is rarely run moves late.
        since = int(np.quantile(choices.first[new[moved]], 0.2))
        together = moved.copy()
        together[moved] = choices.last[old[moved]] <= since + _OVERLAP
        count = int(together.sum())
        # Against it: who wrote the later one before; who wrote both by turns; and, where the earlier one is what most
        # Dags wrote, everyone who went on with it.
        wrote_later = choices.days == (other if later is None else later)
        before_it = int((choices.first[wrote_later] < since - _OVERLAP).sum())
        by_turns = int((paired & ~together).sum())
        went_on = int((choices.last[choices.days == earlier] > since + _OVERLAP).sum()) if later is None else 0
        dags = len(np.unique(choices.dag[new[together]]))
        if count >= max(2, before_it, by_turns, went_on) and dags >= min(2, all_dags):
            candidate = (dags, count, _Regime(other, since))
            if best is None or candidate[:2] > best[:2]:
                best = candidate
    return None if best is None else best[2]


def _by_default(
    choices: _Choices, regimes: list[_Regime], day: Int64s, where: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Tell which rows the default of their day wrote: of choices that nobody kept to under another default."""
    fits = np.zeros(len(day), np.bool_)
    retention = choices.days[where]
    until = int(day.max())
    for regime in regimes:
        since = int(day.min()) if regime.since is None else regime.since
        in_force = (day >= since - _OVERLAP) & (day <= until + _OVERLAP)
        fits |= in_force & (retention == regime.days)
        until = since
    own = np.zeros(len(choices.unit), np.bool_)
    own[where[~fits]] = True
    return fits & ~own[where]


def _doubt(newest: _Regime, current: int, support: dict[int, int], dags: int) -> str | None:
    """Return what is doubtful about the newest default, in words; None: nothing."""
    shared = support.get(newest.days, 0)
    if newest.days != current or shared * 2 > dags:
        return None
    others = sorted(set(support) - {newest.days}, key=lambda each: -support[each])
    said = ", ".join(str(each) for each in others[:_SAID]) + (" and more" if len(others) > _SAID else "")
    return (
        f"only {shared} of {dags} Dags that wrote retentions of whole days in the newest week wrote {newest.days}, "
        f"others wrote {said}"
    )
