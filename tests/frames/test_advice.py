"""Advice: its numbers are those of rows judged by hand, and its front is the Pareto front."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from by_hand import (
    CLEARED,
    DAY,
    DEFAULTS,
    FINISHED,
    KEEPING,
    cleanups,
    edge_policies,
    edge_rows,
    expiry,
    how_written,
    natural,
    rule_of,
    totals,
    us,
)
from contract_rows import TICK, T, asset_row, many_rows, snapshot, task_row
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import ON_CI

from storekit.errors import QueryError
from storekit.frames.advice import CANDIDATE_DAYS, Advice
from storekit.retention.policy import Policy, Rule

cases = st.sampled_from(DEFAULTS).flatmap(lambda defaults: st.tuples(edge_rows(defaults), st.just(defaults)))
candidates = st.tuples(*(edge_policies(name=name) for name in "abcd")).map(
    lambda many: [each for each in many if each.cleanup_every is not None]
)


def risks_of(
    row: dict[str, Any], policy: Policy, defaults: tuple[int, ...], look_back: timedelta, wait: timedelta
) -> list[str]:
    """Return why a row is at risk, by hand."""
    expires = expiry(row, policy, "as-if", defaults, untold_by_default=True)
    gone, state = expires < us(T), row["task_state"]
    reasons = []
    if state is not None and state not in FINISHED and any(expires < run for run in cleanups(policy, T, wait)):
        reasons.append("not finished")
    if gone and row["is_reference"]:
        reasons.append("reference")
    if gone and us(row["updated_at"]) > us(T - look_back):
        reasons.append("lately")
    return reasons


@settings(max_examples=40 if ON_CI else 12)
@given(case=cases, policies=candidates, look_back=st.sampled_from([DAY, 14 * DAY]), wait=st.sampled_from([TICK, DAY]))
def test_every_number_is_of_rows_judged_by_hand(
    case: tuple[list[dict[str, Any]], tuple[int, ...]],
    policies: list[Policy],
    look_back: timedelta,
    wait: timedelta,
) -> None:
    if not policies:
        return
    rows, defaults = case
    taken, same = snapshot(rows), snapshot(rows)
    advice = taken.recommend(policies, look_back=look_back, retry_wait=wait, defaults=defaults)
    lines = {line["policy"]: line for line in advice.candidates.to_dict("records")}
    assert lines.keys() == {each.name for each in policies}
    for policy in policies:
        line = lines[policy.name]
        gone, at_most = (
            [row for row in rows if expiry(row, policy, "as-if", defaults, untold_by_default=reading) < us(T)]
            for reading in (False, True)
        )
        (count, size), (freed, freed_bytes), (most, most_bytes) = map(totals, (rows, gone, at_most))
        assert (line["freed_rows"], line["freed_bytes"]) == (freed, freed_bytes)
        assert (line["kept_rows"], line["kept_bytes"]) == (count - freed, size - freed_bytes)
        assert (line["kept_rows_low"], line["kept_bytes_low"]) == (count - most, size - most_bytes)
        assert (line["freed_rows_high"], line["freed_bytes_high"]) == (most, most_bytes)
        ages = [(us(T) - us(row["updated_at"])) * TICK for row in at_most]
        assert (None if pd.isna(line["newest_lost"]) else line["newest_lost"]) == min(ages, default=None)

        reasons = {natural(row): risks_of(row, policy, defaults, look_back, wait) for row in rows}
        at_risk = {place: why for place, why in reasons.items() if why}
        assert line["risk_rows"] == len(at_risk)
        for name, word in (("unfinished", "not finished"), ("orphaning", "reference"), ("recent", "lately")):
            assert line[f"{name}_rows"] == sum(word in why for why in at_risk.values())
        _check_listed(advice, policy, rows, defaults, at_risk)
    assert taken.equals(same)


def _check_listed(
    advice: Advice,
    policy: Policy,
    rows: list[dict[str, Any]],
    defaults: tuple[int, ...],
    at_risk: dict[tuple[Any, ...], list[str]],
) -> None:
    listed = {natural(each): each for each in advice.risks(policy).to_dict("records")}
    assert listed.keys() == at_risk.keys()
    for row in rows:
        each = listed.get(natural(row))
        if each is None:
            continue
        for word in ("not finished", "reference", "lately"):
            assert (word in each["reason"]) == (word in at_risk[natural(row)])
        assert each["written"] == how_written(row, defaults)
        rule = rule_of(row, policy)
        assert (None if pd.isna(each["rule"]) else each["rule"]) == (
            None if rule is None else f"rules[{policy.rules.index(rule)}]"
        )
        expires = expiry(row, policy, "as-if", defaults, untold_by_default=True)
        shown = None if pd.isna(each["expires_under"]) else us(each["expires_under"])
        assert shown == (None if expires == CLEARED else expires)


@settings(max_examples=40 if ON_CI else 12)
@given(case=cases, policies=candidates)
def test_the_front_is_what_nobody_beats(
    case: tuple[list[dict[str, Any]], tuple[int, ...]], policies: list[Policy]
) -> None:
    if not policies:
        return
    rows, defaults = case
    advice = snapshot(rows).recommend(policies, defaults=defaults)
    table = advice.candidates
    assert table["kept_bytes"].is_monotonic_increasing
    records = table.to_dict("records")
    by_name = {each["policy"]: each for each in records}

    def beats(one: dict[str, Any], other: dict[str, Any]) -> bool:
        by = ("kept_bytes", "kept_bytes_low", "risk_rows")
        return any(one[name] < other[name] for name in by) and all(one[name] <= other[name] for name in by)

    def effect(policy: Policy) -> list[Any]:
        """What it deletes, by either reading, and of what is unfinished, what it puts at risk."""
        ends = [[expiry(row, policy, "as-if", defaults, untold_by_default=each) for row in rows] for each in (0, 1)]
        unfinished = [row["task_state"] is not None and row["task_state"] not in FINISHED for row in rows]
        runs = cleanups(policy, T, DAY)
        soon = [busy and any(end < run for run in runs) for busy, end in zip(unfinished, ends[1], strict=True)]
        return [[end < us(T) for end in each] for each in ends] + [soon]

    effects = {policy.name: effect(policy) for policy in policies}
    for each in records:
        beaten = any(beats(other, each) for other in records)
        alike = [name for name in effects if effects[name] == effects[each["policy"]]]
        stands = alike[0] == each["policy"]
        assert each["on_front"] == (stands and not beaten)
        assert pd.isna(each["beaten_by"]) == (not beaten)
        assert (None if pd.isna(each["same_as"]) else each["same_as"]) == (None if stands else alike[0])
        if beaten:
            assert beats(by_name[each["beaten_by"]], each)
            assert by_name[each["beaten_by"]]["on_front"]
    assert len(advice.front) >= 1
    pd.testing.assert_frame_equal(advice.front, table[table["on_front"]].reset_index(drop=True))
    assert str(advice)
    assert advice._repr_html_()


@settings(max_examples=40 if ON_CI else 10)
@given(rows=many_rows())
def test_candidates_that_keep_longer_risk_no_more(rows: list[dict[str, Any]]) -> None:
    taken = snapshot(rows)
    table = taken.recommend(defaults=(30, 0)).candidates.set_index("policy")
    assert len(table) == 1 + len(CANDIDATE_DAYS)
    ordered = table.loc[[Policy(default_retention_days=each).name for each in CANDIDATE_DAYS]]
    for name in ("kept_rows", "kept_bytes", "kept_rows_low", "kept_bytes_low"):
        assert ordered[name].is_monotonic_increasing
    for name in ("risk_rows", "unfinished_rows", "orphaning_rows", "recent_rows", "freed_bytes"):
        assert ordered[name].is_monotonic_decreasing
    assert (table["kept_bytes"] + table["freed_bytes"] == taken.value_bytes).all()
    assert (table["kept_rows"] + table["freed_rows"] == len(rows)).all()
    assert (table["kept_rows_low"] <= table["kept_rows"]).all()
    # The curve says the same.
    curve = taken.retention_curve(CANDIDATE_DAYS, defaults=(30, 0))
    assert list(curve["kept"]) == list(ordered["kept_rows"])
    assert list(curve["kept_bytes_low"]) == list(ordered["kept_bytes_low"])


def test_each_risk_has_its_reason_and_edge() -> None:
    def row(name: str, *, age: timedelta, **more: Any) -> dict[str, Any]:
        updated_at = T - age
        end = updated_at + 30 * DAY
        return task_row(run_id=name, updated_at=updated_at, expires_at=end, never_expire=False, **more)

    rows = [
        row("unfinished, gone", age=9 * DAY, task_state="up_for_retry"),
        row("unfinished, gone soon", age=6 * DAY + TICK, task_state="running"),
        row("unfinished, gone later", age=6 * DAY, task_state="running"),
        row("no such instance", age=9 * DAY),
        row("finished", age=9 * DAY, task_state="failed"),
        row("object", age=9 * DAY, task_state="success", is_reference=True),
        row("object kept", age=7 * DAY, task_state="success", is_reference=True),
        row("recent", age=8 * DAY - TICK, task_state="success"),
        row("not recent", age=8 * DAY, task_state="success"),
        asset_row(updated_at=T - 9 * DAY, is_reference=True),
    ]
    advice = snapshot(rows).recommend(Policy(default_retention_days=7), look_back="8d", retry_wait="1d")
    reasons = advice.risks("7 days").set_index("run_id")["reason"].to_dict()
    assert reasons.keys() == {"unfinished, gone", "unfinished, gone soon", "object", "recent"}
    assert "next try" in reasons["unfinished, gone soon"]
    assert "left in storage" in reasons["object"]
    assert "so lately" in reasons["recent"]
    (line,) = advice.candidates.to_dict("records")
    assert (line["risk_rows"], line["unfinished_rows"], line["orphaning_rows"], line["recent_rows"]) == (4, 2, 1, 1)
    assert line["newest_lost"] == 8 * DAY - TICK
    assert len(advice.risks("7 days", limit=2)) == 2
    assert list(advice.risks("7 days", limit=2, offset=3)["run_id"]) == list(advice.risks("7 days")["run_id"])[3:]
    assert list(advice.front["policy"]) == ["7 days"]


def test_a_rule_that_spares_what_is_at_risk_takes_the_front() -> None:
    rows = [
        task_row(run_id=f"{each}", key="cursor" if each % 2 else "scratch", value_bytes=1 if each % 2 else 1000)
        | {"updated_at": T - 2 * DAY, "expires_at": T + 28 * DAY, "task_state": "running" if each % 2 else "success"}
        for each in range(10)
    ]
    blunt = Policy(name="blunt", default_retention_days=1)
    fine = Policy(name="fine", default_retention_days=30, rules=[Rule(key="scratch", retention="1d")])
    advice = snapshot(rows).recommend([blunt, fine, Policy(name="all")], look_back="1d")
    table = advice.candidates.set_index("policy")
    assert dict(table["kept_bytes"]) == {"blunt": 0, "fine": 5, "all": 5005}
    assert dict(table["risk_rows"]) == {"blunt": 5, "fine": 0, "all": 0}
    assert list(advice.front["policy"]) == ["blunt", "fine"]
    assert table.loc["all", "beaten_by"] == "fine"


def test_rows_that_perhaps_expire_count_in_bytes_as_they_do_in_risk() -> None:
    rows = [task_row(run_id=f"{age}", updated_at=T - age * DAY, never_expire=None) for age in (3, 10, 20, 40)]
    advice = snapshot(rows).recommend([Policy(default_retention_days=each) for each in (2, 7, 14, 21)], look_back="5d")
    table = advice.candidates.set_index("policy")
    assert set(table["freed_rows"]) == {0}
    assert dict(table["freed_rows_high"]) == {"2 days": 4, "7 days": 3, "14 days": 2, "21 days": 1}
    assert table.loc["14 days", "newest_lost"] == 20 * DAY
    # At no risk all of 7, 14 and 21 days: the shortest frees most, if the default wrote the rows.
    assert list(advice.front["policy"]) == ["2 days", "7 days"]
    assert dict(table["beaten_by"].dropna()) == {"14 days": "7 days", "21 days": "7 days"}
    assert "0 … 3 rows, 0 B … " in str(advice)


def test_candidates_may_be_anything_that_yields_them() -> None:
    advice = snapshot([task_row()]).recommend(Policy(default_retention_days=each) for each in (1, 2))
    assert set(advice.candidates["policy"]) == {"1 day", "2 days"}


def test_an_empty_store_and_a_store_of_assets() -> None:
    for rows in ([], [asset_row(), asset_row(asset_id=4, key="b")]):
        advice = snapshot(rows).recommend()
        assert (advice.candidates["kept_rows"] == len(rows)).all()
        assert (advice.candidates["risk_rows"] == 0).all()
        assert advice.candidates["newest_lost"].isna().all()
        assert list(advice.front["policy"]) == ["as written"]
        assert set(advice.candidates["same_as"][1:]) == {"as written"}
        assert advice.risks("1 day").empty
        assert advice.assumptions


def test_what_cannot_be_weighed_is_refused() -> None:
    taken = snapshot([task_row()])
    for candidate in ([KEEPING], KEEPING, [], ["14d"], [Policy(name="x"), Policy(name="x")], 14, "14d"):
        with pytest.raises(QueryError):
            taken.recommend(candidate)  # type: ignore[arg-type]
    for mistake in ({"look_back": "0d"}, {"retry_wait": "soon"}, {"now": T - TICK}, {"defaults": [-1]}):
        with pytest.raises(QueryError):
            taken.recommend(**mistake)
    with pytest.raises(QueryError):
        taken.recommend().risks("no such policy")


def test_later_nows_and_defaults_reach_the_numbers() -> None:
    rows = [task_row(updated_at=T - 6 * DAY, expires_at=T + DAY, never_expire=False)]
    taken, week = snapshot(rows), Policy(default_retention_days=6)
    assert taken.recommend(week, defaults=(7,)).candidates["freed_rows"][0] == 0
    assert taken.recommend(week, defaults=iter([7]), now=T + TICK).candidates["freed_rows"][0] == 1
    assert taken.recommend(week, defaults=(30,), now=T + TICK).candidates["freed_rows"][0] == 0
