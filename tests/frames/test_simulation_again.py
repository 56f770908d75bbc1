"""Whatever was asked before, a simulation says what it says of a snapshot that was never asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import DAY, KEEPING, all_kinds, edge_policies, edge_rows
from contract_rows import TICK, T, asset_row, snapshot, task_row
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import ON_CI, on_ci_only

from storekit.errors import QueryError
from storekit.frames.snapshot import Snapshot
from storekit.retention.held import Held
from storekit.retention.policy import AS_WRITTEN, Policy, Rule
from storekit.state import NEVER_EXPIRE

Asked = dict[str, Any]


def everything(snap: Snapshot, history: list[Snapshot], asked: Asked) -> dict[str, Any]:
    """Ask a simulation all that it can be asked."""
    given = {**asked, "history": [history[each] for each in asked["history"]]}
    try:
        sim = snap.simulate(**given)
    except QueryError as error:
        return {"refused": str(error)}
    first, last = sim.policies[0], sim.policies[-1]
    said: dict[str, Any] = {
        "over_time": sim.over_time(),
        "over_time by": sim.over_time("key", top=2),
        "summary": sim.summary,
        "cleanups": sim.cleanups,
        "rates": sim.rates(),
        "written": sim.written,
        "text": repr(sim),
        "html": sim._repr_html_(),
        "dict": sim.to_dict(),
        "assumptions": sim.assumptions,
        "compared_at": sim.compared_at,
        "forecast": None if sim.forecast is None else sim.forecast.paths,
    }
    for policy in sim.policies:
        said[f"unsafe {policy.name}"] = sim.unsafe(policy)
        said[f"gone {policy.name}"] = sim.gone(policy)
        said[f"gone by {policy.name}"] = sim.gone_by(policy, "dag_id", "key")
    for a, b in ((first, last), (last, first)):
        for at in (sim.now, sim.now + sim.horizon):
            said[f"difference {a.name} {b.name} {at}"] = sim.difference(a, b, at=at)
            said[f"page {a.name} {b.name} {at}"] = sim.difference(a, b, at=at, limit=2, offset=1)
            said[f"by {a.name} {b.name} {at}"] = sim.difference_by(a, b, "task_id", at=at)
    return said


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, other[name], check_exact=True, obj=name)
        elif isinstance(value, np.ndarray):
            assert np.array_equal(value, other[name]), name
        else:
            assert value == other[name], name


# One of each for most calls, so that a call differs from an earlier one in little, as a slider's does.
selections = st.sampled_from([{}, {}, {}, {"dag_id": "etl"}, {"key": "a"}, {"dag_id": "ml", "task_id": "fit"}])
calls = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["forward", "as-if"]),
        "horizon": st.sampled_from([9 * DAY, 9 * DAY, 2 * DAY]),
        "now": st.sampled_from([T, T, T + DAY]),
        "future": st.sampled_from([True, True, False]),
        "history": st.sampled_from([[], [], [0], [1], [0, 1]]),
        "retry_wait": st.sampled_from(["1d", "1d", "5d"]),
        "defaults": st.sampled_from([None, None, (30,), (0, 30), [14]]),
        "skew": st.sampled_from(["1min", "1min", "0s"]),
        "seed": st.sampled_from([0, 0, 1]),
        "level": st.sampled_from([0.9, 0.9, 0.5]),
        "replicates": st.sampled_from([20, 20, 21]),
    }
)


@st.composite
def sequences(draw: st.DrawFn) -> list[Asked]:
    """Calls whose policies share rules, clearing and schedules, and differ in a default; or not at all."""
    drawn = draw(st.lists(edge_policies(), min_size=1, max_size=3))
    asked = []
    for _ in range(draw(st.integers(2, 5))):
        policies = []
        for number in range(draw(st.integers(1, 3))):
            policy = draw(st.sampled_from(drawn))
            days = draw(st.sampled_from([policy.default_retention_days, None, 0, 1, 14, 30, 4_000_000]))
            policies.append(policy.model_copy(update={"name": f"p{number}", "default_retention_days": days}))
        asked.append({"policies": policies, **draw(calls), **draw(selections)})
    return asked


def stores(rows: list[dict[str, Any]]) -> tuple[Snapshot, list[Snapshot]]:
    """A snapshot, and two older ones of the same store."""
    older = [
        snapshot([row for row in rows[part::2] if row["updated_at"] <= T - age * DAY], taken_at=T - age * DAY)
        for part, age in ((0, 3), (1, 9))
    ]
    return snapshot(rows), older


def alone(rows: list[dict[str, Any]], asked: Asked) -> dict[str, Any]:
    """Ask stores of which nothing was asked before."""
    fresh, older = stores(rows)
    return everything(fresh, older, asked)


@settings(max_examples=15 if ON_CI else 3)
@given(rows=edge_rows((30, 14)), asked=sequences())
def test_what_was_asked_before_changes_no_answer(rows: list[dict[str, Any]], asked: list[Asked]) -> None:
    warm, older = stores(rows)
    for each in asked:
        same(everything(warm, older, each), alone(rows, each))
    # And the first one again, after all of the others.
    same(everything(warm, older, asked[0]), alone(rows, asked[0]))


POLICIES = [
    Policy(name="p", default_retention_days=14),
    Policy(name="p", default_retention_days=15),
    Policy(name="p", default_retention_days=0),
    Policy(name="p"),
    Policy(name="p", default_retention_days=14, cleanup_every="7h"),
    Policy(name="p", default_retention_days=14, cleanup_every=None),
    Policy(name="p", default_retention_days=14, clear_on_success=True),
    Policy(name="p", default_retention_days=4_000_000),
    *(
        Policy(name="p", default_retention_days=14, rules=[Rule(key="a", retention=retention)])
        for retention in (timedelta(0), 3 * DAY, NEVER_EXPIRE, AS_WRITTEN)
    ),
    Policy(name="p", default_retention_days=14, rules=[Rule(dag_id="etl", retention="3d"), Rule(retention="9d")]),
    Policy(name="p", default_retention_days=14, rules=[Rule(key="a", retention="3d")], clear_on_success=True),
    Policy(name="p", default_retention_days=14, batch_size=2),
]


@pytest.mark.parametrize(
    ("flag", "mode"),
    [
        (None, "forward"),
        (True, "as-if"),
        pytest.param(None, "as-if", marks=on_ci_only("mode and flag are told apart by the other two")),
        pytest.param(True, "forward", marks=on_ci_only("mode and flag are told apart by the other two")),
    ],
)
def test_each_policy_after_all_others_on_every_kind_of_row(mode: str, flag: bool | None) -> None:
    rows = [row | {"never_expire": flag if row["never_expire"] else None} for row in all_kinds((0, 14))[::3]]
    warm, asked = snapshot(rows), {"horizon": 5 * DAY, "mode": mode, "history": [], "replicates": 20}
    for policy in [*POLICIES, POLICIES[0]]:
        same(
            everything(warm, [], {"policies": [KEEPING, policy], **asked}),
            everything(snapshot(rows), [], {"policies": [KEEPING, policy], **asked}),
        )


FIRST: dict[str, dict[str, Any]] = {}
"""What the tests below ask first, each of the same rows: it is worked out once."""


@pytest.mark.parametrize(
    "changed",
    [
        {"mode": "forward"},
        {"horizon": 9 * DAY},
        {"now": T + DAY},
        {"future": False},
        {"history": [0]},
        {"retry_wait": "5d"},
        {"defaults": (30,)},
        {"skew": "0s"},
        {"dag_id": "etl"},
        {"task_id": "fit"},
        {"key": "a"},
        {"key": "b"},
        {"seed": 1},
        {"level": 0.5},
        {"replicates": 21},
    ],
    ids=repr,
)
def test_each_argument_alone_makes_another_answer(changed: Asked) -> None:
    rows = all_kinds((0, 14))[::3]
    base: Asked = {"policies": [POLICIES[0], KEEPING], "horizon": 3 * DAY, "mode": "as-if", "history": []}
    base |= {"key": "a", "replicates": 20} if changed == {"key": "b"} else {"replicates": 20}
    warm, older = stores(rows)
    if repr(base) not in FIRST:
        FIRST[repr(base)] = alone(rows, base)
    first = FIRST[repr(base)]
    for asked, fresh in ((base, first), (base | changed, alone(rows, base | changed)), (base, first)):
        same(everything(warm, older, asked), fresh)


@pytest.mark.parametrize("rows", [[], [asset_row()], [task_row(updated_at=T + DAY)]])
def test_little_or_nothing_again_and_again(rows: list[dict[str, Any]]) -> None:
    warm = snapshot(rows)
    for policy in POLICIES[::3]:
        for mode in ("forward", "as-if"):
            asked = {"policies": [policy, KEEPING], "horizon": DAY, "mode": mode, "history": [], "replicates": 20}
            same(everything(warm, [], asked), everything(snapshot(rows), [], asked))


def test_answers_that_a_caller_changes_are_its_own() -> None:
    rows = all_kinds((30,))
    taken = snapshot(rows)

    def ask() -> list[pd.DataFrame]:
        sim = taken.simulate(POLICIES[0], "3d", "as-if", replicates=20)
        return [sim.over_time(), sim.summary, sim.cleanups, sim.gone("p")]

    first = ask()
    kept = [each.copy(deep=True) for each in first]
    for frame in first:
        numbers = frame.select_dtypes("number").columns
        frame[numbers] = 0
        frame.to_numpy()[:] = None
    for again, before in zip(ask(), kept, strict=True):
        pd.testing.assert_frame_equal(again, before)


def test_a_default_that_is_no_number_is_refused_though_an_equal_one_is_known() -> None:
    taken = snapshot(all_kinds((1,)))
    taken.simulate(POLICIES[0], "3d", future=False, defaults=[1])
    with pytest.raises(QueryError, match="True"):
        taken.simulate(POLICIES[0], "3d", future=False, defaults=[True])


def test_older_snapshots_are_told_apart_by_what_they_are() -> None:
    rows = [
        task_row(run_id=f"{number}", updated_at=T - number * timedelta(hours=5), expires_at=T + DAY, never_expire=False)
        for number in range(200)
    ]
    warm = snapshot(rows)
    for count in (10, 60, 150, 60):
        # Each is gone before the next is made, and may stand where it stood.
        older = [snapshot(rows[-count:], taken_at=T - 5 * DAY)]
        said = everything(warm, older, {"policies": POLICIES[0], "horizon": "3d", "history": [0], "replicates": 20})
        fresh = everything(
            snapshot(rows), older, {"policies": POLICIES[0], "horizon": "3d", "history": [0], "replicates": 20}
        )
        same(said, fresh)
        del older


def test_what_is_held_is_bounded() -> None:
    taken = snapshot(all_kinds((30,)))
    for days in range(1, 12):
        policies = [Policy(default_retention_days=days, rules=[Rule(key="a", retention=timedelta(days=days))])]
        taken.simulate(policies, DAY * (days % 7 + 1), "as-if", key="ab"[days % 2], replicates=20).summary  # noqa: B018
        taken.simulate(policies, "3d", "as-if", dag_id=f"{days}", replicates=20).summary  # noqa: B018
    retained = taken._retained
    stages = retained.stages
    assert (len(stages._stages), len(stages._flows), len(stages._outlooks)) == (4, 2, 2)
    assert (len(retained._selections), len(retained._readings)) == (3, 1)
    known = retained.understood(None, "1min")
    for days in range(1, 25):
        sim = taken.simulate(Policy(rules=[Rule(key="a", retention=timedelta(days=days))]), "3d", "as-if", future=False)
        sim.summary  # noqa: B018
    assert len(known.grounds._fixed) == 4
    assert len(sim._stage.runs) == 16


def test_the_longest_unused_is_forgotten_first() -> None:
    held: Held[int] = Held(2)
    made = []

    def ask(key: int) -> int:
        return held.get(key, lambda: made.append(key) or key * 10)  # type: ignore[func-returns-value]

    assert [ask(each) for each in (1, 2, 1, 3, 1, 2)] == [10, 20, 10, 30, 10, 20]
    assert made == [1, 2, 3, 2]
    with pytest.raises(ZeroDivisionError):
        held.get(0, lambda: 1 // 0)
    assert len(held) == 2


def test_the_very_microsecond_of_another_default() -> None:
    rows = [
        task_row(run_id=f"{by}", updated_at=T - 7 * DAY + by * TICK, expires_at=T + 23 * DAY + by * TICK)
        for by in (-1, 0, 1)
    ]
    taken = snapshot(rows)
    for days, gone in ((30, []), (7, ["-1"]), (8, []), (7, ["-1"]), (6, ["-1", "0", "1"])):
        policy = Policy(default_retention_days=days)
        found = taken.simulate(policy, "3d", "as-if", future=False, defaults=[30]).gone(policy)
        assert sorted(found["run_id"]) == gone
