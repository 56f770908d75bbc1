"""Retention curves: every candidate of one answer is what a filter of its own would say."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import DAY, DEFAULTS, SKEW, edge_rows, how_written
from contract_rows import TICK, T, asset_row, instants, many_rows, snapshot, task_row
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import ON_CI

from storekit.errors import QueryError

YEAR = range(366)
COLUMNS = ["days", "deleted", "deleted_bytes", "kept", "kept_bytes"]
COLUMNS += ["deleted_high", "deleted_bytes_high", "kept_low", "kept_bytes_low"]
SELECTIONS: list[dict[str, str]] = [
    {},
    {"dag_id": "etl"},
    {"task_id": "fit"},
    {"key": "a"},
    {"dag_id": "ml", "task_id": "load"},
    {"dag_id": "etl", "key": "b"},
    {"dag_id": "etl", "task_id": "load", "key": "a"},
    {"dag_id": "no such dag"},
]

stores = st.sampled_from(DEFAULTS).flatmap(lambda defaults: st.tuples(edge_rows(defaults), st.just(defaults)))
# T and its surroundings, where the rows' edges lie.
nows = st.builds(
    lambda days, by: T + days * DAY + by * TICK, st.sampled_from([0, 0, 1, 30, -2]), st.sampled_from([0, 0, 1, -1])
)


def frame_of(rows: list[dict[str, Any]], defaults: tuple[int, ...]) -> pd.DataFrame:
    """The rows that were put in, with how each was written, as plain pandas."""
    names = ["dag_id", "task_id", "key", "value_bytes", "updated_at", "expires_at"]
    frame = pd.DataFrame([{name: row[name] for name in names} for row in rows], columns=names)
    frame[["updated_at", "expires_at"]] = frame[["updated_at", "expires_at"]].astype("datetime64[us, UTC]")
    frame["value_bytes"] = frame["value_bytes"].astype("int64")
    return frame.assign(how=[how_written(row, defaults) for row in rows])


def selected(frame: pd.DataFrame, selection: dict[str, str]) -> pd.DataFrame:
    for name, text in selection.items():
        frame = frame[frame[name] == text]
    return frame


def by_filters(frame: pd.DataFrame, candidates: Any, now: datetime) -> pd.DataFrame:
    """One filter after the other: a candidate's rows are those whose last write is old enough."""
    lines = []
    size = frame["value_bytes"].sum()
    explicit = (frame["how"] == "explicit") & (frame["expires_at"] < now)
    by_default, untold = frame["how"] == "default", frame["how"] == "never-expire-or-default-0"
    for days in candidates:
        old = frame["updated_at"] < pd.Timestamp(now) - timedelta(days=days) if days else by_default & False
        gone = frame.loc[explicit | (by_default & old), "value_bytes"]
        most = frame.loc[explicit | ((by_default | untold) & old), "value_bytes"]
        deleted, at_most = (len(gone), gone.sum()), (len(most), most.sum())
        kept, at_least = (len(frame) - len(gone), size - gone.sum()), (len(frame) - len(most), size - most.sum())
        lines.append([days, *deleted, *kept, *at_most, *at_least])
    return pd.DataFrame(lines, columns=COLUMNS).astype("int64")


@settings(max_examples=30 if ON_CI else 10)
@given(store=stores, now=nows, selection=st.sampled_from(SELECTIONS))
def test_a_year_of_candidates_is_366_filters(
    store: tuple[list[dict[str, Any]], tuple[int, ...]], now: datetime, selection: dict[str, str]
) -> None:
    rows, defaults = store
    curve = snapshot(rows).retention_curve(YEAR, now=now, defaults=defaults, **selection)
    expected = by_filters(selected(frame_of(rows, defaults), selection), YEAR, now)
    pd.testing.assert_frame_equal(curve, expected, check_exact=True)


@settings(max_examples=40 if ON_CI else 10)
@given(store=stores, times=st.lists(nows, min_size=2, max_size=2, unique=True), data=st.data())
def test_every_selection_at_several_instants_and_asked_again(
    store: tuple[list[dict[str, Any]], tuple[int, ...]], times: list[datetime], data: st.DataObject
) -> None:
    rows, defaults = store
    taken, frame = snapshot(rows), frame_of(rows, defaults)
    # Those where an edge is, among others.
    ages = [(now - row["updated_at"]) // DAY for row in rows for now in times]
    near = sorted({days + by for days in ages for by in (-1, 0, 1) if 0 <= days + by <= 400})
    candidates = data.draw(st.lists(st.sampled_from([0, 1, 30, *near]), min_size=1, max_size=5))
    order = data.draw(st.permutations([(now, selection) for now in times for selection in SELECTIONS]))
    first = [taken.retention_curve(candidates, now=now, defaults=defaults, **selection) for now, selection in order]
    for (now, selection), curve in zip(order, first, strict=True):
        pd.testing.assert_frame_equal(curve, by_filters(selected(frame, selection), candidates, now))
    for (now, selection), curve in zip(order, first, strict=True):
        pd.testing.assert_frame_equal(taken.retention_curve(candidates, now=now, defaults=defaults, **selection), curve)


def test_the_very_microsecond_of_each_candidate() -> None:
    rows = [
        task_row(run_id=f"{days} {by}", updated_at=T - days * DAY - by * TICK, expires_at=None, never_expire=False)
        for days in (1, 30, 365)
        for by in (0, 1)
    ]
    curve = snapshot(rows).retention_curve([0, 1, 29, 30, 31, 364, 365, 366]).set_index("days")["deleted"]
    assert curve.to_dict() == {0: 0, 1: 5, 29: 4, 30: 3, 31: 2, 364: 2, 365: 1, 366: 0}
    later = snapshot(rows).retention_curve([1, 30, 365], now=T + TICK)["deleted"]
    assert list(later) == [6, 4, 2]


def test_ambiguous_rows_are_a_range_unless_the_defaults_tell() -> None:
    rows = [
        task_row(run_id="null", value_bytes=3, updated_at=T - 10 * DAY),
        task_row(run_id="default", value_bytes=5, updated_at=T - 10 * DAY, expires_at=T + 20 * DAY),
        asset_row(value_bytes=7, updated_at=T - 10 * DAY),
    ]
    taken = snapshot(rows, layout="airflow-3.3", has_never_expire=False)
    for defaults in (None, (0, 30)):
        line = taken.retention_curve([9], defaults=defaults).iloc[0]
        assert line.to_dict() == dict(zip(COLUMNS, [9, 1, 5, 2, 10, 2, 8, 1, 7], strict=True))
    line = taken.retention_curve([9], defaults=(30,)).iloc[0]
    assert line.to_dict() == dict(zip(COLUMNS, [9, 1, 5, 2, 10, 1, 5, 2, 10], strict=True))


# --- law 5 -----------------------------------------------------------------------------------------------------


@settings(max_examples=60 if ON_CI else 15)
@given(rows=many_rows(), one=instants(), other=instants())
def test_longer_deletes_no_more_and_later_no_less(rows: list[dict[str, Any]], one: datetime, other: datetime) -> None:
    taken, (first, second) = snapshot(rows), sorted([one, other])
    before, after = (taken.retention_curve(range(1, 366), now=now, defaults=(30, 0)) for now in (first, second))
    for name in ("deleted", "deleted_bytes", "deleted_high", "deleted_bytes_high"):
        assert before[name].is_monotonic_decreasing
        assert (before[name] <= after[name]).all()
        never = taken.retention_curve([0], now=first, defaults=(30, 0))[name][0]
        assert never <= before[name].min()
    for deleted, kept in (("deleted", "kept"), ("deleted_high", "kept_low")):
        assert (before[deleted] + before[kept] == len(rows)).all()
    for deleted, kept in (("deleted_bytes", "kept_bytes"), ("deleted_bytes_high", "kept_bytes_low")):
        assert (before[deleted] + before[kept] == taken.value_bytes).all()


# --- candidates and mistakes -----------------------------------------------------------------------------------


def test_candidates_of_any_size_order_and_kind() -> None:
    rows = [task_row(updated_at=T - 40 * DAY, expires_at=T - 10 * DAY, never_expire=False)]
    taken = snapshot(rows)
    curve = taken.retention_curve([10**9, 39, 2**62, 39, 40, 0])
    assert list(curve["days"]) == [10**9, 39, 2**62, 39, 40, 0]
    assert list(curve["deleted"]) == [0, 1, 0, 1, 0, 0]
    for same in (np.array([39, 40]), (each for each in (39, 40)), pd.Series([39, 40]), {39: "a", 40: "b"}):
        assert list(taken.retention_curve(same)["deleted"]) == [1, 0]
    assert list(taken.retention_curve(39)["deleted"]) == [1]  # type: ignore[arg-type]
    assert list(taken.retention_curve([])["deleted"]) == []
    assert list(taken.retention_curve()["days"]) == list(range(366))


@pytest.mark.parametrize(
    "days", [-1, [-1], [3.5], 3.5, None, [None], "14", ["14"], [True], True, [2**63], [T], timedelta(days=3)]
)
def test_what_is_no_candidate_is_refused(days: Any) -> None:
    with pytest.raises(QueryError, match="no default_retention_days"):
        snapshot([task_row()]).retention_curve(days)


def test_what_is_no_instant_selection_or_default_is_refused() -> None:
    taken = snapshot([task_row()])
    mistakes: list[dict[str, Any]] = [
        {"now": "yesterday"},
        {"now": T.replace(tzinfo=None)},
        {"dag_id": 3},
        {"key": ["a"]},
        {"defaults": [-1]},
        {"defaults": [1.5]},
        {"defaults": 1.5},
        {"defaults": "30"},
        {"defaults": [True]},
        {"skew": 12 * timedelta(hours=1)},
        {"skew": -TICK},
    ]
    for mistake in mistakes:
        with pytest.raises(QueryError):
            taken.retention_curve([1], **mistake)


def test_now_is_the_snapshots_unless_given_in_any_zone() -> None:
    rows = [task_row(updated_at=T - DAY, expires_at=T + 29 * DAY, never_expire=False)]
    taken = snapshot(rows, taken_at=T + TICK)
    assert list(taken.retention_curve([1])["deleted"]) == [1]
    zone = timezone(timedelta(hours=-9, minutes=-30))
    for now in (T.astimezone(zone), T.astimezone(zone).isoformat(), pd.Timestamp(T)):
        assert list(taken.retention_curve([1], now=now)["deleted"]) == [0]


def test_defaults_may_be_given_as_anything_that_yields_them() -> None:
    rows = [task_row(updated_at=T - 40 * DAY, expires_at=T - 33 * DAY, never_expire=False)]
    rows += [task_row(run_id=f"{each}", updated_at=T, expires_at=T + 30 * DAY, never_expire=False) for each in "ab"]
    taken = snapshot(rows)
    given: list[Any] = [7, [7], np.int64(7), np.array([7]), iter([7]), {7}, (each for each in [7])]
    for defaults in given:
        assert list(taken.retention_curve([50], defaults=defaults)["deleted"]) == [0]
    assert list(taken.retention_curve([50], defaults=30)["deleted"]) == [1]  # type: ignore[arg-type]
    assert list(taken.retention_curve([50], defaults=7, skew=SKEW)["deleted"]) == [0]  # type: ignore[arg-type]


def test_the_curve_says_what_it_rests_on() -> None:
    curve = snapshot([task_row(expires_at=T + 29 * DAY)]).retention_curve([1], defaults=(30,))
    assert any("had been default_retention_days at every write" in each for each in curve.attrs["assumptions"])
    assert any("Defaults as given: 30" in each for each in curve.attrs["assumptions"])


def test_looking_back_is_allowed_and_says_what_it_cannot_see() -> None:
    taken = snapshot([task_row(updated_at=T - DAY, expires_at=T + 29 * DAY, never_expire=False)])
    assert any("before the snapshot" in each for each in taken.retention_curve(now=T - TICK).attrs["assumptions"])
    for now in (None, T, T + DAY):
        assert not any("before the snapshot" in each for each in taken.retention_curve(now=now).attrs["assumptions"])


def test_what_cannot_be_asked_is_refused() -> None:
    taken = snapshot([task_row(updated_at=T - DAY, expires_at=T + 29 * DAY + 90 * TICK * 1_000_000)])
    assert list(taken.retention_curve([1], now=T + DAY, defaults=30, skew="2min")["deleted"]) == [1]  # type: ignore[arg-type]
    for wrong in ({"key": "\ud800"}, {"dag_id": 3}, {"skew": 60}, {"skew": None}, {"skew": "1 month"}, {"skew": "12h"}):
        with pytest.raises(QueryError):
            taken.retention_curve([1], **wrong)  # type: ignore[arg-type]


def test_an_empty_store_and_a_store_of_assets() -> None:
    assert (snapshot([]).retention_curve().drop(columns="days") == 0).all(axis=None)
    only = snapshot([asset_row(updated_at=T - 400 * DAY)])
    curve = only.retention_curve()
    assert (curve["deleted_high"] == 0).all()
    assert (curve["kept"] == 1).all()
    assert only.retention_curve([1], dag_id="etl")["kept"][0] == 0
    assert only.retention_curve([1], key="k")["kept"][0] == 1
