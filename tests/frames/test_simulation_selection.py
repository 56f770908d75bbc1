"""Simulations of a part of the rows, and the rows that are gone under a policy: against rows judged one by one."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import product
from typing import Any

import pandas as pd
import pytest
from by_hand import (
    CLEARED,
    DAY,
    DEFAULTS,
    NEVER,
    all_kinds,
    cleanups,
    edge_policies,
    edge_rows,
    expiry,
    how_written,
    is_gone,
    natural,
    rule_of,
    totals,
    us,
)
from contract_rows import HOSTILE, TICK, T, asset_row, snapshot, task_row
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import ON_CI

from storekit.errors import QueryError
from storekit.retention.policy import Policy, Rule
from storekit.state import NEVER_EXPIRE

MODES = ("forward", "as-if")
SELECTIONS: list[dict[str, str]] = [
    {},
    {"dag_id": "etl"},
    {"task_id": "fit"},
    {"key": "a"},
    {"dag_id": "ml", "task_id": "load"},
    {"dag_id": "etl", "task_id": "load", "key": "b"},
    {"dag_id": "no such dag"},
]
SHORT = Policy(name="short", default_retention_days=7, cleanup_every="9h")
KEEPS = Policy(name="keeps", cleanup_every=None)

cases = st.sampled_from(DEFAULTS).flatmap(lambda defaults: st.tuples(edge_rows(defaults), st.just(defaults)))


def chosen(rows: list[dict[str, Any]], selection: dict[str, str]) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[name] == text for name, text in selection.items())]


# --- gone ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60 if ON_CI else 8)
@given(
    case=cases,
    policy=edge_policies(),
    mode=st.sampled_from(MODES),
    selection=st.sampled_from(SELECTIONS),
    later=st.sampled_from([timedelta(0), TICK, DAY, 20 * DAY]),
)
def test_gone_is_every_row_that_a_cleanup_took_by_hand(
    case: tuple[list[dict[str, Any]], tuple[int, ...]],
    policy: Policy,
    mode: str,
    selection: dict[str, str],
    later: timedelta,
) -> None:
    check_gone(*case, policy, mode, selection, later)


@pytest.mark.parametrize("defaults", [(0, 14, 30), (30,)])
@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_row_gone_by_hand(mode: str, defaults: tuple[int, ...]) -> None:
    ruled = Policy(
        name="ruled",
        default_retention_days=14,
        clear_on_success=True,
        rules=[Rule(key="b", dag_id="e*", retention="36h"), Rule(task_id="fit", retention=NEVER_EXPIRE)],
    )
    policies = (SHORT, ruled, KEEPS, Policy(name="none", default_retention_days=0), Policy(name="as written"))
    cases = list(product(policies, (timedelta(0), 3 * DAY), SELECTIONS))
    # Every third: each policy, each instant and each selection is among them.
    for policy, later, selection in cases if ON_CI else cases[::3]:
        check_gone(all_kinds(defaults), defaults, policy, mode, selection, later)


def check_gone(
    rows: list[dict[str, Any]],
    defaults: tuple[int, ...],
    policy: Policy,
    mode: str,
    selection: dict[str, str],
    later: timedelta,
) -> None:
    sim = snapshot(rows).simulate(policy, "20d", mode, future=False, defaults=defaults, **selection)
    runs, at = cleanups(policy, T, 20 * DAY), us(T + later)
    expected = {}
    for row in chosen(rows, selection):
        late, soon = (expiry(row, policy, mode, defaults, untold_by_default=each) for each in (False, True))
        taken = [is_gone(each, runs, at) for each in (late, soon)]
        if any(taken):
            rule = rule_of(row, policy)
            name = None if rule is None else f"rules[{policy.rules.index(rule)}]"
            until = None if soon in (NEVER, CLEARED) else soon
            left = None if until is None else until - at
            expected[natural(row)] = (row["value_bytes"], all(taken), how_written(row, defaults), name, until, left)
    frame = sim.gone(policy, at=T + later)
    found = {
        natural(each): (
            each["value_bytes"],
            each["certain"],
            each["written"],
            None if pd.isna(each["rule"]) else each["rule"],
            None if pd.isna(each["expires_under"]) else us(each["expires_under"]),
            None if pd.isna(each["margin"]) else each["margin"] // pd.Timedelta(microseconds=1),
        )
        for each in frame.to_dict("records")
    }
    assert found == expected
    assert len(frame) == len(expected)
    assert frame["margin"].dtype == "timedelta64[us]"
    for columns in ((), ("dag_id",), ("task_id", "key"), ("key", "dag_id", "task_id")):
        sums: dict[Any, list[int]] = {} if columns else {(): [0, 0]}
        for row in chosen(rows, selection):
            if natural(row) in expected:
                held = sums.setdefault(tuple(row[name] for name in columns), [0, 0])
                held[0] += 1
                held[1] += row["value_bytes"]
        counted = sim.gone_by(policy, *columns, at=T + later)
        lines = {
            tuple(each[name] for name in columns): [each["rows"], each["value_bytes"]]
            for each in counted.to_dict("records")
        }
        assert lines == sums
        assert counted["value_bytes"].is_monotonic_decreasing
    if not later:
        (line,) = sim.summary.to_dict("records")
        sure = frame[frame["certain"]]
        assert len(sure) == line["deleted_now"] + line["cleared"]
        assert sure["value_bytes"].sum() == line["deleted_now_bytes"] + line["cleared_bytes"]
        assert len(frame) == line["deleted_now_high"] + line["cleared"]
        assert frame["value_bytes"].sum() == line["deleted_now_bytes_high"] + line["cleared_bytes"]


def test_gone_asks_at_the_compared_instant_unless_told() -> None:
    rows = [task_row(run_id=f"{age}", updated_at=T - age * DAY, expires_at=T + (30 - age) * DAY) for age in range(20)]
    taken = snapshot(rows)
    as_if, forward = (taken.simulate(SHORT, "40d", mode, future=False, defaults=[30]) for mode in ("as-if", "forward"))
    assert list(as_if.gone("short")["run_id"]) == sorted(f"{age}" for age in range(8, 20))
    assert len(forward.gone(SHORT)) == 20
    assert forward.gone(SHORT, at=T).empty
    assert forward.gone(SHORT, at=T)["margin"].dtype == "timedelta64[us]"
    for wrong in ({"at": T - TICK}, {"at": "soon"}, {"limit": -1}, {"offset": True}):
        with pytest.raises(QueryError):
            as_if.gone("short", **wrong)  # type: ignore[arg-type]
    for columns in (("run_id",), ("key", "key")):
        with pytest.raises(QueryError):
            as_if.gone_by("short", *columns)
    with pytest.raises(QueryError):
        as_if.gone("long")


def many_gone() -> list[dict[str, Any]]:
    """Rows of Dags of many sizes, more than a page hands over one by one; an asset's too, which is never gone."""
    sizes = {"b": 300, "B": 7, "é": 230, "a": 1, "": 3, "z" * 300: 450, "\U0001f980": 12}
    rows = [
        task_row(
            dag_id=dag,
            run_id=f"run {number * 7919 % 13}",
            key=f"{number % 5}",
            map_index=number % 7 - 1,
            task_id=f"{number}",
            updated_at=T - 40 * DAY - number * TICK,
            expires_at=T - 10 * DAY - number * TICK,
        )
        for dag, size in sizes.items()
        for number in range(size)
    ]
    return [*rows[::2], asset_row(updated_at=T - 40 * DAY), *rows[1::2]]


@pytest.mark.parametrize("selection", [{}, {"key": "3"}, {"dag_id": "é"}])
def test_pages_of_any_size_are_cuts_of_the_whole(selection: dict[str, str]) -> None:
    rows = many_gone()
    sim = snapshot(rows).simulate([SHORT, KEEPS], "1d", "as-if", future=False, defaults=[30], **selection)
    names = ("dag_id", "run_id", "task_id", "map_index", "key")
    by_hand = sorted(
        (tuple(row[name] for name in names) for row in chosen(rows, selection) if row["store"] == "task"),
        key=lambda each: (each[0].encode(), *each[1:]),
    )
    for size in (1, 25, 150, 999, 5000):
        for start in (0, 1, 3, 299, 310, 311, 540, 600, len(by_hand) - 1, len(by_hand), len(by_hand) + 9):
            for page in (
                sim.gone("short", limit=size, offset=start),
                sim.difference("keeps", "short", limit=size, offset=start),
            ):
                found = [tuple(each) for each in page[list(names)].itertuples(index=False)]
                assert found == by_hand[start : start + size], (size, start)
                assert list(page["expires_under" if "margin" in page else "expires_under_b"]) == [
                    each + 7 * DAY for each in page["updated_at"]
                ]


# --- selections ----------------------------------------------------------------------------------------------------


@settings(max_examples=40 if ON_CI else 6)
@given(
    case=cases,
    policy=edge_policies(),
    mode=st.sampled_from(MODES),
    selection=st.sampled_from(SELECTIONS[1:]),
)
def test_a_selection_is_the_rows_of_it_alone_by_hand(
    case: tuple[list[dict[str, Any]], tuple[int, ...]], policy: Policy, mode: str, selection: dict[str, str]
) -> None:
    rows, defaults = case
    part = chosen(rows, selection)
    sim = snapshot(rows).simulate([policy, KEEPS], "20d", mode, future=False, defaults=defaults, **selection)
    runs = cleanups(policy, T, 20 * DAY)
    line = sim.over_time()
    for record in line[line["policy"] == policy.name].to_dict("records"):
        at = us(record["at"]) - (record["moment"] == "before cleanup")
        for reading, end in ((False, ""), (True, "_low")):
            alive = [
                row
                for row in part
                if not is_gone(expiry(row, policy, mode, defaults, untold_by_default=reading), runs, at)
            ]
            assert (record[f"known_rows{end}"], record[f"known_bytes{end}"]) == totals(alive)
    for name in ("dag_id", "task_id", "key"):
        groups = sim.over_time(name)
        shown = set(groups[name].dropna())
        assert shown == {row[name] for row in part if row[name] is not None}
    assert sim.selection == selection


@settings(max_examples=20 if ON_CI else 5)
@given(case=cases, mode=st.sampled_from(MODES), dag=st.sampled_from(["etl", "ml"]))
def test_a_selection_of_one_dag_is_a_snapshot_of_it_when_the_defaults_are_known(
    case: tuple[list[dict[str, Any]], tuple[int, ...]], mode: str, dag: str
) -> None:
    rows, defaults = case
    policies = [SHORT, Policy(name="ruled", default_retention_days=14, rules=[Rule(key="a", retention="2d")])]
    asked: dict[str, Any] = {"horizon": "12d", "mode": mode, "defaults": defaults, "replicates": 20}
    one = snapshot(rows).simulate(policies, dag_id=dag, **asked)
    other = snapshot(chosen(rows, {"dag_id": dag})).simulate(policies, **asked)
    for name in ("summary", "cleanups"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    pd.testing.assert_frame_equal(one.over_time(), other.over_time())
    pd.testing.assert_frame_equal(one.rates(), other.rates())
    pd.testing.assert_frame_equal(one.difference_by(*policies, "key"), other.difference_by(*policies, "key"))
    pd.testing.assert_frame_equal(one.difference(*policies), other.difference(*policies))


def busy(dag: str, lived: timedelta, count: int = 60) -> list[dict[str, Any]]:
    return [
        task_row(
            dag_id=dag,
            run_id=f"{number}",
            updated_at=T - number * timedelta(hours=3),
            expires_at=T - number * timedelta(hours=3) + lived,
            never_expire=False,
        )
        for number in range(count)
    ]


def test_how_rows_were_written_is_told_from_all() -> None:
    # Most Dags share 30 days; a Dag with 7 chose them, also where it is looked at alone.
    rows = [row for dag in "abcd" for row in busy(dag, 30 * DAY)] + busy("x", 7 * DAY)
    taken = snapshot(rows)
    whole = taken.simulate(SHORT, "9d", "as-if", now=T, future=False)
    alone = taken.simulate(SHORT, "9d", "as-if", now=T, future=False, dag_id="x")
    pd.testing.assert_frame_equal(alone.written, whole.written)
    assert set(alone.gone("short", at=T + 9 * DAY)["written"]) == {"explicit"}
    older = snapshot([row for row in rows if row["updated_at"] <= T - 5 * DAY], taken_at=T - 5 * DAY)
    helped = taken.simulate(SHORT, "9d", history=[older], dag_id="x", replicates=20)
    flow = helped.setting.flow
    assert flow is not None
    assert flow.history.counts[flow.history.seen[:, 0], 0].max() == 8  # of the Dag alone, also in the older snapshot


def test_a_selection_is_said_wherever_the_simulation_shows_itself() -> None:
    rows = [*busy("a", 30 * DAY), *busy("b", 30 * DAY, 20), asset_row()]
    taken = snapshot(rows)
    sim = taken.simulate(SHORT, "9d", dag_id="b", key="k", replicates=20)
    for shown in (repr(sim), sim._repr_html_()):
        assert "only dag_id = b, key = k" in shown
    assert sim.to_dict()["selection"] == {"dag_id": "b", "key": "k"}
    assert sim.assumptions[0].startswith("Only rows of dag_id = b, key = k are simulated")
    assert "of 81 rows" in sim.assumptions[0]
    plain = taken.simulate(SHORT, "9d", replicates=20)
    assert plain.to_dict()["selection"] == {}
    assert not any("Only rows" in each for each in plain.assumptions)
    assert "only" not in repr(plain).splitlines()[0]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_selected_exactly_and_shown_inert(text: str) -> None:
    taken = snapshot([task_row(key=text), task_row(key="k", run_id="r")])
    sim = taken.simulate(SHORT, "2d", future=False, key=text)
    assert len(sim.setting.rows) == 1
    page = sim._repr_html_()
    assert "<script>" not in page
    assert "<img src=x" not in page
    assert "\x1b" not in repr(sim)
    assert "\u202e" not in repr(sim)
    json.dumps(sim.to_dict())


def test_a_name_that_no_row_has_selects_nothing() -> None:
    sim = snapshot([*busy("a", 30 * DAY), asset_row()]).simulate([SHORT, KEEPS], "9d", "as-if", dag_id="nobody")
    (first, _) = sim.summary.to_dict("records")
    assert (first["deleted_now"], first["kept_now"], first["end_rows"]) == (0, 0, 0)
    assert (sim.over_time()[["known_rows", "rows", "bytes"]] == 0).all(axis=None)
    assert sim.over_time("dag_id").empty
    assert sim.gone("short").empty
    assert sim.difference(KEEPS, SHORT).empty
    assert sim.unsafe("short").empty
    assert sim.rates().empty
    assert len(sim.gone_by("short")) == 1
    assert "no future write is forecast" in " ".join(sim.assumptions)


def test_what_is_no_name_is_refused_and_so_is_a_row_outside() -> None:
    taken = snapshot(busy("a", 30 * DAY))
    for wrong in ({"dag_id": 3}, {"key": "\ud800"}, {"task_id": ["t"]}):
        with pytest.raises(QueryError):
            taken.simulate(SHORT, "9d", **wrong)  # type: ignore[arg-type]
    sim = taken.simulate(SHORT, "9d", future=False, dag_id="b")
    row = busy("a", DAY)[0]
    with pytest.raises(QueryError, match="not simulated"):
        sim.explain("short", dag_id="a", task_id=row["task_id"], key=row["key"], run_id="0")
