"""Whole futures by bootstrap, and the bands over them."""

from __future__ import annotations

import numpy as np

from storekit.retention.shapes import Fit, Floats, Ints, Window, choose, curve, solve

__all__ = ["band", "drawn_days", "futures", "held_back"]

_BLOCK = 7
_HELD = 10
"""Fewer held-back days say nothing: one or two lie outside anyway."""
SURE = 0.99
"""This many of the paths keep to the level over their days."""
_TRIED = 12
"""How many widths are tried between the quantiles asked for and the outermost paths."""
_SMALL = 50.0
"""Below it whole numbers matter."""
_LARGE = 1e15
"""Above it a Poisson count equals its mean within seven digits, and numpy's draw would soon overflow."""


def drawn_days(rng: np.random.Generator, replicates: int, count: int, past: int) -> Ints:
    """Draw seen days [replicates, count], in blocks of a week once there are three."""
    if not past:
        return np.zeros((replicates, count), np.int64)
    block = _BLOCK if past >= 3 * _BLOCK else 1
    starts = rng.integers(0, past - block + 1, (replicates, -(-count // block)))
    return (starts[:, :, None] + np.arange(block)).reshape(replicates, -1)[:, :count]


def futures(
    rng: np.random.Generator,
    window: Window,
    counts: Floats,
    fit: Fit,
    ahead: Ints,
    weekdays: Ints,
    past: int,
    again: Ints,
    to_come: Ints,
) -> Floats:
    """Return futures [replicates, days ahead] of one column."""
    replicates, time = len(again), window.time(window.days)
    # A few days that scatter no more than counts do say nothing of scatter: they are drawn as Poisson counts.
    poisson = len(window) < 3 * _BLOCK and not fit.spread
    scatter = _scatter(window, counts, fit, past)
    # Few days know little of their own scatter: it is doubted by as much as a variance of so many days is in doubt.
    doubt = np.sqrt(fit.dof / rng.chisquare(fit.dof, (replicates, 1))).clip(max=5.0)
    growths = list(fit.weights)
    taken = rng.choice(len(growths), replicates, p=[fit.weights[each] for each in growths])
    means = np.zeros((replicates, len(ahead)))
    exposure, one_hot = fit.factors[window.weekdays], np.eye(7)[window.weekdays]
    for number, growth in enumerate(growths):
        rows = np.flatnonzero(taken == number)
        if not len(rows):
            continue
        height, slope = (np.array([each]) for each in fit.level[growth])
        mean = curve(growth, height, slope, time) * exposure
        if poisson:
            made = _counted(rng, np.repeat(mean, len(rows), axis=0))
        else:
            made = mean + scatter[again[rows]] * doubt[rows] * np.sqrt(fit.variance(mean))
        heights, slopes = solve(growth, exposure, time, np.maximum(made.sum(axis=1), 0.0), made @ time)
        levels = curve(growth, heights, slopes, window.time(ahead))
        if fit.weekly:
            expected = curve(growth, heights, slopes, time) @ one_hot
            factors = np.divide(np.maximum(made @ one_hot, 0), expected, out=np.ones_like(expected), where=expected > 0)
            # A replicate cannot give a weekday more than all of the week, where its level comes near to zero.
            levels = levels * np.minimum(factors, 7.0)[:, weekdays]
        means[rows] = levels
    if poisson:
        return _counted(rng, means)
    paths = np.maximum(means + scatter[to_come] * doubt * np.sqrt(fit.variance(means)), 0.0)
    if counts.mean() < _SMALL and not np.any(counts % 1):
        # Whole numbers stay whole, up or down by chance, so that the mean stays: 0.3 a day is a 1 in three days of ten.
        paths = np.floor(paths + rng.random(paths.shape))
    return np.asarray(paths, np.float64)


def _scatter(window: Window, counts: Floats, fit: Fit, past: int) -> Floats:
    """Return by how many standard deviations each day of the history was above its mean.

    Days on which the column was not seen take the scatter of its seen days in turn.
    """
    deviation = np.sqrt(fit.variance(fit.mean))
    scatter = np.divide(counts - fit.mean, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    scatter *= np.sqrt(len(counts) / fit.dof)
    table = scatter[np.arange(past) % len(scatter)]
    table[window.days] = scatter
    return table


def _counted(rng: np.random.Generator, means: Floats) -> Floats:
    return np.asarray(np.where(means < _LARGE, rng.poisson(np.minimum(means, _LARGE)), means), np.float64)


def band(paths: Floats, level: float, *, calibrated: bool = True, sure: float = SURE) -> tuple[Floats, Floats]:
    """Return low and high [days] over paths [replicates, days]; what they promise is said at `Forecast`.

    ``sure``: this many of the paths keep to the level over their days, if it can be had.
    """
    ranked = np.sort(paths.T, axis=1)
    last = len(paths) - 1
    allowed = int(np.ceil((1.0 - level) * paths.shape[1] - 1e-9))
    outermost = int((1.0 - level) / 2 * last + 1e-9)
    ranks = np.unique(np.linspace(outermost, 0, _TRIED).astype(int))[::-1] if calibrated else [outermost]
    low, high = ranked[:, ranks[0]], ranked[:, last - ranks[0]]
    for rank in ranks:
        low, high = ranked[:, rank], ranked[:, last - rank]
        if not calibrated:
            break
        outside = ((paths < low) | (paths > high)).sum(axis=1)
        if (outside <= allowed).mean() >= sure:
            break
    return low.copy(), high.copy()


def held_back(
    rng: np.random.Generator, window: Window, counts: Floats, replicates: int, level: float
) -> tuple[int, float] | None:
    """Forecast the last quarter of the seen days from the others: how many were fitted, what share was held."""
    fitted = len(window) * 3 // 4
    if len(window) - fitted < _HELD or not counts[:fitted].any():
        return None
    early = Window(window.days[:fitted] - window.days[0], window.weekdays[:fitted])
    past, held = int(early.days[-1]) + 1, len(window) - fitted
    again = drawn_days(rng, replicates, past, past)[:, early.days]
    to_come = drawn_days(rng, replicates, held, past)
    ahead = window.days[fitted:] - window.days[0]
    fit = choose(early, counts[:fitted])
    paths = futures(rng, early, counts[:fitted], fit, ahead, window.weekdays[fitted:], past, again, to_come)
    low, high = band(paths, level)
    return fitted, float(((counts[fitted:] >= low) & (counts[fitted:] <= high)).mean())
