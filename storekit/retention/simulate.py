"""Policies played forward over a snapshot's rows: exact for the rows that exist, forecast for those to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt

from storekit.retention.bootstrap import band
from storekit.retention.flow import Flow
from storekit.retention.forecast import Forecast
from storekit.retention.future import Future, Mixes, Shares, shares_of
from storekit.retention.lives import CLEARED, Grounds, Lives, Mode, cleanup_runs, tally
from storekit.retention.matching import matched_rules
from storekit.retention.policy import Policy
from storekit.retention.rows import Int64s, StoreRows, as_instant_us, as_us
from storekit.retention.written import DAY_US, Written

__all__ = ["FINISHED", "Band", "Outlook", "PolicyRun", "Setting", "Timeline"]

Floats = npt.NDArray[np.float64]

FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")
"""States after which a task instance is not tried again. Source: Airflow 3.3.2, ``TaskInstanceState``."""


@dataclass(frozen=True)
class Outlook:
    """What will be written, whatever the policy."""

    forecast: Forecast
    future: Future


@dataclass(frozen=True)
class Setting:
    """What policies are played over.

    Parameters
    ----------
    grounds
        A snapshot's rows, how they were written, and what policies share of their lives.
    mode
        How a policy meets them.
    now, horizon
        The first cleanup, and how long the simulation goes on; the horizon is included.
    taken_at
        When the snapshot was taken: forecast writes begin here.
    retry_wait
        The longest wait between two tries of a task.
    mixes, outlook
        Writes seen and to come; None: no future writes.
    """

    grounds: Grounds
    mode: Mode
    now: datetime
    horizon: timedelta
    taken_at: datetime
    retry_wait: timedelta
    mixes: Mixes | None
    outlook: Outlook | None

    @property
    def rows(self) -> StoreRows:
        """The snapshot's rows."""
        return self.grounds.rows

    @property
    def written(self) -> Written:
        """How they were written."""
        return self.grounds.written

    @property
    def flow(self) -> Flow | None:
        """Writes seen."""
        return None if self.mixes is None else self.mixes.flow

    @property
    def forecast(self) -> Forecast | None:
        """Writes to come."""
        return None if self.outlook is None else self.outlook.forecast

    @property
    def future(self) -> Future | None:
        """The forecast's running sums; None: there is nothing that it could tell."""
        return None if self.outlook is None or self.flow is None or not self.flow.kinds else self.outlook.future

    @cached_property
    def unfinished(self) -> npt.NDArray[np.bool_]:
        """Rows of task instances that are known not to be finished."""
        states = self.rows.task_state
        done = [states.code(name) for name in FINISHED]
        return (states.codes >= 0) & ~np.isin(states.codes, done) & ~self.rows.is_asset


@dataclass(frozen=True)
class Band:
    """A forecast quantity: [instants, groups] of the expected value and the ends of the band."""

    expected: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Timeline:
    """Rows and bytes alive over time, by group.

    Parameters
    ----------
    at_us
        Instants: the cleanups, each twice, before it and after it, and the end. Without cleanups, every day.
    after
        Whether this is just after a cleanup.
    known_rows, known_bytes
        Of the rows that exist, [instants, groups], exact; ambiguous ones are taken to be NEVER_EXPIRE.
    known_rows_low, known_bytes_low
        The same if the default wrote them.
    rows, bytes
        With those to come.
    """

    at_us: Int64s
    after: npt.NDArray[np.bool_]
    known_rows: Int64s
    known_bytes: Int64s
    known_rows_low: Int64s
    known_bytes_low: Int64s
    rows: Band
    bytes: Band


class PolicyRun:
    """One policy, played.

    Parameters
    ----------
    policy
        The policy.
    setting
        What it is played over.
    """

    def __init__(self, policy: Policy, setting: Setting) -> None:
        self.policy, self.setting = policy, setting
        self.runs_us = cleanup_runs(policy, setting.now, setting.horizon)

    # Not kept: a run that waits for the next question holds sums, no number for every row.
    @property
    def lives(self) -> Lives:
        """When each row expires."""
        return self.setting.grounds.lives(self.policy, self.setting.mode)

    @property
    def _would_be(self) -> Lives:
        """Lives of rows written under the policy: what a future write like each gets."""
        return self.setting.grounds.lives(self.policy, Mode.AS_IF)

    def _last(self, at_us: int) -> int:
        """Return the last cleanup until an instant, itself included; `CLEARED`: none."""
        runs = self.runs_us[self.runs_us <= at_us]
        return int(runs[-1]) if len(runs) else CLEARED

    def gone(self, at_us: int, *, soonest: bool) -> npt.NDArray[np.bool_]:
        """Tell which rows are gone by an instant, a cleanup at it included."""
        return self.lives.gone(self._last(at_us), soonest=soonest)

    def dead(self, expires_us: Int64s, at_us: int) -> npt.NDArray[np.bool_]:
        """Tell the same of expiries."""
        gone: npt.NDArray[np.bool_] = (expires_us < self._last(at_us)) | (expires_us == CLEARED)
        return gone

    def rule(self, at: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
        """Return which of the policy's rules takes the rows at these positions; -1: none."""
        if not self.policy.rules:
            return np.full(len(at), -1, np.int32)
        return matched_rules(self.policy, self.setting.rows.take(at))

    def cleanup_after(self, expires_us: int) -> int | None:
        """Return when the cleanup runs that takes a row: the first after its expiry, past the horizon too.

        A row that expires at a cleanup is for the next. None: cleanup never runs.
        """
        if self.policy.cleanup_every is None:
            return None
        every, start = as_us(self.policy.cleanup_every), as_instant_us(self.setting.now)
        return start + max(0, (expires_us - start) // every + 1) * every

    @property
    def cleared(self) -> tuple[int, int]:
        """How many rows, and bytes, a success would have cleared before."""
        return self.lives.fixed.cleared

    def deleted(self, *, soonest: bool = False) -> tuple[Int64s, Int64s]:
        """Return how many existing rows, and bytes, each cleanup deletes; the last place holds what outlives all."""
        lives = self.lives
        return lives.deaths(self.runs_us, soonest=soonest and lives.ambiguous)

    def _deleted(self, soonest: bool, group: npt.NDArray[np.int64] | None, groups: int) -> tuple[Int64s, Int64s]:
        """The same by groups, [cleanups, groups]."""
        if group is None:
            rows, sizes = self.deleted(soonest=soonest)
            return rows[:, None], sizes[:, None]
        lives = self.lives
        expires = lives.at(slice(None), soonest=soonest and lives.ambiguous)
        there = expires != CLEARED
        place = np.searchsorted(self.runs_us, expires[there], side="right") * groups + group[there]
        # Not -1: of an empty store there are no groups, and then any length would do.
        shape = (len(self.runs_us) + 1, groups)
        rows, sizes = tally(place, self.setting.rows.value_bytes[there], shape[0] * groups)
        return rows.reshape(shape), sizes.reshape(shape)

    @cached_property
    def future_deleted(self) -> tuple[Band, Band] | None:
        """Rows and bytes of those to come that each cleanup deletes; None: nothing is forecast."""
        future = self.setting.future
        if future is None:
            return None
        rows, sizes = future.deleted(self._shares(soonest=False), self.runs_us)
        return self._band(rows), self._band(sizes)

    def _shares(self, *, soonest: bool, group: npt.NDArray[np.int64] | None = None, groups: int = 1) -> Shares:
        setting, lives = self.setting, self._would_be
        assert setting.mixes is not None  # noqa: S101 - whoever asks has looked
        soonest &= lives.ambiguous
        if group is None:
            return setting.mixes.shares(lives, soonest=soonest)
        expires = lives.at(slice(None), soonest=soonest)
        return shares_of(setting.mixes.flow, setting.rows, expires, group, groups)

    @cached_property
    def short_a_day(self) -> float:
        """How many rows a day are expected to be written that live for less than the wait between two tries."""
        return self.short_lived(self.setting.retry_wait)

    def short_lived(self, bound: timedelta) -> float:
        """Return how many rows a day are expected to be written that live for less than a bound."""
        setting = self.setting
        never_cleaned = self.policy.cleanup_every is None
        if never_cleaned or setting.flow is None or setting.forecast is None or not setting.flow.kinds:
            return 0.0
        shares = self._shares(soonest=True)
        short = shares.lived_us < as_us(bound)
        per_day = setting.forecast.expected[:, : setting.flow.kinds].mean(axis=0)
        return float((shares.rows[short, 0] * per_day[shares.kind[short]]).sum())

    def unsafe(self) -> npt.NDArray[np.bool_]:
        """Tell which rows of unfinished tasks may be gone before the next try; none, if cleanup never runs."""
        if self.policy.cleanup_every is None:
            return np.zeros(len(self.setting.rows), np.bool_)
        # What has expired is served until a cleanup takes it, so the cleanup is what counts, past the horizon too.
        every, start = as_us(self.policy.cleanup_every), as_instant_us(self.setting.now)
        last = start + as_us(self.setting.retry_wait) // every * every
        return self.setting.unfinished & self.lives.gone(last, soonest=True)

    @cached_property
    def unsafe_rows(self) -> int:
        """How many these are."""
        return int(self.unsafe().sum())

    @cached_property
    def whole(self) -> Timeline:
        """`timeline` of the whole store, every cleanup in it."""
        return self.timeline()

    def timeline(
        self, group: npt.NDArray[np.int64] | None = None, groups: int = 1, *, most: int | None = None
    ) -> Timeline:
        """Return rows and bytes alive over time.

        Parameters
        ----------
        group, groups
            Each row's group, from 0, and how many there are; None: all are one.
        most
            At most about so many cleanups, evenly chosen, the first and the last among them; None: all.
        """
        setting, runs = self.setting, self.runs_us
        known = self._known(soonest=False, group=group, groups=groups)
        low = self._known(soonest=True, group=group, groups=groups) if self.lives.ambiguous else known
        if len(runs):
            step = 1 if most is None else max(1, -(-len(runs) // most))
            chosen = np.unique(np.append(np.arange(0, len(runs), step), len(runs) - 1))
            at = np.repeat(runs[chosen], 2)
            after = np.tile([False, True], len(chosen))
            place = (chosen[:, None] + np.array([0, 1])).ravel()
            end = as_instant_us(setting.now) + as_us(setting.horizon)
            if runs[-1] < end:
                at, after, place = np.append(at, end), np.append(after, False), np.append(place, len(runs))
            cleaned = np.where(place > 0, runs[np.maximum(place - 1, 0)], as_instant_us(setting.taken_at))
        else:
            start, length = as_instant_us(setting.now), as_us(setting.horizon)
            at = np.unique(np.append(start + np.arange(0, length + 1, DAY_US), start + length)).astype(np.int64)
            after = np.zeros(len(at), np.bool_)
            place = np.zeros(len(at), np.int64)
            cleaned = np.full(len(at), as_instant_us(setting.taken_at))
        rows, sizes = (each[place] for each in known)
        rows_low, sizes_low = (each[place] for each in low)
        zero = np.zeros(rows.shape)
        band_rows = band_sizes = Band(zero, zero, zero)
        if setting.future is not None:
            shares = self._shares(soonest=False, group=group, groups=groups)
            band_rows, band_sizes = map(self._band, setting.future.alive(shares, at, cleaned))
            if self._would_be.ambiguous:
                shares = self._shares(soonest=True, group=group, groups=groups)
                least_rows, least_sizes = map(self._band, setting.future.alive(shares, at, cleaned))
                band_rows = Band(band_rows.expected, least_rows.low, band_rows.high)
                band_sizes = Band(band_sizes.expected, least_sizes.low, band_sizes.high)
        return Timeline(
            at,
            after,
            rows,
            sizes,
            rows_low,
            sizes_low,
            _shifted(band_rows, rows, rows_low),
            _shifted(band_sizes, sizes, sizes_low),
        )

    def _known(self, *, soonest: bool, group: npt.NDArray[np.int64] | None, groups: int) -> tuple[Int64s, Int64s]:
        """Rows and bytes that exist and live on after no, one, two … cleanups, [cleanups + 1, groups]."""
        gone = self._deleted(soonest, group, groups)
        rows, sizes = (each.sum(axis=0) - np.cumsum(each, axis=0) + each for each in gone)
        return rows, sizes

    def _band(self, paths: Floats) -> Band:
        """Return the band of a stock over time: its errors last, so whole paths must keep to it, not single days."""
        forecast = self.setting.forecast
        assert forecast is not None  # noqa: S101 - there are paths
        ends = [band(paths[:, :, group], forecast.level) for group in range(paths.shape[2])]
        low, high = (np.stack(each, axis=1) for each in zip(*ends, strict=True)) if ends else (paths[0], paths[0])
        return Band(paths.mean(axis=0), low, high)


def _shifted(band: Band, by: Int64s, by_low: Int64s) -> Band:
    return Band(band.expected + by, band.low + by_low, band.high + by)
