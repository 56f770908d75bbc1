"""What simulations of one snapshot share: kept from one to the next, since a slider changes one policy of several."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from storekit.frames.given import Drawing, forecast_days
from storekit.retention.ages import Selection
from storekit.retention.flow import Flow, Sighting, flow_of
from storekit.retention.forecast import forecast
from storekit.retention.future import Future, Mixes
from storekit.retention.held import Held
from storekit.retention.lives import Mode
from storekit.retention.policy import Policy
from storekit.retention.rows import as_instant_us
from storekit.retention.simulate import Outlook, PolicyRun, Setting

if TYPE_CHECKING:
    from storekit.frames.retained import Retained
    from storekit.frames.snapshot import Snapshot

__all__ = ["Asked", "Stage", "Stages"]

_FLOWS = _OUTLOOKS = 2
_STAGES = 4
_RUNS = 16


@dataclass(frozen=True)
class Asked:
    """All that a simulation's numbers depend on, the snapshot and the policies aside.

    Parameters
    ----------
    told, skew
        How writing is to be read; the defaults as `as_told` returns them.
    selection
        Which rows.
    taken_at
        When the snapshot was taken.
    mode, now, horizon, retry_wait
        How they are played.
    history, drawing
        Older snapshots, and how the forecast draws; None: nothing is forecast.
    """

    told: tuple[int, ...] | None
    skew: timedelta
    selection: Selection
    taken_at: datetime
    mode: Mode
    now: datetime
    horizon: timedelta
    retry_wait: timedelta
    history: tuple[Snapshot, ...]
    drawing: Drawing | None

    @property
    def reading(self) -> tuple[tuple[int, ...] | None, timedelta, Selection]:
        """Which rows, and how their writing is read."""
        return self.told, self.skew, self.selection


@dataclass(frozen=True)
class Stage:
    """A setting, and the policies that were played in it last."""

    setting: Setting
    runs: Held[PolicyRun]

    def run(self, policy: Policy) -> PolicyRun:
        """Return a policy played here."""
        return self.runs.get(policy, lambda: PolicyRun(policy, self.setting))


class Stages:
    """The settings of a snapshot's simulations, and the policies played in them.

    This is the one place where answers are kept from one simulation to the next. They stay right because neither a
    snapshot nor a policy can change, and each is kept under all that it was made of. Older snapshots are in the key as
    the objects they are; the key keeps them alive, so that no other can take their place.

    The memory is bounded. A policy that was played holds sums over cleanups, no number for a row. What grows with
    the rows: three selections (`Retained`); two flows, 5 bytes a row each; for each reading and selection, four sets of
    rules, 26 bytes a row each (`Grounds`). Four settings hold their forecasts.

    Parameters
    ----------
    retained
        The snapshot's rows.
    """

    def __init__(self, retained: Retained) -> None:
        self._retained = retained
        self._flows: Held[Mixes] = Held(_FLOWS)
        self._outlooks: Held[Outlook] = Held(_OUTLOOKS)
        self._stages: Held[Stage] = Held(_STAGES)

    def stage(self, asked: Asked) -> Stage:
        """Return what policies are played over."""
        return self._stages.get(asked, lambda: Stage(self._setting(asked), Held(_RUNS)))

    def _setting(self, asked: Asked) -> Setting:
        mixes = outlook = None
        if asked.drawing is not None:
            # First, for its check.
            days = forecast_days(asked.now, asked.horizon, asked.taken_at)
            seen = (*asked.reading, asked.taken_at, asked.history)
            mixes = self._flows.get(seen, lambda: self._flow(asked))
            outlook = self._outlooks.get((seen, days, asked.drawing), lambda: _outlook(asked, mixes.flow, days))
        return Setting(
            grounds=self._retained.selected(*asked.reading).grounds,
            mode=asked.mode,
            now=asked.now,
            horizon=asked.horizon,
            taken_at=asked.taken_at,
            retry_wait=asked.retry_wait,
            mixes=mixes,
            outlook=outlook,
        )

    def _flow(self, asked: Asked) -> Mixes:
        newest = _sighting(self._retained, asked, asked.taken_at)
        earlier = [_sighting(each._retained, asked, each.info.taken_at) for each in asked.history]
        return Mixes(flow_of(newest, earlier), newest.rows)


def _sighting(retained: Retained, asked: Asked, taken_at: datetime) -> Sighting:
    known = retained.selected(*asked.reading)
    return Sighting(known.rows, known.written, as_instant_us(taken_at))


def _outlook(asked: Asked, flow: Flow, days: int) -> Outlook:
    drawing = asked.drawing
    assert drawing is not None  # noqa: S101 - else there is nothing to forecast
    made = forecast(flow.history, days, seed=drawing.seed, level=drawing.level, replicates=drawing.replicates)
    return Outlook(made, Future(flow, made, as_instant_us(asked.taken_at)))
