"""What a history cannot support, in sentences.

Shifts are looked for in the residuals about the fitted shape, by cumulated sums against the distribution that they have
if nothing shifts (Kolmogorov's; a fitted growth makes true sums smaller, so it errs towards silence). The variance
that they are measured by allows for days that resemble the day before. The more columns there are, the more must speak
for each doubt, so that a wide history is not drowned in accidents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from storekit.retention.shapes import DAYS_FOR_GROWTH, Fit, Floats, Growth, Window

__all__ = ["Column", "doubts_of"]

ALARMS = 0.005
"""Of histories without a shift, one check at most raises a doubt in this share."""
HELD_ENOUGH = 0.75
STEP_MARGIN = 10.0
"""By how much, in twice the log-likelihood, two levels must beat growth."""
WEEKDAY_MARGIN = 27.0
"""The largest of such sums over all splits exceeds it in `ALARMS` of histories (six weekdays are free to move)."""
_WEEKS = 3
_MANY = 5.0
"""Of fewer writes a day, the size of residuals follows the mean rather than the scatter."""
_SHOWN = 5
_NAMES = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


@dataclass(frozen=True)
class Column:
    """One column as it was fitted.

    Parameters
    ----------
    name
        What it is called.
    window, counts, fit
        Its seen days, what was written on them and the shape; None where it was never seen.
    held_back
        Of the forecast of its last quarter: how many days were fitted, and the share of the rest that the band held.
    burst
        Days that were left out as a one-off, and what was written on them.
    """

    name: str
    window: Window | None
    counts: Floats
    fit: Fit | None
    held_back: tuple[int, float] | None
    burst: tuple[tuple[int, float], ...] = ()


def doubts_of(columns: Sequence[Column], first_day: date, horizon: int) -> tuple[str, ...]:
    """Return the sentences: first those about length, many columns in one, then those about single columns."""
    sentences = list(_about_length(columns, horizon))
    alarms = ALARMS / max(sum(each.window is not None for each in columns), 1)
    for each in columns:
        if each.window is not None and each.fit is not None:
            sentences += (f"{each.name}: {said}" for said in _about(each, each.window, each.fit, first_day, alarms))
    return tuple(sentences)


def _about_length(columns: Sequence[Column], horizon: int) -> Iterator[str]:
    by_length: dict[int, list[str]] = {}
    for each in columns:
        by_length.setdefault(len(each.counts), []).append(each.name)
    for days, names in sorted(by_length.items()):
        who = ", ".join(names[:_SHOWN])
        if len(names) > _SHOWN:
            who += f" and {len(names) - _SHOWN} more"
        past = "1 day" if days == 1 else f"{days} days"
        seen = f"{who}: only {past} of history"
        if days == 0:
            yield f"{who}: never seen; zeros are forecast because nothing is known"
        elif days == 1:
            yield f"{seen}; that supports no band: the one given assumes Poisson counts, the least that days scatter"
        elif days < 7 * _WEEKS:
            yield f"{seen}; only a constant level is forecast, and growth or weekdays would not be seen"
        elif days < DAYS_FOR_GROWTH:
            yield f"{seen}, less than {DAYS_FOR_GROWTH}: growth would not be seen"
        if 0 < days < horizon:
            yield f"{who}: {horizon} days are forecast from {past} of history; the further days are a guess"


def _about(column: Column, window: Window, fit: Fit, first_day: date, alarms: float) -> Iterator[str]:
    def day(position: int) -> str:
        return (first_day + timedelta(days=int(window.days[position]))).isoformat()

    counts = column.counts
    for number, count in column.burst:
        yield (
            f"{_figure(count)} on {(first_day + timedelta(days=number)).isoformat()} alone, far more than on other "
            "days: taken for a one-off, and left out of the forecast"
        )
    residuals = _standardised(counts, fit)
    if (split := _stopped(counts, alarms)) is not None:
        before = _figure(float(counts[:split].mean()))
        yield f"nothing since {day(split)}, after {before} a day: it may have stopped for good"
    elif (split := _level_shift(counts, residuals, window, fit, alarms)) is not None:
        before, since = _figure(float(counts[:split].mean())), _figure(float(counts[split:].mean()))
        yield (
            f"the level shifted about {day(split)}: {before} a day before, {since} since; "
            f"the forecast takes it as {fit.growth.value}"
        )
    elif (weekday := _weekday_shift(residuals, window, alarms)) is not None:
        number, split = weekday
        mine, late = window.weekdays == number, np.arange(len(counts)) >= split
        before, since = (_figure(float(counts[mine & part].mean())) for part in (~late, late))
        yield f"the pattern of weekdays changed about {day(split)}: {_NAMES[number]} had {before} before, {since} since"
    # Of roots: squares would hide a change in their own tails.
    elif fit.mean.mean() >= _MANY and (split := _shift(np.sqrt(np.abs(residuals)), alarms, least=42)) is not None:
        ratio = np.sqrt((residuals[split:] ** 2).mean() / max((residuals[:split] ** 2).mean(), 1e-12))
        yield f"days scatter {ratio:.2g} times as much since about {day(split)} as before: the band fits neither time"
    if column.held_back is not None and column.held_back[1] < HELD_ENOUGH:
        fitted, share = column.held_back
        yield (
            f"a forecast from the first {fitted} seen days held {share:.0%} of the {len(counts) - fitted} days that "
            f"followed, less than {HELD_ENOUGH:.0%}: the days ahead may fall outside as often"
        )


def _standardised(counts: Floats, fit: Fit) -> Floats:
    floor = max(1e-3 * float(counts.mean()), np.finfo(np.float64).tiny ** 0.25)
    deviation = np.sqrt(np.maximum(fit.variance(fit.mean), floor * floor))
    return (counts - fit.mean) / deviation


def _level_shift(counts: Floats, residuals: Floats, window: Window, fit: Fit, alarms: float) -> int | None:
    """Return where the level shifted: the residuals say so, or two levels beat the growth that was fitted."""
    days = len(counts)
    if days < 7 * _WEEKS or not counts.any():
        return None
    # The quasi-likelihood of two constant levels, for every place where the second may begin.
    factors, scale = fit.factors[window.weekdays], float(counts.mean())
    written, exposure = np.cumsum(counts / scale), np.cumsum(factors)
    parts = ((written[:-1], exposure[:-1]), (written[-1] - written[:-1], exposure[-1] - exposure[:-1]))
    gains = np.zeros(days - 1)
    for many, weight in parts:
        gains += many * np.log(np.maximum(many, 1e-12) / np.maximum(weight, 1e-12))
    split = 3 + int(np.argmax(gains[2:-2]))  # three days at least make a level
    if _shift(residuals, alarms, least=0) is not None:
        return split
    if fit.growth is Growth.CONSTANT:
        return None
    late = np.arange(days) >= split
    levels = [float(counts[part].sum()) / max(float(factors[part].sum()), 1e-12) for part in (~late, late)]
    floor = 1e-3 * scale
    steps, grown = np.maximum(np.where(late, levels[1], levels[0]) * factors, floor), np.maximum(fit.mean, floor)
    dispersion = max(float(((counts - steps) ** 2 / steps).mean()), 1e-3 * scale)
    better = 2 * float(counts @ np.log(steps / grown) - steps.sum() + grown.sum()) / dispersion
    # The split is found by looking at all of them, which alone is worth some units under true, weak growth.
    return split if better > STEP_MARGIN - 2 * np.log(alarms / ALARMS) else None


def _shift(values: Floats, alarms: float, *, least: int) -> int | None:
    """Return the position at which the mean of `values` shifts; None: none shows."""
    days = len(values)
    if days < least:
        return None
    sums = np.abs(np.cumsum(values - values.mean())[:-1])
    split = int(np.argmax(sums)) + 1
    # The scatter without the shift itself, and with what neighbouring days have in common.
    left = values - np.where(np.arange(days) < split, values[:split].mean(), values[split:].mean())
    variance = float(left @ left) / max(days - 2, 1)
    lags = round(days ** (1 / 3))
    shared = sum((1 - lag / (lags + 1)) * float(left[lag:] @ left[:-lag]) / days for lag in range(1, lags + 1))
    variance = max(variance, variance + 2 * shared, 1e-2)
    statistic = sums[split - 1] / np.sqrt(days * variance)
    return split if statistic > np.sqrt(np.log(2.0 / alarms) / 2.0) else None


def _weekday_shift(residuals: Floats, window: Window, alarms: float) -> tuple[int, int] | None:
    """Return the weekday that moved most, and the position at which the weekdays moved against each other."""
    days = len(residuals)
    if days < 2 * 7 * (_WEEKS + 1):
        return None
    one_hot = np.eye(7)[window.weekdays]
    # A pattern that stays is none of this, whether or not the fit has it.
    residuals = residuals - (one_hot.T @ residuals / np.maximum(one_hot.sum(axis=0), 1))[window.weekdays]
    sums, numbers = np.cumsum(one_hot * residuals[:, None], axis=0), np.cumsum(one_hot, axis=0)
    inner = slice(7 * _WEEKS - 1, days - 7 * _WEEKS)
    before, since = (sums[inner], numbers[inner]), (sums[-1] - sums[inner], numbers[-1] - numbers[inner])
    gains = [_explained(total, number) for total, number in (before, since)]
    best = int(np.argmax(gains[0] + gains[1]))
    split = inner.start + best + 1
    # Where days came to scatter more, weekdays differ more as well: each part is held against its own scatter too.
    own = 0.0
    for gain, part in zip(gains, (slice(split), slice(split, None)), strict=True):
        left = float((residuals[part] ** 2).sum() - (residuals[part].sum() ** 2) / len(residuals[part]) - gain[best])
        own += float(gain[best]) / max(left / (len(residuals[part]) - 7), 1e-2)
    if min(float(gains[0][best] + gains[1][best]), own) <= WEEKDAY_MARGIN - 2.5 * np.log(alarms / ALARMS):
        return None
    moved = since[0][best] / np.maximum(since[1][best], 1) - before[0][best] / np.maximum(before[1][best], 1)
    return int(np.argmax(np.abs(moved))), split


def _explained(totals: Floats, numbers: Floats) -> Floats:
    """Return how much of a sum of squares weekdays explain, given sums and numbers of days [splits, 7]."""
    whole = totals.sum(axis=1) ** 2 / numbers.sum(axis=1)
    return np.asarray((totals**2 / np.maximum(numbers, 1)).sum(axis=1) - whole, np.float64)


def _stopped(counts: Floats, alarms: float) -> int | None:
    """Return where the zeros at the end begin, if there are more of them than chance and earlier gaps allow."""
    written = np.flatnonzero(counts)
    if not len(written):
        return None
    start = int(written[-1]) + 1
    zeros = len(counts) - start
    longest = int(np.diff(written).max(initial=1)) - 1
    share = (start - len(written) + 1) / (start + 1)
    return start if zeros > 1.5 * longest and share**zeros < alarms / 5 else None


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.2g}"
