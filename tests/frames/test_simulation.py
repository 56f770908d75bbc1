"""Simulations: exact for what exists, equal to doing it; sound and said out loud for what is to come."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from by_hand import (
    CLEARED,
    DAY,
    DEFAULTS,
    FINISHED,
    KEEPING,
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
from contract_rows import TICK, T, asset_row, instants, many_rows, snapshot, task_row
from hypothesis import example, given, settings
from hypothesis import strategies as st
from profiles import ON_CI
from stores import open_store

from storekit import connect
from storekit.accessors import AssetStoreAccessor, TaskStoreAccessor
from storekit.clock import ManualClock
from storekit.config import StateStoreConfig
from storekit.errors import QueryError
from storekit.frames.display import human_bytes
from storekit.frames.simulation import Simulation
from storekit.frames.simview import summary_cells, summary_legend
from storekit.frames.snapshot import Snapshot
from storekit.retention.policy import AS_WRITTEN, Policy, Rule
from storekit.state import NEVER_EXPIRE, AssetScope, TaskScope

HOUR = timedelta(hours=1)
MODES = ("forward", "as-if")

cases = st.sampled_from(DEFAULTS).flatmap(lambda defaults: st.tuples(edge_rows(defaults), st.just(defaults)))
later_nows = st.sampled_from([T, T + TICK, T + DAY, T + 30 * DAY - TICK])


ALL_POLICIES = [
    Policy(),
    KEEPING,
    Policy(name="short", default_retention_days=1, cleanup_every="6h", batch_size=2),
    Policy(name="none", default_retention_days=0, cleanup_every="100d"),
    Policy(
        name="ruled",
        default_retention_days=14,
        clear_on_success=True,
        batch_size=1,
        rules=[
            Rule(key="cursor", retention=NEVER_EXPIRE),
            Rule(dag_id="e*", task_state=("running", "none"), retention=timedelta(0)),
            Rule(task_id="re:.*d", min_bytes=1, retention="36h"),
            Rule(max_bytes=2**40, retention=AS_WRITTEN),
        ],
    ),
]


def instants_us(frame: pd.DataFrame, name: str = "at") -> list[int]:
    return [us(each) for each in frame[name]]


# --- against working it out by hand ------------------------------------------------------------------------------


@settings(max_examples=40 if ON_CI else 12)
@given(case=cases, policy=edge_policies(), mode=st.sampled_from(MODES), now=later_nows, days=st.sampled_from([1, 40]))
def test_every_row_dies_when_it_does_by_hand(
    case: tuple[list[dict[str, Any]], tuple[int, ...]], policy: Policy, mode: str, now: datetime, days: int
) -> None:
    rows, defaults = case
    check_by_hand(rows, defaults, policy, mode, now, days * DAY)


@pytest.mark.parametrize("defaults", [(0, 14, 30), (30,)])
@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_row_by_hand_under_every_kind_of_policy(mode: str, defaults: tuple[int, ...]) -> None:
    for policy in ALL_POLICIES[2:]:
        check_by_hand(all_kinds(defaults), defaults, policy, mode, T, 3 * DAY)


def check_by_hand(
    rows: list[dict[str, Any]],
    defaults: tuple[int, ...],
    policy: Policy,
    mode: str,
    now: datetime,
    horizon: timedelta,
) -> None:
    """Hold every number of a simulation of what exists, and every row listed, against rows judged one by one."""
    sim = snapshot(rows).simulate([KEEPING, policy], horizon, mode, now=now, future=False, defaults=defaults)
    late, soon = (
        [expiry(row, policy, mode, defaults, untold_by_default=reading) for row in rows] for reading in (False, True)
    )
    runs = cleanups(policy, now, horizon)

    table = sim.cleanups[sim.cleanups["policy"] == policy.name]
    assert instants_us(table) == runs
    for record in table.to_dict("records"):
        at = us(record["at"])
        for expiries, end in ((late, ""), (soon, "_high")):
            earlier = [run for run in runs if run < at]
            dies = [
                row
                for row, at_us in zip(rows, expiries, strict=True)
                if is_gone(at_us, [at]) and not is_gone(at_us, earlier)
            ]
            assert (record[f"deleted{end}"], record[f"deleted_bytes{end}"]) == totals(dies)
        most = policy.batch_size
        assert record["batches"] == (max(1, math.ceil(record["deleted"] / most)) if most else 1)

    line = sim.over_time()
    for record in line[line["policy"] == policy.name].to_dict("records"):
        at = us(record["at"]) - (record["moment"] == "before cleanup")
        for expiries, end in ((late, ""), (soon, "_low")):
            alive = [row for row, at_us in zip(rows, expiries, strict=True) if not is_gone(at_us, runs, at)]
            assert (record[f"known_rows{end}"], record[f"known_bytes{end}"]) == totals(alive)

    for at in {us(now), us(now + horizon), *runs[:2]}:
        instant = now + (at - us(now)) * TICK
        gone = sim.difference(KEEPING, policy, at=instant)
        _check_difference(gone, rows, policy, defaults, (late, soon), runs, at, mode)
    assert sim.difference(policy, policy).empty
    assert sim.difference(KEEPING, KEEPING).empty


def _check_difference(
    gone: pd.DataFrame,
    rows: list[dict[str, Any]],
    policy: Policy,
    defaults: tuple[int, ...],
    expiries: tuple[list[float], list[float]],
    runs: list[int],
    at: int,
    mode: str,
) -> None:
    expected = {}
    kept = KEEPING
    for row, late, soon in zip(rows, *expiries, strict=True):
        readings = [
            is_gone(expires, runs, at) and not is_gone(expiry(row, kept, mode, defaults), [], at)
            for expires in (late, soon)
        ]
        if any(readings):
            rule = rule_of(row, policy)
            name = None if rule is None else f"rules[{policy.rules.index(rule)}]"
            until = None if soon in (NEVER, CLEARED) else soon
            expected[natural(row)] = (row["value_bytes"], all(readings), how_written(row, defaults), name, until)
    found = {
        natural(record): (
            record["value_bytes"],
            record["certain"],
            record["written"],
            None if pd.isna(record["rule_b"]) else record["rule_b"],
            None if pd.isna(record["expires_under_b"]) else us(record["expires_under_b"]),
        )
        for record in gone.to_dict("records")
    }
    assert found == expected
    assert len(gone) == len(expected)


@settings(max_examples=40 if ON_CI else 8)
@given(case=cases, one=edge_policies(name="a"), other=edge_policies(name="b"), mode=st.sampled_from(MODES))
def test_differences_groups_unsafe_rows_and_words_by_hand(
    case: tuple[list[dict[str, Any]], tuple[int, ...]], one: Policy, other: Policy, mode: str
) -> None:
    (rows, defaults), horizon = case, 20 * DAY
    sim = snapshot(rows).simulate([one, other], horizon, mode, future=False, defaults=defaults, retry_wait="2d")
    end = us(T + horizon)

    def lives(row: dict[str, Any], policy: Policy, reading: bool) -> bool:
        expires = expiry(row, policy, mode, defaults, untold_by_default=reading)
        return not is_gone(expires, cleanups(policy, T, horizon), end)

    for a, b in ((one, other), (other, one)):
        parted = [row for row in rows if any(lives(row, a, x) and not lives(row, b, x) for x in (False, True))]
        found = sim.difference(a, b, at=T + horizon)
        assert {natural(each) for each in found.to_dict("records")} == set(map(natural, parted))
        for columns in ((), ("dag_id",), ("task_id", "key")):
            expected: dict[Any, list[int]] = {() if not columns else None: [0, 0]} if not columns else {}
            for row in parted:
                sums = expected.setdefault(tuple(row[name] for name in columns), [0, 0])
                sums[0] += 1
                sums[1] += row["value_bytes"]
            found = sim.difference_by(a, b, *columns, at=T + horizon)
            assert {
                tuple(each[name] for name in columns): [each["rows"], each["value_bytes"]]
                for each in found.to_dict("records")
            } == expected
            assert found["value_bytes"].is_monotonic_decreasing

    for policy in (one, other):
        unsafe = [
            row
            for row in rows
            if row["task_state"] is not None
            and row["task_state"] not in FINISHED
            and policy.cleanup_every is not None
            and any(
                expiry(row, policy, mode, defaults, untold_by_default=True) < run
                for run in cleanups(policy, T, 2 * DAY)
            )
        ]
        listed = {natural(each): each["reason"] for each in sim.unsafe(policy).to_dict("records")}
        assert listed.keys() == set(map(natural, unsafe))
        for row in unsafe:
            expires = expiry(row, policy, mode, defaults, untold_by_default=True)
            takes = next(run for run in cleanups(policy, T, 2 * DAY) if expires < run)
            assert f"the cleanup of {T + (takes - us(T)) * TICK:%Y-%m-%d %H:%M:%S}" in listed[natural(row)]
        assert sim.summary.set_index("policy").loc[policy.name, "unsafe_rows"] == len(unsafe)
        for row in rows:
            if row["store"] == "task":
                _check_words(sim, policy, row, mode, defaults, horizon)


def _check_words(
    sim: Simulation, policy: Policy, row: dict[str, Any], mode: str, defaults: tuple[int, ...], horizon: timedelta
) -> None:
    place = {name: row[name] for name in ("dag_id", "run_id", "task_id", "map_index", "key")}
    lines = sim.explain(policy, **place).splitlines()
    assert how_written(row, defaults) in lines[0]
    rule = rule_of(row, policy)
    assert f"rules[{policy.rules.index(rule)}] takes the row" in lines[1] if rule else "takes the row (" not in lines[1]
    endings = []
    for reading in (False, True):
        expires = expiry(row, policy, mode, defaults, untold_by_default=reading)
        takes = next((run for run in cleanups(policy, T, horizon) if expires < run), None)
        if expires == CLEARED:
            endings.append("cleared already")
        elif expires == NEVER:
            endings.append("never expires")
        elif takes is None:
            endings.append("no cleanup until the horizon deletes it")
        else:
            endings.append(f"the cleanup of {T + (takes - us(T)) * TICK:%Y-%m-%d %H:%M:%S}")
    said = list(dict.fromkeys(endings)) if endings[0] == endings[1] else endings
    tail = lines[-len(said) :]
    assert all(words in line for words, line in zip(said, tail, strict=True)), (said, tail)


@pytest.mark.parametrize("by", ["dag_id", "task_id", "key"])
@pytest.mark.parametrize("top", [1, 2, 3, 20])
def test_groups_are_the_largest_then_the_others_then_assets(by: str, top: int) -> None:
    rows = [
        task_row(run_id=f"{number}", value_bytes=number + 1, expires_at=T + (number % 5) * DAY)
        | {by: "abcd"[number % 3 + (number == 20)]}
        for number in range(21)
    ]
    rows += [asset_row(value_bytes=1000, **({by: "b"} if by == "key" else {}))]
    sizes = {name: sum(row["value_bytes"] for row in rows if row[by] == name) for name in "abcd"}
    ranked = sorted(sizes, key=lambda name: -sizes[name])
    expected = [(name, by) for name in ranked[:top]]
    expected += [(None, "others")] if top < 4 else []
    expected += [(None, "asset rows")] if by != "key" else []
    frame = snapshot(rows).simulate(Policy(), "6d", future=False).over_time(by, top=top)
    groups = frame[[by, "group"]].iloc[: len(expected)]
    assert [(None if pd.isna(name) else name, kind) for name, kind in groups.itertuples(index=False)] == expected
    for record in frame.to_dict("records"):
        last = record["at"] - (DAY if record["moment"] == "before cleanup" else timedelta(0))
        alive = [row for row in rows if row["expires_at"] is None or row["expires_at"] >= last or last < T]
        if record["group"] == by:
            alive = [row for row in alive if row[by] == record[by]]
        elif record["group"] == "others":
            alive = [row for row in alive if row[by] in ranked[top:]]
        else:
            alive = [row for row in alive if row["store"] == "asset"]
        assert (record["known_rows"], record["known_bytes"]) == totals(alive), record


# --- laws 4, 5 and 6 ---------------------------------------------------------------------------------------------


@settings(max_examples=40 if ON_CI else 12)
@given(rows=many_rows(), policy=edge_policies(), mode=st.sampled_from(MODES), now=later_nows)
def test_kept_and_deleted_and_cleared_are_all(
    rows: list[dict[str, Any]], policy: Policy, mode: str, now: datetime
) -> None:
    taken = snapshot(rows)
    sim = taken.simulate(policy, "30d", mode, now=now, future=False)
    (line,) = sim.summary.to_dict("records")
    for name, whole in (("", len(rows)), ("_bytes", taken.value_bytes)):
        assert line[f"deleted_now{name}"] + line[f"kept_now{name}"] + line[f"cleared{name}"] == whole
        assert line[f"deleted_now{name}"] <= line[f"deleted_now{name}_high"] <= whole
    last = sim.over_time().iloc[-1]
    for gone, left, cleared, whole in (
        ("deleted", "known_rows", line["cleared"], len(rows)),
        ("deleted_bytes", "known_bytes", line["cleared_bytes"], taken.value_bytes),
    ):
        assert sim.cleanups[gone].sum() + last[left] + cleared == whole
        assert sim.cleanups[f"{gone}_high"].sum() + last[f"{left}_low"] + cleared == whole
    assert (line["end_rows"], line["end_bytes"]) == (last["known_rows"], last["known_bytes"])


@settings(max_examples=40 if ON_CI else 8)
@given(rows=many_rows(), now=instants(), every=st.sampled_from([DAY, 11 * HOUR, 15 * DAY, TICK * 7_000_001]))
def test_forward_is_the_preview_of_every_cleanup(rows: list[dict[str, Any]], now: datetime, every: timedelta) -> None:
    taken, now = snapshot(rows), max(now, T)
    horizon = min(3 * every, datetime.max.replace(tzinfo=UTC) - now)
    policy = Policy(name="p", default_retention_days=1, cleanup_every=every)
    if not horizon:
        return
    sim = taken.simulate([policy, KEEPING], horizon, now=now, future=False)
    table = sim.cleanups
    assert len(table) == horizon // every + 1
    for count, at in enumerate(table["at"]):
        preview = taken.preview(at.to_pydatetime())
        assert table["deleted"][: count + 1].sum() == preview.deleted
        assert table["deleted_bytes"][: count + 1].sum() == preview.deleted_bytes
        gone = sim.difference(KEEPING, policy, at=at.to_pydatetime())
        assert set(gone["key"]) == set(preview.rows()["key"])
    first, preview = sim.summary.iloc[0], taken.preview(now)
    assert (first["deleted_now"], first["kept_now"]) == (preview.deleted, preview.kept)
    assert (first["deleted_now_bytes"], first["kept_now_bytes"]) == (preview.deleted_bytes, preview.kept_bytes)


@settings(max_examples=40 if ON_CI else 8)
@given(rows=many_rows(), days=st.tuples(*[st.integers(1, 400)] * 2), mode=st.sampled_from(MODES), now=later_nows)
def test_longer_deletes_no_more_and_later_no_less(
    rows: list[dict[str, Any]], days: tuple[int, int], mode: str, now: datetime
) -> None:
    shorter, longer = (
        Policy(name=name, default_retention_days=each) for name, each in zip("sl", sorted(days), strict=True)
    )
    forever = Policy(name="0", default_retention_days=0)
    taken = snapshot(rows)
    sim = taken.simulate([shorter, longer, forever, KEEPING], "40d", mode, now=now, future=False, defaults=(30, 0))
    for short, long in ((shorter, longer), (longer, forever), (shorter, forever)):
        for at in (now, now + DAY - TICK, now + 40 * DAY):
            assert sim.difference(short, long, at=at).empty
        if mode == "forward":
            assert sim.difference(long, short).empty
    table = sim.cleanups.pivot(index="at", columns="policy", values="deleted").cumsum()
    assert (table["s"] >= table["l"]).all()
    later = taken.simulate([shorter, KEEPING], "1d", mode, now=now + 3 * HOUR, future=False, defaults=(30, 0))
    was, is_now = (
        set(map(natural, each.difference(KEEPING, "s", at=each.now).to_dict("records"))) for each in (sim, later)
    )
    assert was <= is_now


@pytest.mark.parametrize("mode", MODES)
def test_simulating_changes_nothing(mode: str) -> None:
    rows = all_kinds((0, 14, 30))
    asked, fresh = snapshot(rows), snapshot(rows)
    curve = fresh.retention_curve()
    for each in MODES:
        sim = asked.simulate(ALL_POLICIES, "3d", each, replicates=20)
        assert len(sim.over_time("key"))
        assert len(sim.difference(KEEPING, "short"))
        assert len(sim.unsafe("ruled"))
    assert asked.equals(fresh)
    pd.testing.assert_frame_equal(asked.retention_curve(), curve)
    again, first = (each.simulate(ALL_POLICIES, "3d", mode, replicates=20) for each in (asked, fresh))
    for policy in ALL_POLICIES:
        pd.testing.assert_frame_equal(again.difference(KEEPING, policy), first.difference(KEEPING, policy))
        pd.testing.assert_frame_equal(again.unsafe(policy), first.unsafe(policy))
    assert again.to_dict() == first.to_dict()


# --- law 7: equal to doing it ------------------------------------------------------------------------------------

SCOPES = [TaskScope("etl", "r1", "load"), TaskScope("etl", "r2", "load", 0), TaskScope("ml", "r1", "fit")]
ASSET = AssetScope(name="orders", uri="s3://lake/orders")
CHOICES = [None, None, timedelta(0), TICK, 36 * HOUR, 10 * DAY + HOUR, NEVER_EXPIRE]


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[datetime, TaskScope, str, str, Any]]:
    """Writes in their order; some in one instant, some over others."""
    at, script = T - 60 * DAY, []
    for _ in range(draw(st.integers(0, 10))):
        at += draw(st.sampled_from([timedelta(0), TICK, HOUR, DAY, 9 * DAY]))
        value = "x" * draw(st.sampled_from([0, 8, 30]))
        script.append(
            (at, draw(st.sampled_from(SCOPES)), draw(st.sampled_from("ab")), value, draw(st.sampled_from(CHOICES)))
        )
    return script


class Deed:
    """A store in memory, written and cleaned for real."""

    def __init__(self, layout: str, days: int, *, clear_on_success: bool = False, batch_size: int = 0) -> None:
        self.clock = ManualClock(T - 60 * DAY)
        self.config = StateStoreConfig(
            default_retention_days=days,
            clear_on_success=clear_on_success,
            state_cleanup_batch_size=batch_size,
            max_value_storage_bytes=0,
        )
        self.store = open_store(None, "memory", layout, clock=self.clock, config=self.config)  # type: ignore[arg-type]
        self.backend = self.store.backend
        self.door = connect(self.backend)
        for scope in SCOPES:
            self.store.add_dag_run(scope.dag_id, scope.run_id)
        self.store.add_asset(ASSET.name or "", ASSET.uri or "")
        AssetStoreAccessor(self.backend, ASSET, config=self.config).set("cursor", "2026")

    def write(self, at: datetime, scope: TaskScope, key: str, value: str, retention: Any) -> None:
        self.clock.set(at)
        accessor = TaskStoreAccessor(self.backend, scope, clock=self.clock, config=self.config)
        accessor.set(key, value, retention=retention)

    def snapshot(self, at: datetime) -> Snapshot:
        self.clock.set(at)
        return self.door.snapshot()

    def rows(self) -> dict[tuple[Any, ...], int]:
        frames = (
            self.door.tasks(values=False).assign(store="task"),
            self.door.assets(values=False).assign(store="asset"),
        )
        records = [
            {"dag_id": None, "run_id": None, "task_id": None, "map_index": None} | each
            for frame in frames
            for each in frame.to_dict("records")
        ]
        return {natural(each): each["value_bytes"] for each in records}

    def clean(self, at: datetime) -> set[tuple[Any, ...]]:
        """Clean up and return which rows went."""
        self.clock.set(at)
        before = self.rows()
        count = self.backend.cleanup()
        gone = before.keys() - self.rows().keys()
        assert len(gone) == count
        return gone

    def close(self) -> None:
        self.backend.close()


@settings(max_examples=50 if ON_CI else 12)
@given(script=scripts(), layout=st.sampled_from(["storekit", "airflow-3.3", "airflow-3.4"]), data=st.data())
def test_forward_is_what_cleanup_then_does(script: list[Any], layout: str, data: st.DataObject) -> None:
    deed = Deed(layout, data.draw(st.sampled_from([30, 1, 0])), batch_size=data.draw(st.sampled_from([0, 1, 3])))
    try:
        for write in script:
            deed.write(*write)
        start = script[-1][0] if script else T - 60 * DAY
        taken = deed.snapshot(start)
        # Cleanups that fall on the very microsecond of expiries, and beside it.
        ahead = sorted(each.to_pydatetime() for each in taken.tasks()["expires_at"].dropna().unique())
        ahead = [each for each in ahead if each >= start] or [start]
        now = data.draw(st.sampled_from([start, *ahead])) + data.draw(st.sampled_from([0, 1, -1])) * TICK
        now = max(now, start)
        steps = {one - now for one in ahead if one - now >= HOUR} | {DAY, 25 * HOUR}
        every = data.draw(st.sampled_from(sorted(steps)))
        horizon = every * data.draw(st.integers(1, 4)) + data.draw(st.sampled_from([timedelta(0), TICK]))
        policy = Policy(name="p", default_retention_days=7, cleanup_every=every)

        sim = taken.simulate([policy, KEEPING], horizon, now=now, future=False)
        assert instants_us(sim.cleanups) == cleanups(policy, now, horizon)
        sizes, gone = deed.rows(), set()
        for record in sim.cleanups.to_dict("records"):
            at = record["at"].to_pydatetime()
            died = deed.clean(at)
            gone |= died
            assert (record["deleted"], record["deleted_bytes"]) == (len(died), sum(sizes[each] for each in died))
            listed = sim.difference(KEEPING, policy, at=at).to_dict("records")
            assert {natural(each): each["value_bytes"] for each in listed} == {each: sizes[each] for each in gone}
            assert record["deleted_high"] == record["deleted"]
        left = deed.rows()
        assert left.keys() == sizes.keys() - gone
        last = sim.over_time().query("policy == 'p'").iloc[-1]
        assert (last["known_rows"], last["known_bytes"]) == (len(left), sum(left.values()))
    finally:
        deed.close()


_RULES: dict[Rule, Any] = {
    Rule(key="a", retention=20 * DAY): lambda scope, key, size, state: key == "a",
    Rule(dag_id="e*", task_id="re:l.*", retention=NEVER_EXPIRE): lambda scope, key, size, state: scope.dag_id == "etl",
    Rule(min_bytes=10, max_bytes=31, retention=timedelta(0)): lambda scope, key, size, state: 10 <= size <= 31,
    Rule(task_state="success", key="b", retention=2 * DAY): lambda scope, key, size, state: (
        state == "success" and key == "b"
    ),
    Rule(dag_id="ml", retention=AS_WRITTEN): lambda scope, key, size, state: scope.dag_id == "ml",
}


@settings(max_examples=50 if ON_CI else 12)
@given(
    script=scripts(),
    layout=st.sampled_from(["storekit", "storekit", "airflow-3.3"]),
    was=st.sampled_from([30, 1, 0]),
    days=st.sampled_from([None, 0, 1, 9, 14, 45]),
    rules=st.lists(st.sampled_from(list(_RULES)), max_size=2, unique=True),
    succeeded=st.sets(st.sampled_from(SCOPES)),
    clears=st.booleans(),
    edge=st.sampled_from([0, 0, 1, -1]),
)
@example(  # a rule that says nothing leaves the row to the default
    script=[(T - 60 * DAY, SCOPES[2], "a", "", None)],
    layout="storekit",
    was=30,
    days=1,
    rules=[Rule(dag_id="ml", retention=AS_WRITTEN)],
    succeeded=set(),
    clears=False,
    edge=1,
)
def test_as_if_is_writing_it_all_again_under_the_policy(
    script: list[Any],
    layout: str,
    was: int,
    days: int | None,
    rules: list[Rule],
    succeeded: set[TaskScope],
    clears: bool,
    edge: int,
) -> None:
    own = layout == "storekit"  # on Airflow's tables task instances are Airflow's to make
    states = {scope: "success" if scope in succeeded else "running" for scope in SCOPES} if own else {}
    policy = Policy(name="p", default_retention_days=days, rules=rules, clear_on_success=clears and own)
    recorded = Deed(layout, was)
    again = Deed(layout, was if days is None else days, clear_on_success=policy.clear_on_success)
    try:
        for deed in (recorded, again):
            for scope in SCOPES if own else ():
                deed.backend.add_task_instance(scope, state="running")
        last: dict[Any, Any] = {}
        for at, scope, key, value, retention in script:
            recorded.write(at, scope, key, value, retention)
            size = len(value) + 2
            taken_by = next((rule for rule in rules if _RULES[rule](scope, key, size, states.get(scope))), None)
            if taken_by is not None and taken_by.retention is not AS_WRITTEN:
                retention = taken_by.retention
            again.write(at, scope, key, value, retention)
            last[scope, key] = at
        for deed in (recorded, again):
            for scope in sorted(succeeded, key=str) if own else ():
                deed.backend.set_task_instance_state(scope, "success")
        start = script[-1][0] if script else T - 60 * DAY
        expiries = [each.to_pydatetime() for each in again.door.tasks(values=False)["expires_at"].dropna()]
        now = max([start, *(expiries[:1] if edge else [])]) + edge * TICK
        now = max(now, start)
        taken = recorded.snapshot(start)
        sim = taken.simulate([policy, KEEPING], "1d", "as-if", now=now, future=False, defaults=(was,))
        everything = recorded.rows()
        died = again.clean(now)
        left = again.rows()
        gone = sim.difference(KEEPING, policy, at=now)
        listed = {natural(each): each["certain"] for each in gone.to_dict("records")}
        certain = {row for row, sure in listed.items() if sure}
        truth = everything.keys() - left.keys()
        (line,) = sim.summary.query("policy == 'p'").to_dict("records")
        if own or was != 0:
            assert listed.keys() == certain == truth
            assert line["deleted_now"] == len(died)
            assert line["kept_now"] == len(left)
            assert line["kept_now_bytes"] == sum(left.values())
            assert line["cleared"] == len(truth) - len(died)
        else:  # without the flag, a default of 0 and NEVER_EXPIRE look alike: a range
            assert certain <= truth <= listed.keys()
            assert line["deleted_now"] <= len(died) <= line["deleted_now_high"]
            assert line["kept_now_bytes"] >= sum(left.values())
    finally:
        recorded.close()
        again.close()


# --- what users misread most -------------------------------------------------------------------------------------


def test_forward_from_30_to_14_days_deletes_nothing_today_and_says_so() -> None:
    rows = [
        task_row(run_id=f"r{age}", updated_at=T - age * DAY, expires_at=T + (30 - age) * DAY, never_expire=False)
        for age in range(30)
    ]
    sim = snapshot(rows).simulate([Policy(default_retention_days=30), Policy(default_retention_days=14)], "40d")
    assert list(sim.summary["deleted_now"]) == [0, 0]
    assert list(sim.cleanups.query("deleted > 0")["deleted"]) == [1] * 60
    assert sim.difference("30 days", "14 days").empty
    assert sim.difference("30 days", "14 days", at=T + 10 * DAY).empty
    said = " ".join(sim.assumptions)
    assert "rows that exist keep the expiry they were written with" in said
    assert "today's cleanup deletes nothing whichever policy is in force" in said
    assert "a shorter retention deletes nothing more today" in said
    assert "the first rows written under default_retention_days = 14 expire 14 days from now, on 2026-12-06" in said
    for shown in (str(sim), sim._repr_html_(), json.dumps(sim.to_dict())):
        assert "a shorter retention deletes nothing more today" in shown
    as_if = snapshot(rows).simulate([Policy(default_retention_days=14)], "1d", "as-if")
    assert list(as_if.summary["deleted_now"]) == [15]
    assert not any("nothing more today" in each for each in as_if.assumptions)
    assert "No change of configuration brings this about" in as_if.assumptions[0]


# --- edges -------------------------------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")
_MAX = datetime.max.replace(tzinfo=UTC)


def _autumn() -> list[dict[str, Any]]:
    """Writes every half hour by Berlin's clock through the night in which it is 02:30 twice."""
    rows = []
    for minutes in range(0, 300, 30):
        for fold in (0, 1):
            local = datetime(2026, 10, 25, minutes // 60, minutes % 60, tzinfo=BERLIN, fold=fold)
            if fold and local.utcoffset() == local.replace(fold=0).utcoffset():
                continue
            for days in (27, 30):
                end = local.astimezone(UTC) + days * DAY
                rows.append(task_row(run_id=f"{local:%H:%M} {fold} {days}", updated_at=local, expires_at=end))
    return rows


EDGES: dict[str, list[dict[str, Any]]] = {
    "empty": [],
    "one row": [task_row(expires_at=T + DAY, never_expire=False, task_state="running")],
    "all NULL, flagged or not": [
        task_row(run_id=f"{each}", never_expire=bool(each % 2), updated_at=T - each * DAY) for each in range(9)
    ],
    "all NULL, no flag": [task_row(run_id=f"{each}", updated_at=T - each * DAY) for each in range(9)],
    "only assets": [asset_row(asset_id=each, key=f"{each}") for each in range(3)],
    "a change of clocks": _autumn(),
    "before 1970 and year 9999": [
        task_row(run_id="1", updated_at=datetime(1, 1, 1, tzinfo=UTC), expires_at=datetime(1, 1, 31, tzinfo=UTC)),
        task_row(run_id="2", updated_at=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), expires_at=T - TICK),
        task_row(run_id="3", updated_at=T - DAY, expires_at=_MAX),
        task_row(run_id="4", updated_at=_MAX, expires_at=_MAX),
        task_row(run_id="5", updated_at=_MAX - 40 * DAY, never_expire=False),
    ],
    "a tebibyte": [
        task_row(run_id="1", value_bytes=2**40, expires_at=T + 29 * DAY, task_state="running"),
        task_row(run_id="2", value_bytes=0, expires_at=T + 29 * DAY, task_state="success"),
        asset_row(value_bytes=2**40),
    ],
    "kept for no time": [
        task_row(run_id="1", value_bytes=2**40, updated_at=T, expires_at=T),
        task_row(run_id="2", value_bytes=2**40, updated_at=T + TICK, expires_at=T + TICK),
    ],
    "expired when written, or written later than now": [
        task_row(run_id="1", value_bytes=2**40, updated_at=T, expires_at=T),
        task_row(run_id="2", value_bytes=2**40, updated_at=T - HOUR, expires_at=T - 400 * DAY),
        task_row(run_id="3", value_bytes=2**40, updated_at=T + TICK, expires_at=T + TICK),
        task_row(run_id="4", value_bytes=2**40, updated_at=T - TICK, expires_at=T),
    ],
}


def check_sound(sim: Simulation) -> None:
    """Fail where a number is none, a band is upside down, or the parts are not the whole."""
    whole = sim.over_time()
    for frame in (sim.summary, whole, sim.cleanups, sim.rates()):
        numbers = frame.select_dtypes("number")
        assert np.isfinite(numbers.to_numpy(float)).all(), frame
        assert (numbers.to_numpy(float) >= 0).all(), frame
    for name in ("rows", "bytes"):
        assert (whole[f"{name}_low"] <= whole[f"{name}_high"]).all()
        assert (whole[f"known_{name}_low"] <= whole[f"known_{name}"]).all()
        assert (whole[f"{name}_low"] >= whole[f"known_{name}_low"] - 1e-6).all()
        assert (sim.summary[f"end_{name}_low"] <= sim.summary[f"end_{name}_high"]).all()
    assert (sim.cleanups["future_deleted_low"] <= sim.cleanups["future_deleted_high"]).all()
    if sim.forecast is None:
        assert (whole["rows"] == whole["known_rows"]).all()
        assert (whole["bytes_low"] == whole["known_bytes_low"]).all()

    sums = ["known_rows", "known_rows_low", "known_bytes", "known_bytes_low", "rows", "bytes"]
    for by in ("dag_id", "task_id", "key"):
        for top in (1, 20):
            grouped = sim.over_time(by, top=top)
            parts = grouped.groupby(["policy", "at", "moment"], sort=False)[sums].sum()
            if grouped.empty:  # no rows, so no groups
                assert (whole[sums] == 0).all(axis=None)
                continue
            line = whole.set_index(["policy", "at", "moment"]).loc[parts.index]
            assert len(line) == len(parts) == len(whole)
            assert (parts[sums[:4]] == line[sums[:4]]).all(axis=None)
            assert np.allclose(parts[sums[4:]], line[sums[4:]], rtol=1e-9, atol=1e-6)
    for policy in sim.policies:
        assert sim.difference(policy, policy).empty
    told = json.loads(json.dumps(sim.to_dict(), allow_nan=False))
    assert [each["policy"] for each in told["summary"]] == [each.name for each in sim.policies]
    assert len(told["over_time"]) == len(whole)
    assert "NaN" not in str(sim)
    assert "nan" not in str(sim.summary.drop(columns="policy"))
    assert sim._repr_html_()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", EDGES)
def test_edge_stores_under_every_kind_of_policy(name: str, mode: str) -> None:
    rows = EDGES[name]
    taken = snapshot(rows)
    sim = taken.simulate(ALL_POLICIES, "3d", mode, replicates=20)
    check_sound(sim)
    exact = taken.simulate(ALL_POLICIES, "3d", mode, future=False)
    known = ["known_rows", "known_rows_low", "known_bytes", "known_bytes_low"]
    pd.testing.assert_frame_equal(sim.over_time()[known], exact.over_time()[known])
    deleted = ["deleted", "deleted_bytes", "deleted_high", "deleted_bytes_high"]
    pd.testing.assert_frame_equal(sim.cleanups[deleted], exact.cleanups[deleted])
    assert exact.rates().empty


@settings(max_examples=25 if ON_CI else 4)
@given(rows=many_rows(), policy=edge_policies(), mode=st.sampled_from(MODES), now=later_nows)
def test_forecasts_are_sound_on_any_store(rows: list[dict[str, Any]], policy: Policy, mode: str, now: datetime) -> None:
    check_sound(snapshot(rows).simulate([policy, KEEPING], "2d", mode, now=now, replicates=20))


def test_a_change_of_clocks_is_none_in_utc() -> None:
    rows = _autumn()
    assert len(rows) == 24
    # The cleanup is at 02:30 by Berlin's clock, of the second time, 27 days on: the first 02:30 had expired.
    now = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN).astimezone(UTC) + 27 * DAY
    taken = snapshot(rows, taken_at=now)
    gone = taken.simulate([Policy(), KEEPING], "1d", future=False).difference(KEEPING, "as written", at=now)
    dead = {"00:00 0", "00:30 0", "01:00 0", "01:30 0", "02:00 0", "02:30 0", "02:00 1"}
    assert set(gone["run_id"]) == {f"{each} 27" for each in dead}
    curve = taken.retention_curve([26, 27, 28], defaults=(27, 30))
    assert list(curve["deleted"]) == [24, 14, 0]
    zoned = taken.simulate([Policy(), KEEPING], "1d", now=now.astimezone(BERLIN), future=False)
    pd.testing.assert_frame_equal(
        zoned.over_time(), taken.simulate([Policy(), KEEPING], "1d", future=False).over_time()
    )


_ELSEWHERE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from frames.test_simulation import told_in_this_zone
print(json.dumps(told_in_this_zone()))
"""


def told_in_this_zone() -> list[Any]:
    taken = snapshot(_autumn(), taken_at=datetime(2026, 11, 21, 1, 30, tzinfo=UTC))
    sim = taken.simulate(ALL_POLICIES, "4d", "as-if", replicates=20)
    days = taken.retention_curve([26, 27, 28], defaults=(27, 30)).to_dict("list")
    words = sim.explain("ruled", dag_id="etl", task_id="load", key="k", run_id="02:30 1 27")
    rows = [natural(each) for each in sim.difference(KEEPING, "short").to_dict("records")]
    return json.loads(json.dumps([sim.to_dict(), days, words, rows, str(sim)]))  # type: ignore[no-any-return]


@pytest.mark.skipif(sys.platform == "win32", reason="no TZ there")
def test_the_processs_own_zone_changes_nothing() -> None:
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "TZ": "Europe/Berlin", "PYTHONPATH": str(tests)}
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, str(tests)], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == told_in_this_zone()


def test_what_ends_after_the_year_9999_never_does() -> None:
    rows = [task_row(updated_at=T - DAY, expires_at=T + 29 * DAY), task_row(run_id="o", expires_at=T + 29 * DAY)]
    most = (_MAX - (T - DAY)).days
    far = [Policy(name=f"{days}", default_retention_days=days) for days in (most, most + 1, timedelta.max.days)]
    sim = snapshot(rows).simulate([*far, Policy(default_retention_days=1)], "3d", "as-if", defaults=30)
    for policy in far:
        gone = sim.difference(policy, "1 day", at=T + 3 * DAY)
        assert len(gone) == 2
        assert str(gone)
        place = {"dag_id": "etl", "task_id": "load", "key": "k", "run_id": "o"}
        never = policy is not far[0]
        assert (gone["expires_under_a"].isna() == never).all()
        assert ("never expires" in sim.explain(policy, **place)) == never
    late = snapshot([], taken_at=_MAX - DAY)
    with pytest.raises(QueryError, match="year 9999"):
        late.simulate(Policy(), DAY + TICK)
    assert len(late.simulate(Policy(), DAY).cleanups) == 2


# --- batches, and a policy that never cleans up ------------------------------------------------------------------


@pytest.mark.parametrize(("size", "batches"), [(0, 1), (1, 7), (2, 4), (3, 3), (7, 1), (8, 1)])
def test_batches_are_the_rows_over_the_size_rounded_up(size: int, batches: int) -> None:
    rows = [task_row(run_id=f"{each}", expires_at=T - TICK) for each in range(7)]
    sim = snapshot(rows).simulate(Policy(batch_size=size), "2d", future=False)
    assert list(sim.cleanups["batches"]) == [batches, 1, 1]
    assert sim.summary["batches"][0] == batches + 2
    assert sim.summary["largest_cleanup_rows"][0] == 7


def test_without_cleanup_nothing_goes_and_nothing_is_unsafe() -> None:
    rows = [task_row(run_id=f"{each}", expires_at=T - each * DAY, task_state="running") for each in range(4)]
    sim = snapshot(rows).simulate([KEEPING, Policy(default_retention_days=1)], "5d", retry_wait="3d")
    assert sim.cleanups.query("policy == 'keeps all'").empty
    line = sim.over_time().query("policy == 'keeps all'")
    assert set(line["moment"]) == {"no cleanup"}
    assert (line["known_rows"] == 4).all()
    assert line["rows"].is_monotonic_increasing
    assert list(sim.summary["unsafe_rows"]) == [0, 4]
    assert sim.summary["unsafe_writes_per_day"][0] == 0 < sim.summary["unsafe_writes_per_day"][1]
    assert sim.unsafe(KEEPING).empty
    assert any("keeps all: cleanup never runs" in each for each in sim.assumptions)


def test_what_cannot_be_is_refused() -> None:
    taken = snapshot([task_row()])
    two = [Policy(name="x"), Policy(name="x", default_retention_days=1)]
    mistakes: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((two,), {}),
        (([],), {}),
        ((["14d"],), {}),
        ((Policy(), "0d"), {}),
        ((Policy(), "a while"), {}),
        ((Policy(), "1d", "backward"), {}),
        ((Policy(),), {"now": T - TICK}),
        ((Policy(),), {"now": "2026-11-23"}),
        ((Policy(),), {"history": [taken]}),
        ((Policy(),), {"history": [snapshot([], taken_at=T - DAY, database="sqlite:///other.db")]}),
        ((Policy(),), {"retry_wait": "-1d"}),
        ((Policy(cleanup_every="1s"), "90d"), {}),
        ((Policy(),), {"defaults": 2.5}),
        ((None,), {}),
        ((14,), {}),
        (("14 days",), {}),
        ((Policy(),), {"history": snapshot([], taken_at=T - DAY)}),
        ((Policy(),), {"history": ["monday/"], "future": False}),
        ((Policy(),), {"history": None}),
        *(((Policy(),), {"skew": each}) for each in (60, None, "soon", "12h", -TICK)),
        *(((Policy(),), {"seed": each}) for each in ("x", 1.5, None, True, -1)),
        *(((Policy(),), {"level": each}) for each in ("a", None, True, 1, math.nan)),
        *(((Policy(),), {"replicates": each}) for each in ("x", 40.0, 1)),
    ]
    for places, named in mistakes:
        with pytest.raises(QueryError):
            taken.simulate(*places, **named)
    sim = taken.simulate([Policy(name="x"), Policy(name="y")], "2d", future=False)
    for wrong in (
        lambda: sim.difference("x", "z"),
        lambda: sim.difference("x", Policy(name="y", default_retention_days=3)),
        lambda: sim.difference("x", "y", at=T - TICK),
        lambda: sim.difference("x", "y", at=T + 2 * DAY + TICK),
        lambda: sim.difference_by("x", "y", "run_id"),
        lambda: sim.over_time("run_id"),
        lambda: sim.over_time("key", top=0),
        lambda: sim.over_time("key", top=201),
        lambda: sim.explain("x", dag_id="\ud800", task_id="load", key="k"),
        lambda: sim.explain("x", dag_id="etl", task_id=3, key="k"),  # type: ignore[arg-type]
        lambda: sim.explain("x", dag_id="etl", task_id="load", key="k", map_index="x"),  # type: ignore[arg-type]
        lambda: sim.explain("x", dag_id="etl", task_id="load", key="no such key"),
    ):
        with pytest.raises(QueryError):
            wrong()


def test_without_an_instant_policies_are_compared_where_they_differ() -> None:
    rows = [
        task_row(run_id=f"{age}", updated_at=T - age * DAY, expires_at=T + (30 - age) * DAY, never_expire=False)
        for age in (1, 20)
    ]
    policies = [Policy(), Policy(default_retention_days=14)]
    as_if, forward = (snapshot(rows).simulate(policies, "90d", mode, defaults=[30]) for mode in ("as-if", "forward"))
    assert list(as_if.difference("as written", "14 days")["run_id"]) == ["20"]
    assert as_if.difference_by("as written", "14 days")["rows"][0] == 1
    assert as_if.difference("as written", "14 days", at=T + 90 * DAY).empty  # by then all that exists is gone
    assert (as_if.compared_at, forward.compared_at) == (T, T + 90 * DAY)


def test_the_peak_and_the_largest_cleanup_have_a_high_end() -> None:
    rows = [
        task_row(run_id=f"{age}", updated_at=T - age * DAY, expires_at=T + (30 - age) * DAY, never_expire=None)
        for age in range(1, 29)
    ]
    rows += [task_row(run_id=f"n{each}", updated_at=T - 20 * DAY, never_expire=None) for each in range(5)]
    sim = snapshot(rows).simulate(Policy(default_retention_days=14), "30d", "as-if", now=T + TICK)
    (line,) = sim.summary.to_dict("records")
    for name in ("rows", "bytes"):
        assert line[f"peak_{name}"] <= line[f"peak_{name}_high"] >= line[f"end_{name}_high"]
    assert line["largest_cleanup_rows_high"] >= line["largest_cleanup_rows"] + 5
    head, (cells,) = summary_cells(sim)
    peak, largest = (cells[head.index(name)] for name in ("peak", "largest"))
    high = human_bytes(round(line["peak_bytes_high"]))
    assert peak == f"{human_bytes(round(line['peak_bytes']))} on {line['peak_at']:%Y-%m-%d}, at most {high}"
    assert set(dict(summary_legend(sim))) <= set(head)
    assert largest == f"{line['largest_cleanup_rows']} … {line['largest_cleanup_rows_high']} rows"
    exact = snapshot(rows).simulate(Policy(default_retention_days=14), "30d", future=False).summary
    assert exact["peak_bytes"][0] == exact["peak_bytes_high"][0]


def test_an_unsafe_row_says_which_cleanup_takes_it() -> None:
    rows = [
        task_row(run_id=name, expires_at=at, task_state="running")
        for name, at in (
            ("gone", T - TICK),
            ("at a cleanup", T),
            ("later", T + DAY + TICK),
            ("after the wait", T + 3 * DAY),
        )
    ]
    sim = snapshot(rows).simulate(Policy(), "1d", retry_wait="3d", future=False)  # the wait is longer than the horizon
    reasons = sim.unsafe("as written").set_index("run_id")["reason"].to_dict()
    assert reasons.keys() == {"gone", "at a cleanup", "later"}
    for name, days, verb in (("gone", 0, "expired"), ("at a cleanup", 1, "expires"), ("later", 2, "expires")):
        assert reasons[name].startswith(verb)
        assert f"the cleanup of {T + days * DAY:%Y-%m-%d %H:%M:%S} UTC deletes it" in reasons[name]


def test_json_says_how_the_forecast_was_made() -> None:
    taken = snapshot([task_row(updated_at=T - DAY, expires_at=T + 29 * DAY)])
    told = taken.simulate(Policy(), "5d", retry_wait="2h", seed=np.int64(7), level=0.5, replicates=20).to_dict()
    told = json.loads(json.dumps(told))
    assert told["retry_wait_us"] == 7_200_000_000
    made = told["forecast"]
    assert (made["seed"], made["level"], made["replicates"], made["days"]) == (7, 0.5, 20, 5)
    assert {each["growth"] for each in made["models"]} == {"constant"}
    assert made["doubts"]
    assert taken.simulate(Policy(), "5d", future=False).to_dict()["forecast"] is None


def test_other_ways_to_give_what_a_simulation_takes() -> None:
    taken = snapshot([task_row(updated_at=T - DAY, expires_at=T + 29 * DAY + 90 * TICK * 1_000_000)])
    assert list(taken.written(skew="2min", defaults=[30])["written"]) == ["default"]
    assert list(taken.written(skew="1min", defaults=[30])["written"]) == ["explicit"]
    sim = taken.simulate((each for each in [Policy(), KEEPING]), "1d", skew="2min", defaults=[30], future=False)
    assert list(sim.written["written"]) == ["default"]
    assert len(sim.policies) == 2


def test_another_store_of_the_same_name_is_told_apart_by_its_id() -> None:
    here, there = (snapshot([], taken_at=at, database_id=each * 64) for at, each in ((T, "a"), (T - DAY, "b")))
    with pytest.raises(QueryError, match=r"\(bbbbbbbbbbbb\), not of .*\(aaaaaaaaaaaa\)"):
        here.simulate(Policy(), history=[there])


def test_defaults_that_can_be_read_once_are_read_once() -> None:
    rows = [task_row(run_id=f"{each}", updated_at=T - DAY, expires_at=T + 6 * DAY) for each in range(3)]
    sim = snapshot(rows).simulate([Policy(default_retention_days=2), KEEPING], "3d", "as-if", defaults=iter([7]))
    assert list(sim.written["written"]) == ["default"]
    assert len(sim.difference(KEEPING, "2 days", at=T + 3 * DAY)) == 3


# --- law 8: what is to come --------------------------------------------------------------------------------------

RATE, KEPT_DAYS = 40, 10


def steady(days: int = KEPT_DAYS) -> Snapshot:
    """A store that is written evenly, by the default, and cleaned daily, just after a cleanup."""
    step = DAY / RATE
    return snapshot(
        task_row(
            run_id=f"{number}",
            dag_id="etl" if number % 2 else "ml",
            value_bytes=100,
            updated_at=T - number * step,
            expires_at=T - number * step + days * DAY,
            never_expire=False,
        )
        for number in range(RATE * days)
    )


def of_policy(frame: pd.DataFrame, name: str, moment: str = "after cleanup") -> pd.DataFrame:
    return frame[(frame["policy"] == name) & (frame["moment"] == moment)].reset_index(drop=True)


def test_littles_law_in_the_steady_state() -> None:
    same = Policy(name="same", default_retention_days=KEPT_DAYS)
    sim = steady().simulate(same, "30d")
    level = RATE * KEPT_DAYS
    line = of_policy(sim.over_time(), "same")
    assert len(line) == 31
    assert ((line["rows_low"] <= level) & (level <= line["rows_high"])).all()
    assert np.allclose(line["rows"], level, rtol=0.05)
    assert np.allclose(line["bytes"], level * 100, rtol=0.05)
    # A band that is worth something.
    assert (line["rows_high"] - line["rows_low"]).max() < level * 0.6
    before = of_policy(sim.over_time(), "same", "before cleanup")[1:]
    assert np.allclose(before["rows"], RATE * (KEPT_DAYS + 1), rtol=0.05)
    rates = sim.rates()
    assert math.isclose(rates["rows_per_day"].sum(), RATE, rel_tol=0.05)
    assert math.isclose(rates["bytes_per_day"].sum(), RATE * 100, rel_tol=0.05)


@pytest.mark.parametrize("age", [timedelta(days=1, hours=23), 3 * 366 * DAY])
def test_rates_are_of_the_days_that_are_counted(age: timedelta) -> None:
    """Neither the part of a day with which a store begins, nor years ago, count for the days that are looked at."""
    count = 4 * (age // timedelta(days=1)) + 4
    rows = [
        task_row(run_id=f"{each}", updated_at=T - age * each / (count - 1), never_expire=True) for each in range(count)
    ]
    sim = snapshot(rows).simulate(Policy(), "1d")
    (rate,) = sim.rates()["rows_per_day"]
    assert math.isclose(rate, count / (age / DAY), rel_tol=0.3)
    assert sim.setting.flow is not None
    assert sim.setting.flow.history.counts[:, 0].mean() == pytest.approx(rate, rel=0.3)


def test_a_row_that_cleanup_would_have_taken_proves_that_none_ran() -> None:
    def days_seen(*more: dict[str, Any]) -> float:
        rows = [
            task_row(run_id=f"{hours}", updated_at=T - hours * HOUR, expires_at=T - hours * HOUR + 3 * DAY)
            for hours in range(1, 71)
        ]
        # Not of the default: so old that all days are looked at.
        rows.append(task_row(run_id="old", updated_at=T - 30 * DAY, expires_at=T + 30 * DAY))
        flow = snapshot([*rows, *more]).simulate(Policy(), "1d", replicates=20).setting.flow
        assert flow is not None
        return float(flow.windows.min())

    assert days_seen() == 3
    assert days_seen(task_row(run_id="x", updated_at=T - 5 * DAY, expires_at=T - 2 * DAY)) == 5
    # Expired long before it was written: of the time before its write it proves nothing.
    assert days_seen(task_row(run_id="x", updated_at=T - DAY / 2, expires_at=T - 400 * DAY)) < 3


def test_half_the_retention_halves_the_level_once_the_old_rows_are_gone() -> None:
    half = Policy(name="half", default_retention_days=KEPT_DAYS // 2)
    same = Policy(name="same", default_retention_days=KEPT_DAYS)
    sim = steady().simulate([same, half], "40d")
    line, other = (of_policy(sim.over_time(), name) for name in ("half", "same"))
    level = RATE * KEPT_DAYS
    # Rows that exist keep their expiry: nothing changes until the first new ones expire, at now + the new retention.
    first = int(np.flatnonzero(line["rows"] < other["rows"] - 1e-6)[0])
    assert line["at"][first] == pd.Timestamp(T + (KEPT_DAYS // 2 + 1) * DAY)
    assert np.allclose(line["rows"][:first], other["rows"][:first])
    assert np.allclose(line["rows"][KEPT_DAYS:], level / 2, rtol=0.05)
    assert line["rows_low"].iloc[-1] <= level / 2 <= line["rows_high"].iloc[-1]
    assert line["rows"][first:KEPT_DAYS].is_monotonic_decreasing
    fast = half.model_copy(update={"name": "fast", "cleanup_every": timedelta(hours=1)})
    hourly = steady().simulate(fast, "6d")
    deleted = hourly.cleanups[hourly.cleanups["future_deleted"] > 1e-6]
    assert deleted["at"].iloc[0] == pd.Timestamp(T + (KEPT_DAYS // 2) * DAY + HOUR)


def test_what_is_written_is_alive_or_deleted() -> None:
    policies = [
        Policy(name="p", default_retention_days=2, rules=[Rule(dag_id="ml", retention="30h")]),
        Policy(name="q", default_retention_days=0, cleanup_every="7h"),
        KEEPING,
    ]
    for now in (T, T + 30 * HOUR):
        sim = steady().simulate(policies, "20d", now=now)
        forecast = sim.forecast
        assert forecast is not None
        flow = sim.setting.flow
        assert flow is not None
        whole_days, part = divmod(now + 20 * DAY - T, DAY)
        paths = forecast.paths[:, :, : flow.kinds].sum(axis=2).mean(axis=0)
        written = paths[:whole_days].sum() + (paths[whole_days] * (part / DAY) if part else 0)
        for name in ("p", "q", "keeps all"):
            whole, cleanups_of = sim.over_time(), sim.cleanups
            last = whole[whole["policy"] == name].iloc[-1]
            deleted = cleanups_of[cleanups_of["policy"] == name]["future_deleted"].sum()
            assert math.isclose(last["rows"] - last["known_rows"] + deleted, written, rel_tol=1e-6)
        assert sim.summary["end_rows"][2] > sim.summary["end_rows"][0]


def test_older_snapshots_show_days_that_are_gone_from_this_one() -> None:
    shifted = snapshot(
        [
            task_row(
                run_id=f"{age} {number}",
                updated_at=T - age * DAY - number * HOUR,
                expires_at=T - age * DAY - number * HOUR + 3 * DAY,
                never_expire=False,
            )
            for age in range(3)
            for number in range(24)
        ]
    )
    before = snapshot(
        [
            task_row(
                run_id=f"{age} {number}",
                updated_at=T - age * DAY - number * HOUR,
                expires_at=T - age * DAY - number * HOUR + 3 * DAY,
                never_expire=False,
            )
            for age in range(3, 6)
            for number in range(24)
        ],
        taken_at=T - 3 * DAY,
    )
    policy = Policy(default_retention_days=3)
    alone, helped = shifted.simulate(policy, "5d"), shifted.simulate(policy, "5d", history=[before])
    seen = []
    for sim in (alone, helped):
        flow = sim.setting.flow
        assert flow is not None
        seen.append(int(flow.history.seen[:, 0].sum()))
        assert np.allclose(flow.history.counts[flow.history.seen[:, 0], 0], 24, atol=1)
    assert seen[1] == seen[0] + 3
    pd.testing.assert_frame_equal(alone.cleanups[["at", "deleted"]], helped.cleanups[["at", "deleted"]])


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, other, third = (steady().simulate(Policy(), "9d", seed=seed, replicates=40).over_time() for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(one, other)
    assert not one.equals(third)
