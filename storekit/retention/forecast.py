"""What will be written on the days to come, from what was written on the days that were seen.

Each column (a class of write: rows or bytes a day) has a level, constant or growing, times weekday factors where three
weeks of days ask for them; see `shapes`. Bands come from a bootstrap whose replicates are whole futures (`bootstrap`):

1. A replicate takes a growth by its weight in BIC, so that doubt about growth widens the band.
2. It draws days again, all columns of one day together, in blocks of 7 days, and gives the fitted mean their scatter,
   in standard deviations: a day's variance depends on its mean, as with counts, or with its square. On the result it
   fits level and weekdays anew.
3. It extrapolates, and scatters the days ahead by days drawn again.

The bias: days depend on each other within a week at most; a weekday pattern, once chosen, is in every replicate; a
column that was all zeros is forecast as zeros; and what no seen day shows (a holiday, a new Dag) is in no band.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from storekit.errors import QueryError
from storekit.retention.bootstrap import band, drawn_days, futures, held_back
from storekit.retention.doubts import Column, doubts_of
from storekit.retention.shapes import Floats, Growth, Window, choose, one_off

__all__ = ["Band", "DailyHistory", "Forecast", "Model", "forecast"]

Bools = npt.NDArray[np.bool_]

_LARGEST = 1e18
"""An exabyte a day: far from where squares of counts overflow."""


@dataclass(frozen=True)
class DailyHistory:
    """What was written per day.

    Parameters
    ----------
    first_day
        The first day, UTC.
    counts
        [days, columns]: rows or bytes written; where seen not negative, and 1e18 at most.
    seen
        [days, columns]: whether the day could be observed for the column. What is not seen is not read.
    names
        What `Forecast.doubts` calls the columns; "column 0" and so on where None.
    """

    first_day: date
    counts: Floats
    seen: Bools
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        counts, seen = np.asarray(self.counts, np.float64), np.asarray(self.seen, np.bool_)
        if counts.ndim != 2 or counts.shape != seen.shape:
            raise QueryError(
                f"counts have shape {counts.shape} and seen has {seen.shape}",
                hint="both are [days, columns]",
            )
        bad = np.argwhere(seen & ~((counts >= 0) & (counts <= _LARGEST)))
        if len(bad):
            day, column = (int(each) for each in bad[0])
            raise QueryError(
                f"counts[{day}, {column}] is {counts[day, column]}",
                hint="counts are not negative, and 1e18 at most; mark days that could not be observed as not seen",
            )
        if self.names is not None and len(self.names) != counts.shape[1]:
            raise QueryError(
                f"{len(self.names)} names for {counts.shape[1]} columns", hint="give one name for each column"
            )
        object.__setattr__(self, "counts", np.where(seen, counts, 0.0))
        object.__setattr__(self, "seen", seen)

    def name(self, column: int) -> str:
        """Return what a column is called."""
        return f"column {column}" if self.names is None else self.names[column]


@dataclass(frozen=True)
class Model:
    """The shape chosen for one column.

    Parameters
    ----------
    growth
        Constant, linear or exponential.
    weekly
        Whether weekdays have factors.
    seen_days
        From how many days it was fitted; 0: the column was never seen, and zeros are forecast.
    """

    growth: Growth
    weekly: bool
    seen_days: int

    def __str__(self) -> str:
        return f"{self.growth.value}, weekly" if self.weekly else self.growth.value


@dataclass(frozen=True)
class Band:
    """Low, expected and high, of one shape. ``expected`` is a mean: of rare events it can lie above ``high``."""

    low: Floats
    expected: Floats
    high: Floats


@dataclass(frozen=True)
class Forecast:
    """The days to come.

    The band promises, as far as the days ahead are like the seen ones: each day lies in it with probability ``level``
    at least, and 99 of 100 such futures have ``level`` of their days in it (at 0.9 all but one day in ten, rounded up).
    So it is somewhat wider than a band for a single day.

    Parameters
    ----------
    first_day
        The first day forecast: the one after the history.
    paths
        [replicates, days, columns]: possible futures, each a whole one, so that sums over days and columns are right
        too. Never negative.
    expected, low, high
        [days, columns]. ``expected`` is the fitted shape drawn on; of rare events it can lie above ``high``.
    level
        Share of days that the band is to hold.
    seed
        Of all that was drawn: the same history and arguments give the same bits.
    models
        The shape of each column.
    weekly
        [7, columns]: weekday factors, Monday first, with mean 1; all 1 where the column has no weekly shape.
    doubts
        Sentences: what the history cannot support.
    names
        Of the columns.
    """

    first_day: date
    paths: Floats
    expected: Floats
    low: Floats
    high: Floats
    level: float
    seed: int
    models: tuple[Model, ...]
    weekly: Floats
    doubts: tuple[str, ...]
    names: tuple[str, ...]

    def __repr__(self) -> str:
        seen = max((model.seen_days for model in self.models), default=0)
        return (
            f"Forecast({self.days} days from {self.first_day}, {len(self.names)} columns, {seen} days seen at most; "
            f"band for {self.level:.0%} of days; {len(self.doubts)} doubts)"
        )

    @property
    def days(self) -> int:
        """How many days are forecast."""
        return len(self.expected)

    def total(self, columns: Iterable[int | str] | None = None, *, cumulative: bool = False) -> Band:
        """Return the band of a sum over columns, [days], from the paths: columns that move together stay together.

        Parameters
        ----------
        columns
            Numbers or names of columns; None: all.
        cumulative
            Sums from the first day on, so that the last entry is the whole horizon; bands are then plain quantiles.

        Raises
        ------
        QueryError
            For a column that is not there.
        """
        picked = list(range(len(self.names))) if columns is None else [self._column(each) for each in columns]
        paths = (self.paths if columns is None else self.paths[:, :, picked]).sum(axis=2)
        expected = self.expected[:, picked].sum(axis=1)
        if cumulative:
            paths, expected = paths.cumsum(axis=1), expected.cumsum()
        low, high = band(paths, self.level, calibrated=not cumulative)
        return Band(low, expected, high)

    def _column(self, column: int | str) -> int:
        if isinstance(column, str):
            if self.names.count(column) == 1:
                return self.names.index(column)
        elif 0 <= column < len(self.names):
            return int(column)
        raise QueryError(
            f"no single column {column!r}", hint=f"the columns are 0 to {len(self.names) - 1}: {', '.join(self.names)}"
        )


def forecast(history: DailyHistory, days: int, *, seed: int = 0, replicates: int = 400, level: float = 0.9) -> Forecast:
    """Forecast the days after a history.

    Parameters
    ----------
    history
        Whole days.
    days
        How many to forecast, 1 at least.
    seed
        Not negative.
    replicates
        How many futures are drawn, 20 at least.
    level
        Share of days that the band is to hold, between 0 and 1.

    Raises
    ------
    QueryError
        For arguments out of these bounds.
    """
    if days < 1 or replicates < 20 or not 0 < level < 1 or seed < 0:
        raise QueryError(
            f"cannot forecast {days} days by {replicates} replicates at level {level} with seed {seed}",
            hint="1 day and 20 replicates at least, a level between 0 and 1, a seed of 0 or more",
        )
    past, width = history.counts.shape
    weekdays = (history.first_day.weekday() + np.arange(past + days)) % 7
    ahead = np.arange(past, past + days)
    # One drawing of days for all columns; whatever else is drawn, a column draws for itself, so that it does not
    # depend on its neighbours.
    shared = np.random.default_rng([seed, 0])
    again, to_come = (drawn_days(shared, replicates, count, past) for count in (past, days))

    paths = np.zeros((width, replicates, days))
    expected, low, high = (np.zeros((days, width)) for _ in range(3))
    weekly, models, columns = np.ones((7, width)), [], []
    for column in range(width):
        seen = np.flatnonzero(history.seen[:, column])
        if not len(seen):
            models.append(Model(Growth.CONSTANT, False, 0))
            columns.append(Column(history.name(column), None, np.empty(0), None, None))
            continue
        counts = history.counts[seen, column]
        burst = one_off(seen, counts)
        burst_days = tuple((int(day), float(count)) for day, count in zip(seen[burst], counts[burst], strict=True))
        seen, counts = seen[~burst], counts[~burst]
        window = Window(seen, weekdays[seen])
        fit = choose(window, counts)
        rng = np.random.default_rng([seed, 1, column])
        paths[column] = futures(rng, window, counts, fit, ahead, weekdays[ahead], past, again[:, seen], to_come)
        low[:, column], high[:, column] = band(paths[column], level)
        expected[:, column], weekly[:, column] = fit.at(window, ahead, weekdays[ahead]), fit.factors
        models.append(Model(fit.growth, fit.weekly, len(seen)))
        held = held_back(rng, window, counts, min(replicates, 200), level)
        columns.append(Column(history.name(column), window, counts, fit, held, burst_days))
    return Forecast(
        first_day=history.first_day + timedelta(days=past),
        paths=paths.transpose(1, 2, 0),
        expected=expected,
        low=low,
        high=high,
        level=level,
        seed=seed,
        models=tuple(models),
        weekly=weekly,
        doubts=doubts_of(columns, history.first_day, days),
        names=tuple(history.name(column) for column in range(width)),
    )
