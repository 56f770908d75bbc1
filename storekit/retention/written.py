"""How each row was written: by the default, with a retention of its own, for good. Inferred, with the evidence.

A row holds no word of it. ``expires_at`` is the worker's clock at the write plus the retention, ``updated_at`` the
server's clock a moment later, so their distance is the retention less the way between, give or take what the clocks
differ by. A retention of whole days may be the default or a program's own choice; what tells them apart is that at
one time a deployment has one default (`storekit.retention.defaults`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from numbers import Integral

import numpy as np
import numpy.typing as npt

from storekit.errors import QueryError
from storekit.retention.defaults import DAY_US, MOST_DAYS, found_defaults, pairs_of
from storekit.retention.durations import spell_duration
from storekit.retention.rows import NO_EXPIRY, Int64s, StoreRows, as_us, from_us

__all__ = ["DAY_US", "SKEW", "Evidence", "How", "Written", "checked_defaults", "infer"]

SKEW = timedelta(minutes=1)
"""How far ``expires_at - updated_at`` may lie from whole days and still be taken for them."""

_SHOWN = 24
_FAR_SKEW = timedelta(hours=1)
_FEW, _FEW_OF = 5, 0.02


class How(enum.IntEnum):
    """How a row was written. Append-only: arrays hold these numbers."""

    DEFAULT = 0
    """Without a retention: by ``default_retention_days``."""
    EXPLICIT = 1
    """With a retention of its own."""
    NEVER = 2
    """With NEVER_EXPIRE."""
    UNTOLD = 3
    """Without an expiry, in a layout without the flag: NEVER_EXPIRE, or by a default of 0."""
    ASSET = 4
    """An asset's row: it has no retention."""

    @property
    def word(self) -> str:
        """As DataFrames say it."""
        return _WORDS[self]


_WORDS = {
    How.DEFAULT: "default",
    How.EXPLICIT: "explicit",
    How.NEVER: "never-expire",
    How.UNTOLD: "never-expire-or-default-0",
    How.ASSET: "asset",
}


@dataclass(frozen=True)
class Evidence:
    """Rows that were written alike, and what speaks for it.

    Parameters
    ----------
    how
        How.
    retention
        The retention; None: no expiry, or several retentions.
    rows, value_bytes, tasks, dags
        How many rows, their bytes, and of how many tasks and Dags.
    first_written_at, last_written_at
        Between which last writes, both inclusive.
    skew
        The largest distance of ``expires_at - updated_at`` from the retention; None without one.
    because
        In words.
    """

    how: How
    retention: timedelta | None
    rows: int
    value_bytes: int
    tasks: int
    dags: int
    first_written_at: datetime
    last_written_at: datetime
    skew: timedelta | None
    because: str


@dataclass(frozen=True)
class Written:
    """How every row was written.

    Parameters
    ----------
    how
        A `How` for each row.
    lived_us
        The retention it was written with, in microseconds: whole days where they were meant; `NO_EXPIRY`: none.
    defaults
        Values of ``default_retention_days``, newest first: as given, or as found.
    told
        Whether the defaults were given.
    doubts
        What speaks against the inference, in words.
    """

    how: npt.NDArray[np.uint8]
    lived_us: Int64s
    defaults: tuple[int, ...]
    told: bool
    doubts: tuple[str, ...] = ()

    def is_(self, how: How) -> npt.NDArray[np.bool_]:
        """Tell which rows were written so."""
        return np.equal(self.how, np.uint8(how))

    def take(self, at: npt.NDArray[np.intp]) -> Written:
        """Return what is said of the rows at these positions; it was inferred from all."""
        return Written(self.how[at], self.lived_us[at], self.defaults, self.told, self.doubts)

    def evidence(self, rows: StoreRows) -> list[Evidence]:
        """Return what was found, most rows first; of the retentions that programs chose, the rarer are one line."""
        return _evidence(self, rows)


def infer(rows: StoreRows, *, defaults: Iterable[int] | None = None, skew: timedelta = SKEW) -> Written:
    """Tell how each row was written.

    Parameters
    ----------
    rows
        A snapshot's.
    defaults
        Every ``default_retention_days`` that was ever in force, if you know; then nothing is guessed. If 0 is not
        among them, a row without an expiry was written with NEVER_EXPIRE.
    skew
        How far ``expires_at - updated_at`` may lie from whole days, inclusive.

    Raises
    ------
    QueryError
        If a default is no whole number of days of at least 0, or the skew is not between 0 and 12 hours.
    """
    if not timedelta(0) <= skew < timedelta(hours=12):
        raise QueryError(f"skew={skew!r} cannot tell days apart", hint="a timedelta of seconds or minutes")
    told = None if defaults is None else checked_defaults(defaults)
    how = np.full(len(rows), How.EXPLICIT, np.uint8)
    lived = np.full(len(rows), NO_EXPIRY, np.int64)
    expires = rows.expires_us != NO_EXPIRY
    lived[expires] = rows.expires_us[expires] - rows.updated_us[expires]
    days, near = _whole_days(lived, expires, as_us(skew))
    lived[near] = days[near].astype(np.int64) * DAY_US
    doubts = _off_days(rows, lived, near, skew)
    if told is None:
        found, by_default, doubt = found_defaults(rows, days, near & ~rows.is_asset)
        doubts += () if doubt is None else (doubt,)
    else:
        found, by_default = told, near & np.isin(days, told)
    how[by_default] = How.DEFAULT
    untold_is = How.UNTOLD if told is None or 0 in told else How.NEVER
    how[~expires] = np.where(rows.never[~expires] == -1, np.uint8(untold_is), np.uint8(How.DEFAULT))
    flagged = rows.never == 1
    how[flagged] = How.NEVER
    how[rows.is_asset] = How.ASSET
    lived[flagged | rows.is_asset] = NO_EXPIRY
    return Written(how, lived, found, told is not None, doubts)


def _off_days(rows: StoreRows, lived: Int64s, near: npt.NDArray[np.bool_], skew: timedelta) -> tuple[str, ...]:
    """Tell of rows that lie a little off whole days, as clocks that are far apart would put them."""
    off = (lived + DAY_US // 2) % DAY_US - DAY_US // 2
    distance = np.where((lived > DAY_US // 2) & (lived != NO_EXPIRY) & ~near & ~rows.is_asset, np.abs(off), DAY_US)
    beside = distance <= as_us(_FAR_SKEW)
    count = int(beside.sum())
    # Retentions of any length lie so near to whole days by chance: as often as they lie an hour further off.
    by_chance = int((distance <= 2 * as_us(_FAR_SKEW)).sum()) - count
    if count < max(_FEW, _FEW_OF * int(near.sum()), 4 * by_chance):
        return ()
    far = int(np.median(np.abs(off[beside])))
    return (
        f"{count:,} rows lie off whole days by a little, {spell_duration(timedelta(seconds=round(far / 1e6)))} in the "
        f"middle: if clocks differ by so much, say so with skew= (now {spell_duration(skew)}); until then they count "
        "as written with a retention of their program's own",
    )


def checked_defaults(defaults: Iterable[int]) -> tuple[int, ...]:
    """Return defaults as plain numbers, each once.

    Raises
    ------
    QueryError
        If one is no whole number of days of at least 0.
    """
    values = tuple(defaults) if not isinstance(defaults, Integral | str) else (defaults,)
    for each in values:
        if isinstance(each, bool) or not isinstance(each, Integral) or each < 0:
            raise QueryError(f"defaults: {each!r} is no default_retention_days", hint="whole days: defaults=[30, 14]")
    return tuple(dict.fromkeys(int(each) for each in values))


def _whole_days(
    lived: Int64s, expires: npt.NDArray[np.bool_], skew_us: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Return each row's nearest number of days, and whether it is near enough to be meant."""
    whole = np.where(expires, (lived + DAY_US // 2) // DAY_US, 0)
    near = expires & (whole >= 1) & (whole <= MOST_DAYS)
    whole = np.where(near, whole, 0)
    near &= np.abs(np.where(near, lived, 0) - whole * DAY_US) <= skew_us
    return whole.astype(np.int32), near


def _evidence(written: Written, rows: StoreRows) -> list[Evidence]:
    if not len(rows):
        return []
    coarse = written.lived_us.copy()
    explicit = written.is_(How.EXPLICIT)
    coarse[explicit] = _rarer_as_one(_rounded(coarse[explicit]))
    (hows, retentions), where = pairs_of(written.how.astype(np.int64), coarse)
    lines = []
    for kind in np.argsort(-np.bincount(where), kind="stable"):
        at = np.flatnonzero(where == kind)
        how, retention = How(int(hows[kind])), int(retentions[kind])
        dag, task = rows.dag_id.codes[at].astype(np.int64), rows.task_id.codes[at].astype(np.int64)
        tasks = len(np.unique(dag * (len(rows.task_id.names) + 1) + task)) if how is not How.ASSET else 0
        dags = len(np.unique(dag)) if how is not How.ASSET else 0
        expires = retention != NO_EXPIRY
        skew = int(np.abs(rows.expires_us[at] - rows.updated_us[at] - retention).max()) if expires else None
        lines.append(
            Evidence(
                how,
                timedelta(microseconds=retention) if expires else None,
                len(at),
                int(rows.value_bytes[at].sum()),
                tasks,
                dags,
                from_us(int(rows.updated_us[at[0]])),
                from_us(int(rows.updated_us[at[-1]])),
                None if skew is None else timedelta(microseconds=skew),
                _because(how, written, retention),
            )
        )
    return lines


def _rarer_as_one(lived: Int64s) -> Int64s:
    """Give retentions beyond the `_SHOWN` most frequent one number that is none, `NO_EXPIRY`."""
    values, where, counts = np.unique(lived, return_inverse=True, return_counts=True)
    values[np.argsort(-counts, kind="stable")[_SHOWN:]] = NO_EXPIRY
    return values[where]


def _rounded(lived: Int64s) -> Int64s:
    """Return retentions to three digits or so: what a program chose, without the way to the server."""
    sign, size = np.sign(lived), np.abs(lived)
    step = np.select(
        [size >= as_us(timedelta(hours=6)), size >= as_us(timedelta(minutes=5)), size >= as_us(timedelta(seconds=5))],
        [as_us(timedelta(minutes=1)), as_us(timedelta(seconds=1)), as_us(timedelta(milliseconds=100))],
        1000,
    )
    rounded: Int64s = sign * ((size + step // 2) // step * step)
    return rounded


def _because(how: How, written: Written, retention: int) -> str:
    if how is How.DEFAULT:
        if retention == NO_EXPIRY:
            return "no expiry and no flag: default_retention_days was 0"
        if written.told:
            return "given as a default_retention_days"
        if retention // DAY_US == written.defaults[0]:
            return "whole days that most Dags shared in the newest week"
        return "whole days that several tasks left together for a newer default"
    if how is How.EXPLICIT:
        if retention == NO_EXPIRY:
            return "several retentions, each of fewer rows than those listed"
        whole = retention % DAY_US == 0 and retention > 0
        return (
            "whole days, but not those of the default then in force" if whole else "not whole days, which a default is"
        )
    if how is How.NEVER:
        told = "flagged NEVER_EXPIRE"
        return "no expiry, flagged or, by the defaults given, never written otherwise" if written.told else told
    if how is How.UNTOLD:
        return "no expiry; the layout has no flag that tells NEVER_EXPIRE from a default of 0"
    return "asset rows have no retention"
