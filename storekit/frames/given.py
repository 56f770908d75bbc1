"""What a simulation is given, checked: policies, a mode, older snapshots, and how to forecast."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from storekit.errors import QueryError
from storekit.frames.display import plain
from storekit.frames.instants import as_text
from storekit.retention.ages import Selection
from storekit.retention.lives import Mode
from storekit.retention.policy import Policy
from storekit.retention.rows import as_instant_us, as_us
from storekit.retention.written import DAY_US

if TYPE_CHECKING:
    from storekit.frames.snapshot import Snapshot, SnapshotInfo

__all__ = [
    "MOST_FORECAST_DAYS",
    "Drawing",
    "as_drawing",
    "as_history",
    "as_mode",
    "as_policies",
    "as_selection",
    "forecast_days",
]

MOST_FORECAST_DAYS = 1830
"""How far, in days after the snapshot, future writes are forecast: five years."""


_POLICIES = "snap.simulate([sk.Policy(default_retention_days=14)])"


def as_policies(policies: Policy | Iterable[Policy]) -> tuple[Policy, ...]:
    """Return one policy or several, with distinct names; an iterable is read once."""
    if isinstance(policies, Policy):
        return (policies,)
    if isinstance(policies, str) or not isinstance(policies, Iterable):
        raise QueryError(f"{policies!r} is no policy, nor a list of them", hint=_POLICIES)
    given = tuple(policies)
    if not given:
        raise QueryError("no policy to simulate", hint=_POLICIES)
    for each in given:
        if not isinstance(each, Policy):
            raise QueryError(f"{each!r} is no policy", hint="sk.Policy(default_retention_days=14)")
    names = [each.name for each in given]
    for name in names:
        if names.count(name) > 1:
            raise QueryError(f"two policies are named {name!r}", hint="Policy(name=…): results are told apart by it")
    return given


def as_mode(mode: Mode | str) -> Mode:
    """Return a mode."""
    try:
        return Mode(mode)
    except ValueError:
        raise QueryError(f"mode={mode!r} is unknown", hint="'forward' or 'as-if'") from None


def as_history(history: Iterable[Snapshot], info: SnapshotInfo) -> tuple[Snapshot, ...]:
    """Return older snapshots of the store that ``info`` is of."""
    from storekit.frames.snapshot import Snapshot

    hint = "a list of older snapshots: history=[sk.open_snapshot('monday/')]"
    if isinstance(history, str | Snapshot) or not isinstance(history, Iterable):
        what = "one snapshot" if isinstance(history, Snapshot) else repr(history)
        raise QueryError(f"history: {what} is no list of snapshots", hint=hint)
    given = tuple(history)
    for each in given:
        if not isinstance(each, Snapshot):
            raise QueryError(f"history: {each!r} is no snapshot", hint=hint)
        if each.info.taken_at >= info.taken_at:
            raise QueryError(
                f"history: a snapshot of {each.info.taken_at.isoformat()} is not older than this one",
                hint="simulate the newest, and give the older ones as its history",
            )
        if not _same_store(each.info, info):
            theirs, ours = plain(each.info.database), plain(info.database)
            if theirs == ours:
                # Relative paths, or names that another machine resolves otherwise.
                theirs, ours = (f"{ours} ({str(one.database_id)[:12]})" for one in (each.info, info))
            raise QueryError(f"history: a snapshot of {theirs}, not of {ours}", hint="of the same store only")
    return given


def _same_store(one: SnapshotInfo, other: SnapshotInfo) -> bool:
    if one.database_id is None or other.database_id is None:
        return one.database == other.database
    return one.database_id == other.database_id


@dataclass(frozen=True)
class Drawing:
    """What a forecast draws by."""

    seed: int
    level: float
    replicates: int


def as_drawing(seed: Any, level: Any, replicates: Any) -> Drawing:
    """Return what a forecast draws by; its bounds are for `forecast` to check."""
    for name, number, about in (("seed", seed, "0 or more"), ("replicates", replicates, "20 or more, such as 400")):
        if isinstance(number, bool) or not isinstance(number, Integral):
            raise QueryError(f"{name}={number!r} is no whole number", hint=f"{name}: {about}")
    if isinstance(level, bool) or not isinstance(level, Real):
        raise QueryError(f"level={level!r} is no number", hint="the band's share, between 0 and 1: level=0.9")
    return Drawing(int(seed), float(level), int(replicates))


def forecast_days(now: datetime, horizon: timedelta, taken_at: datetime) -> int:
    """Return how many days after the snapshot a simulation ends: so many are forecast."""
    ahead = as_instant_us(now) - as_instant_us(taken_at) + as_us(horizon)
    days = max(1, -(-ahead // DAY_US))
    if days > MOST_FORECAST_DAYS:
        raise QueryError(
            f"the simulation ends {days:,} days after the snapshot, too far to forecast what will be written",
            hint=f"at most {MOST_FORECAST_DAYS:,} days, or future=False: then only what exists is played",
        )
    return days


def as_selection(dag_id: str | None, task_id: str | None, key: str | None) -> Selection:
    """Return names that a user gave, which select rows; None: any."""
    for name, text in (("dag_id", dag_id), ("task_id", task_id), ("key", key)):
        if text is not None:
            as_text(text, name)
    return dag_id, task_id, key
