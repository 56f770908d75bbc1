"""What a daily series may look like, level times weekday, and how many observed days decide between the shapes.

Every fit here is a function of a few sums over days (all of them, by weekday, weighted by time), so a bootstrap can
refit hundreds of replicates at once. Counts are fitted by quasi-likelihood: a day's variance grows with its mean.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Fit", "Growth", "Window", "choose", "curve", "one_off", "solve"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DAYS_FOR_GROWTH = 28
"""Four weeks: fewer days cannot tell growth from a few busy ones, and growth is what a forecast multiplies."""
WEEKS_FOR_WEEKDAYS = 3
STEEPEST = float(np.log(20.0))
"""An exponential is fitted up to a factor of 20 over the seen days; what is steeper is no growth but a start."""
STRAIGHT_AFTER = 1.0
"""In windows from the window's middle: half a window ahead exponential growth goes on along its tangent.

Otherwise two weeks of fast growth would be billions of rows a quarter later.
"""
FLAT_AFTER = 1.5
"""One window ahead growth ends: for longer than it was seen it is not believed."""
_BURST_DAYS, _BURST_TIMES, _BURST_LEAST, _BURST_NEEDS = 3, 20.0, 5.0, 7
_TABLE = np.linspace(-STEEPEST, STEEPEST, 121)


class Growth(enum.StrEnum):
    """How a level moves over days."""

    CONSTANT = "constant"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True)
class Window:
    """The days on which one column was seen.

    Parameters
    ----------
    days
        Day numbers, rising.
    weekdays
        Their weekdays, Monday is 0.
    """

    days: Ints
    weekdays: Ints

    def __len__(self) -> int:
        return len(self.days)

    def time(self, days: Ints) -> Floats:
        """Return days as time: the window goes from -0.5 to 0.5."""
        span = max(int(self.days[-1] - self.days[0]), 1)
        return np.asarray((days - (self.days[-1] + self.days[0]) / 2) / span, np.float64)

    def first(self, count: int) -> Window:
        """Return the window of its first days."""
        return Window(self.days[:count], self.weekdays[:count])

    @property
    def has_full_weeks(self) -> bool:
        """Whether each weekday was seen often enough to have a factor."""
        return bool(np.bincount(self.weekdays, minlength=7).min() >= WEEKS_FOR_WEEKDAYS)


@dataclass(frozen=True)
class Fit:
    """The shape chosen for one column, and what speaks for the others.

    Parameters
    ----------
    growth, weekly
        The shape; `weekly`: weekdays have factors.
    level
        The two numbers of each growth's curve, by growth: see `curve`.
    factors
        Seven weekday factors with mean 1, Monday first.
    weights
        How likely each growth is, by BIC; sums to 1.
    mean
        The fitted mean of each seen day.
    dof
        Seen days less fitted parameters, at least 1.
    spread
        Variance of a day's rate, relative to its square: what days scatter beyond Poisson counts. See `variance`.
    """

    growth: Growth
    weekly: bool
    level: dict[Growth, tuple[float, float]]
    factors: Floats
    weights: dict[Growth, float]
    mean: Floats
    dof: int
    spread: float

    def variance(self, mean: Floats) -> Floats:
        """Return the variance of days with these means: ``mean + spread * mean²``."""
        return mean + self.spread * mean * mean

    def at(self, window: Window, days: Ints, weekdays: Ints) -> Floats:
        """Return the mean on any days."""
        height, slope = self.level[self.growth]
        level = curve(self.growth, np.array([height]), np.array([slope]), window.time(days))[0]
        return np.asarray(level * self.factors[weekdays], np.float64)


def curve(growth: Growth, height: Floats, slope: Floats, time: Floats) -> Floats:
    """Return levels [replicates, days] of curves given by two numbers each; never negative."""
    if growth is Growth.CONSTANT:
        return np.repeat(height[:, None], len(time), axis=1)
    time = np.minimum(time, FLAT_AFTER)
    if growth is Growth.LINEAR:
        return np.maximum(height[:, None] + slope[:, None] * time, 0.0)
    rising = np.maximum(slope, 0.0)[:, None]
    tangent = 1.0 + rising * np.maximum(time - STRAIGHT_AFTER, 0.0)
    ahead = np.where(slope[:, None] > 0, np.minimum(time, STRAIGHT_AFTER), time)
    return np.asarray(height[:, None] * np.exp(slope[:, None] * ahead) * tangent, np.float64)


def solve(growth: Growth, exposure: Floats, time: Floats, totals: Floats, moments: Floats) -> tuple[Floats, Floats]:
    """Return height and slope of curves for series known by their sums.

    Parameters
    ----------
    growth
        The curve.
    exposure, time
        Weekday factor and time of each seen day.
    totals, moments
        Of each series: its sum over days, and its sum over days weighted by time.
    """
    weight = exposure.sum()
    if growth is Growth.CONSTANT:
        return totals / weight, np.zeros_like(totals)
    first, second = exposure @ time, exposure @ (time * time)
    if growth is Growth.LINEAR:
        determinant = weight * second - first * first
        return (second * totals - first * moments) / determinant, (weight * moments - first * totals) / determinant
    # An exponential's slope is told by where its centre of gravity lies, and nothing else: read it off a table.
    grown = np.exp(_TABLE[:, None] * time) * exposure
    sums = grown.sum(axis=1)
    centre = np.divide(moments, totals, out=np.full_like(totals, first / weight), where=totals > 0)
    slope = np.interp(centre, (grown @ time) / sums, _TABLE)
    return totals / np.exp(np.interp(slope, _TABLE, np.log(sums))), slope


def one_off(days: Ints, counts: Floats) -> npt.NDArray[np.bool_]:
    """Tell which days are a burst, such as a backfill, that says nothing of other days.

    Three days in a row at most, each twenty times the usual and together a third of everything; more, or apart, may
    well be how it goes.
    """
    none = np.zeros(len(counts), np.bool_)
    if len(counts) < _BURST_NEEDS:
        return none
    written = counts[counts > 0]
    usual = max(float(np.median(written)), _BURST_LEAST) if len(written) > _BURST_DAYS else _BURST_LEAST
    burst = counts > _BURST_TIMES * usual
    found = days[burst]
    if not len(found) or found[-1] - found[0] >= _BURST_DAYS or counts[burst].sum() * 3 < counts.sum():
        return none
    return np.asarray(burst)


def choose(window: Window, counts: Floats) -> Fit:
    """Choose the shape of one column by BIC and fit it.

    Parameters
    ----------
    window
        Its seen days, one at least.
    counts
        What was written on them.
    """
    days, time = len(window), window.time(window.days)
    growths = [Growth.CONSTANT]
    if days >= DAYS_FOR_GROWTH and counts.any():
        growths += [Growth.LINEAR, Growth.EXPONENTIAL]
    candidates = [
        _candidate(growth, weekly, window, time, counts)
        for weekly in (False, True)
        if not weekly or (window.has_full_weeks and counts.any())
        for growth in growths
    ]
    average = float(counts.mean())
    # Counts scatter more than Poisson's: the likelihood is divided by how much more, as the best of the shapes sees it.
    # The floor keeps rounding errors about a perfect fit from looking like evidence.
    dispersion = max(min(each.pearson for each in candidates), 1e-6 * average, np.finfo(np.float64).tiny)
    penalty = np.log(days) * (1.0 + 10.0 / days)  # a week's worth of days must not be talked into growth
    bic = [each.parameters * penalty - 2.0 * each.likelihood / dispersion for each in candidates]
    best = candidates[int(np.argmin(bic))]
    rivals = {each.growth: value for each, value in zip(candidates, bic, strict=True) if each.weekly == best.weekly}
    lowest = min(rivals.values())
    odds = {growth: float(np.exp(-0.5 * min(value - lowest, 700.0))) for growth, value in rivals.items()}
    dof = max(days - best.parameters, 1)
    return Fit(
        growth=best.growth,
        weekly=best.weekly,
        level={each.growth: each.level for each in candidates if each.weekly == best.weekly},
        factors=best.factors,
        weights={growth: value / sum(odds.values()) for growth, value in odds.items()},
        mean=best.mean,
        dof=dof,
        spread=_spread(counts, best.mean, dof),
    )


@dataclass(frozen=True)
class _Candidate:
    growth: Growth
    weekly: bool
    parameters: int
    level: tuple[float, float]
    factors: Floats
    mean: Floats
    likelihood: float
    pearson: float


def _candidate(growth: Growth, weekly: bool, window: Window, time: Floats, counts: Floats) -> _Candidate:
    factors = np.ones(7)
    totals, moments = np.array([counts.sum()]), np.array([counts @ time])
    height, slope = solve(growth, factors[window.weekdays], time, totals, moments)
    if weekly:
        by_weekday = np.bincount(window.weekdays, counts, 7)
        # Level and weekdays in turn; over whole weeks they hardly touch each other, so it settles at once.
        for _ in range(3):
            level = curve(growth, height, slope, time)[0]
            expected = np.bincount(window.weekdays, level, 7)
            factors = np.divide(by_weekday, expected, out=np.ones(7), where=expected > 0)
            factors /= factors.mean()
            height, slope = solve(growth, factors[window.weekdays], time, totals, moments)
    mean = curve(growth, height, slope, time)[0] * factors[window.weekdays]
    parameters = 1 + (growth is not Growth.CONSTANT) + 6 * weekly
    floor = max(1e-3 * float(counts.mean()), np.finfo(np.float64).tiny)
    floored = np.maximum(mean, floor)
    # Relative to the average, so that the sums stay exact for counts of any size.
    scale = max(float(counts.mean()), floor)
    return _Candidate(
        growth,
        weekly,
        parameters,
        (float(height[0]), float(slope[0])),
        factors,
        mean,
        likelihood=float(counts @ np.log(floored / scale) - mean.sum()),
        pearson=float((((counts - mean) ** 2) / floored).sum()) / max(len(counts) - parameters, 1),
    )


def _spread(counts: Floats, mean: Floats, dof: int) -> float:
    days, squares = len(counts), float((mean * mean).sum())
    if days == 1 or squares == 0:
        return 0.0
    scatter = (counts - mean) ** 2 * (days / dof)
    return max(0.0, float((scatter - mean).sum()) / squares)
