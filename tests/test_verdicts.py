"""The two forms of a verdict agree: the function and the analysis SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from contract_rows import TICK, T, asset_row, instants, many_rows, snapshot, task_row
from hypothesis import Phase, find, given, settings

from storekit.retention import Fate, Reason, judge

NO_SHRINKING = settings(max_examples=2000, phases=(Phase.explicit, Phase.generate), database=None)
"""Reached is enough: no time for the smallest example."""

Judged = dict[Any, tuple[str, str, timedelta | None]]


def by_function(rows: list[dict[str, Any]], now: datetime) -> Judged:
    judged = {}
    for row in rows:
        verdict = judge(store=row["store"], expires_at=row["expires_at"], never_expire=row["never_expire"], now=now)
        judged[row["store"], row["key"]] = (verdict.fate.value, verdict.reason.value, verdict.margin)
    return judged


def by_sql(rows: list[dict[str, Any]], now: datetime) -> Judged:
    answer = snapshot(rows).preview(now).batches(verdict=None).read_all().to_pylist()
    assert len(answer) == len(rows)
    return {(row["store"], row["key"]): (row["verdict"], row["reason"], row["margin"]) for row in answer}


@given(rows=many_rows(), now=instants())
def test_the_sql_judges_as_the_function(rows: list[dict[str, Any]], now: datetime) -> None:
    assert by_sql(rows, now) == by_function(rows, now)


@pytest.mark.parametrize("never_expire", [None, False, True])
@pytest.mark.parametrize(
    "expires_at",
    [
        None,
        T,
        T - TICK,
        T + TICK,
        datetime.min.replace(tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ],
)
def test_every_edge(expires_at: datetime | None, never_expire: bool | None) -> None:
    rows = [task_row(key="task", expires_at=expires_at, never_expire=never_expire), asset_row(key="asset")]
    assert by_sql(rows, T) == by_function(rows, T)


@pytest.mark.parametrize(
    ("row", "reason", "margin"),
    [
        (task_row(expires_at=T - TICK), Reason.EXPIRED, -TICK),
        (task_row(expires_at=T), Reason.NOT_YET, timedelta(0)),
        (task_row(expires_at=T + TICK), Reason.NOT_YET, TICK),
        (task_row(expires_at=T - TICK, never_expire=True), Reason.NEVER_EXPIRE, -TICK),
        (task_row(never_expire=True), Reason.NEVER_EXPIRE, None),
        (task_row(never_expire=False), Reason.NO_EXPIRY, None),
        (task_row(), Reason.NO_EXPIRY_UNTOLD, None),
        (asset_row(), Reason.ASSET, None),
    ],
)
def test_the_rule_is_the_documented_one(row: dict[str, Any], reason: Reason, margin: timedelta | None) -> None:
    # Written out, so that the two forms cannot drift together.
    fate = Fate.DELETE if reason is Reason.EXPIRED else Fate.KEEP
    assert list(by_sql([row], T).values()) == [(fate.value, reason.value, margin)]
    assert list(by_function([row], T).values()) == [(fate.value, reason.value, margin)]


@pytest.mark.parametrize("reason", list(Reason))
def test_the_generator_reaches_every_reason(reason: Reason) -> None:
    def reached(rows: list[dict[str, Any]]) -> bool:
        return any(verdict[1] == reason for verdict in by_function(rows, T).values())

    find(many_rows(), reached, settings=NO_SHRINKING)


def test_the_generator_reaches_an_expiry_equal_to_now() -> None:
    find(many_rows(), lambda rows: any(row["expires_at"] == T for row in rows), settings=NO_SHRINKING)
