"""Retention worked out by hand, one row at a time, in Python's integers: what simulations are held against.

Nothing of storekit decides anything here; its `Policy` is only read for its fields. Instants are microseconds since
1970; `NEVER` and `CLEARED` stand around all of them.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from contract_rows import STATES, TICK, T, asset_row, task_row
from hypothesis import strategies as st

from storekit.errors import PolicyError
from storekit.retention.policy import AS_WRITTEN, Policy, Rule
from storekit.state import NEVER_EXPIRE

DAY = timedelta(days=1)
SKEW = timedelta(minutes=1)
NEVER, CLEARED = math.inf, -math.inf
KEEPING = Policy(name="keeps all", cleanup_every=None)
"""Beside another policy it makes `Simulation.difference` list everything that the other one deletes."""

FINISHED = {"success", "failed", "skipped", "upstream_failed", "removed"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // TICK


def us(instant: datetime) -> int:
    return (instant.astimezone(UTC) - _EPOCH) // TICK


def how_written(row: dict[str, Any], defaults: Iterable[int], skew: timedelta = SKEW) -> str:
    """Return how a row was written, as `Snapshot.written` names it, where the defaults are known."""
    if row["store"] == "asset":
        return "asset"
    if row["never_expire"]:
        return "never-expire"
    if row["expires_at"] is None:
        if row["never_expire"] is False:
            return "default"
        return "never-expire-or-default-0" if 0 in defaults else "never-expire"
    lived = us(row["expires_at"]) - us(row["updated_at"])
    near = any(days and abs(lived - days * DAY // TICK) <= skew // TICK for days in defaults)
    return "default" if near else "explicit"


def rule_of(row: dict[str, Any], policy: Policy) -> Rule | None:
    """Return the first rule that matches; globs by `fnmatch`, expressions by `re`."""
    if row["store"] == "asset":
        return None
    return next((rule for rule in policy.rules if _matches(row, rule)), None)


def _matches(row: dict[str, Any], rule: Rule) -> bool:
    for name in ("dag_id", "task_id", "key"):
        pattern = getattr(rule, name)
        if pattern is None:
            continue
        if pattern.startswith("re:"):
            if not re.fullmatch(pattern[3:], row[name]):
                return False
        elif not fnmatch.fnmatchcase(row[name], pattern):
            return False
    least, most = rule.min_bytes or 0, NEVER if rule.max_bytes is None else rule.max_bytes
    return least <= row["value_bytes"] <= most and (rule.task_state is None or row["task_state"] in rule.task_state)


def expiry(
    row: dict[str, Any], policy: Policy, mode: str, defaults: Iterable[int], *, untold_by_default: bool = False
) -> float:
    """Return when a row expires under a policy; ambiguous ones by the reading asked for."""
    how = how_written(row, defaults)
    if how == "asset":
        return NEVER
    if mode == "as-if":
        if policy.clear_on_success and row["task_state"] == "success":
            return CLEARED
        rule, days = rule_of(row, policy), policy.default_retention_days
        if rule is not None and rule.retention is not AS_WRITTEN:
            return NEVER if rule.retention is NEVER_EXPIRE else _later(row, rule.retention // TICK)
        by_default = how == "default" or (how == "never-expire-or-default-0" and untold_by_default)
        if days is not None and by_default:
            return _later(row, days * DAY // TICK) if days else NEVER
    return NEVER if row["never_expire"] or row["expires_at"] is None else us(row["expires_at"])


def _later(row: dict[str, Any], by: int) -> float:
    at = us(row["updated_at"]) + by
    return at if at <= _LAST else NEVER  # no store holds an instant after the year 9999


def cleanups(policy: Policy, now: datetime, horizon: timedelta) -> list[int]:
    """Return the instants of a policy's cleanups."""
    if policy.cleanup_every is None:
        return []
    every = policy.cleanup_every
    return [us(now) + count * (every // TICK) for count in range(horizon // every + 1)]


def is_gone(expires: float, runs: Sequence[int], at: float = NEVER) -> bool:
    """Tell whether a cleanup until an instant, itself included, has deleted a row; or a success cleared it."""
    return expires == CLEARED or any(expires < run <= at for run in runs)


def natural(row: Any) -> tuple[Any, ...]:
    """Return the natural key of a row, from a dictionary or a DataFrame's record."""
    names = ("store", "dag_id", "run_id", "task_id", "map_index", "key")
    return tuple(None if row[name] is None or row[name] != row[name] else row[name] for name in names)


def totals(rows: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """Return how many rows, and their bytes."""
    sizes = [row["value_bytes"] for row in rows]
    return len(sizes), sum(sizes)


def all_kinds(defaults: Iterable[int]) -> list[dict[str, Any]]:
    """Return rows of every kind of writing, age, state, size and name, in every combination that matters."""
    rows = []
    for age in (T - 400 * DAY, T - 14 * DAY, T - 14 * DAY - TICK, T - DAY, T + DAY):
        lived = [None, timedelta(0), 36 * timedelta(hours=1), *(days * DAY + 20 * TICK for days in defaults if days)]
        for expires_at in [None if span is None else age + span for span in lived] + [T, T - TICK]:
            for never_expire in (None, False, True):
                for state in (None, "none", "running", "success"):
                    number = len(rows)
                    names = {"dag_id": ("etl", "ml")[number % 2], "task_id": ("load", "fit")[number // 3 % 2]}
                    written = {"updated_at": age, "expires_at": expires_at, "never_expire": never_expire}
                    rest = {"key": "ab"[number // 2 % 2], "value_bytes": number % 23, "is_reference": number % 5 == 0}
                    rows.append(task_row(run_id=f"run-{number}", task_state=state, **names, **written, **rest))
    return [*rows, asset_row(value_bytes=7), asset_row(asset_id=4, updated_at=T - 400 * DAY)]


# --- strategies ----------------------------------------------------------------------------------------------------

DEFAULTS = ((30,), (30, 14), (0, 30), (), (90, 0, 1))
_OFFSETS = [each * TICK for each in (0, 0, 1, -1)]
_WAYS = [timedelta(milliseconds=each) for each in (0, -20, 35)] + [SKEW, -SKEW, SKEW + TICK, -SKEW - TICK]
_FAR = [_EPOCH, _EPOCH - TICK, datetime(1, 1, 1, tzinfo=UTC), datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)]
_FAR += [datetime.max.replace(tzinfo=UTC), T + DAY]
_CHOSEN = [timedelta(0), TICK, timedelta(hours=36), 2 * DAY, 7 * DAY, 90 * DAY, -TICK]


@st.composite
def edge_rows(draw: st.DrawFn, defaults: Iterable[int], *, max_size: int = 14) -> list[dict[str, Any]]:
    """Rows of both stores whose last write, or expiry, lies whole days around T, to the microsecond."""
    flags = draw(st.sampled_from([(None,), (False, True), (False, False, True), (None, False, True)]))
    rows = []
    for number in range(draw(st.integers(0, max_size))):
        edge = st.builds(lambda days, by: T - days * DAY + by, st.integers(0, 366), st.sampled_from(_OFFSETS))
        updated_at = draw(edge | edge | edge | st.sampled_from(_FAR))
        size = draw(st.integers(0, 40) | st.sampled_from([2**40]))
        common = {"key": draw(st.sampled_from("ab")), "value_bytes": size, "updated_at": updated_at}
        common["is_reference"] = draw(st.booleans())
        if draw(st.integers(0, 5)) == 0:
            rows.append(asset_row(**common, asset_id=number, asset_name=f"a{number}"))
            continue
        spans = st.sampled_from([days * DAY for days in defaults if days] or [30 * DAY])
        expires = st.one_of(
            st.builds(_shifted, st.just(updated_at), spans, st.sampled_from(_WAYS)),
            st.builds(_shifted, st.just(updated_at), st.sampled_from(_CHOSEN)),
            st.builds(lambda days, by: T + days * DAY + by, st.integers(-3, 40), st.sampled_from(_OFFSETS)),
            st.none(),
        )
        rows.append(
            task_row(
                **common,
                dag_id=draw(st.sampled_from(["etl", "ml"])),
                run_id=f"run-{number}",
                task_id=draw(st.sampled_from(["load", "fit"])),
                map_index=draw(st.integers(-1, 1)),
                expires_at=draw(expires),
                never_expire=draw(st.sampled_from(flags)),
                task_state=draw(st.none() | st.sampled_from(STATES) | st.sampled_from(["success", "running"])),
            )
        )
    return rows


def _shifted(at: datetime, by: timedelta, way: timedelta = timedelta(0)) -> datetime | None:
    try:
        return at + by + way
    except OverflowError:
        return None


_RULES = st.builds(
    lambda matcher, retention: Rule(**matcher, retention=retention),
    st.sampled_from(
        [
            {"dag_id": "etl"},
            {"dag_id": "m*"},
            {"dag_id": "re:etl|ml", "key": "[!b]"},
            {"task_id": "?it"},
            {"key": "a"},
            {"min_bytes": 10},
            {"max_bytes": 10},
            {"min_bytes": 1, "max_bytes": 2**40 - 1},
            {"task_state": "running"},
            {"task_state": ("none", "success")},
            {"dag_id": "etl", "task_id": "load", "key": "b", "task_state": "success"},
        ]
    ),
    st.sampled_from([timedelta(0), TICK, 14 * DAY, 365 * DAY, NEVER_EXPIRE, AS_WRITTEN, timedelta.max - TICK]),
)
_EVERY = [DAY, DAY, timedelta(hours=7), timedelta(days=9, microseconds=1), None]


@st.composite
def edge_policies(draw: st.DrawFn, *, name: str = "p") -> Policy:
    """Policies of every kind: by default, by rules, with and without clearing and cleanup."""
    rules: list[Rule] = []
    for rule in draw(st.lists(_RULES, max_size=3)):
        try:
            Policy(rules=[*rules, rule])
        except PolicyError:
            continue  # an earlier rule takes all of its rows
        rules.append(rule)
    return Policy(
        name=name,
        default_retention_days=draw(st.sampled_from([None, 0, 1, 14, 30, 90, 365, 4_000_000, timedelta.max.days])),
        rules=rules,
        clear_on_success=draw(st.booleans()),
        cleanup_every=draw(st.sampled_from(_EVERY)),
        batch_size=draw(st.sampled_from([0, 1, 3])),
    )
