"""What a policy makes of a workload: the fast path is the real backend's, and the laws of retention hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from profiles import ON_CI

from storekit.config import StateStoreConfig
from storekit.errors import InvalidKeyError, LayoutError, PolicyError
from storekit.metastore import MetastoreStateBackend
from storekit.retention import Cleanup, DeleteRun, Success, Workload, Write, play
from storekit.retention.policy import AS_WRITTEN, Policy, Rule
from storekit.retention.rows import TICK, as_instant_us
from storekit.retention.workload import Event, LiveRow, OverTime
from storekit.state import NEVER_EXPIRE, AssetScope, TaskScope
from storekit.testing import (
    WORKLOAD_CASES,
    policies,
    policies_with_workloads,
    replay,
    workload_cases,
    workloads,
)

T = datetime(2026, 11, 22, 10, 35, 18, 757162, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ETL, ETL_0 = TaskScope("etl", "monday", "load"), TaskScope("etl", "monday", "load", 0)
ML, ML_BY_TASK = TaskScope("ml", "monday", "load"), TaskScope("ml", "monday", "by_task")
PLAIN = Policy(default_retention_days=1)

CLEARING = Policy(
    default_retention_days=1,
    clear_on_success=True,
    batch_size=1,
    rules=(
        Rule(task_id="by_task", retention=2 * DAY),
        Rule(key="by_*", retention=AS_WRITTEN),
        Rule(dag_id="ml", min_bytes=10, task_state="running", retention=NEVER_EXPIRE),
    ),
)
KEEPING = Policy(default_retention_days=0)

CLEARED: tuple[Event, ...] = (
    Write(T, ETL, "a"),
    Write(T, ETL_0, "a"),
    Write(T, ETL_0, "b"),
    Write(T, ETL, "b", 7, timedelta(0)),
    Cleanup(T),
    Write(T + TICK, ETL, "b"),
    Write(T + TICK, ETL, "c", 7, TICK),
    Write(T + TICK, ML_BY_TASK, "x", 7, HOUR),
    Write(T + TICK, ML, "by_key", 300, HOUR),
    Write(T + TICK, ML, "large", 10, HOUR),
    Success(T + HOUR, ETL),
    Success(T + HOUR, ETL),
    Write(T + HOUR, ETL, "a", 1),
    Cleanup(T + DAY - TICK),
    Cleanup(T + DAY),
    Cleanup(T + DAY + TICK),
    DeleteRun(T + DAY + HOUR, "ml", "monday"),
    Write(T + DAY + HOUR, ML, "large", 9),
)
KEPT: tuple[Event, ...] = (
    Write(T, ETL, "a", 5, DAY),
    Write(T, ETL, "b", 6),
    Write(T, ETL, "c", 7, NEVER_EXPIRE),
    Write(T, ETL, "d", 8, DAY),
    Write(T, ETL, "d", 9),
    Success(T, ETL),
    Cleanup(T + DAY + TICK),
)
FIXED = [(CLEARING, Workload(CLEARED, T)), (KEEPING, Workload(KEPT, T))]


def places(rows: list[LiveRow]) -> dict[tuple[TaskScope, str], LiveRow]:
    return {(row.scope, row.key): row for row in rows}


@pytest.fixture
def backend() -> Iterator[MetastoreStateBackend]:
    made = in_memory()
    yield made
    made.close()


def in_memory() -> MetastoreStateBackend:
    backend = MetastoreStateBackend("sqlite://", config=StateStoreConfig())
    backend.create_tables()
    return backend


# --- law 7: the fast path is the real backend's --------------------------------------------------------------------


@settings(max_examples=240 if ON_CI else 80)
@given(case=policies_with_workloads())
def test_the_fast_path_is_the_real_backends(case: tuple[Policy, Workload]) -> None:
    policy, workload = case
    fast, real = play(workload, policy), replay(workload, policy)
    assert fast.rows == real.rows
    assert fast.deleted_per_cleanup == real.deleted_per_cleanup
    assert fast.deleted_bytes_per_cleanup == real.deleted_bytes_per_cleanup
    assert fast.over_time == real.over_time
    assert fast == real


@pytest.mark.parametrize(("policy", "workload"), FIXED)
def test_they_are_one_over_every_hard_case(policy: Policy, workload: Workload) -> None:
    assert play(workload, policy) == replay(workload, policy)


def test_the_fixed_workloads_meet_every_hard_case() -> None:
    met = [workload_cases(workload, policy) for policy, workload in FIXED]
    assert set.union(*met) == WORKLOAD_CASES


# Searched until one is found, and not shrunk. Each is there once in fifty: so many examples do not miss it by chance.
SAMPLE = settings(max_examples=3000, phases=[Phase.generate], database=None, deadline=None)


@pytest.mark.parametrize("hard", sorted(WORKLOAD_CASES))
def test_the_generator_reaches_every_hard_case(hard: str) -> None:
    find(policies_with_workloads(), lambda case: hard in workload_cases(case[1], case[0]), settings=SAMPLE)


def test_workloads_for_no_policy_aim_at_what_programs_pass() -> None:
    # No sum of the steps in time comes so close by chance.
    case, policy = "cleanup one microsecond before an expiry", Policy(default_retention_days=0)
    find(workloads(), lambda drawn: case in workload_cases(drawn, policy), settings=SAMPLE)


def test_the_answer_written_out() -> None:
    # By hand, so that the two paths cannot be wrong together.
    outcome = play(Workload(CLEARED, T), CLEARING)
    assert outcome.rows == [
        LiveRow(ETL, "a", 1, T + HOUR, T + HOUR + DAY, False),
        LiveRow(ML, "large", 9, T + DAY + HOUR, T + DAY + HOUR + DAY, False),
    ]
    assert outcome.deleted_per_cleanup == [0, 1, 0, 2]
    assert outcome.deleted_bytes_per_cleanup == [0, 300, 0, 4]
    assert outcome.over_time.rows.tolist() == [1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 5, 5, 6, 5, 5, 3, 1, 2]
    assert outcome.over_time.bytes.tolist() == [
        *(2, 4, 6, 13, 13, 8, 15, 22, 322, 332, 321, 321, 322, 22, 22, 18, 1, 10),
    ]
    assert outcome.over_time.at_us.tolist() == [as_instant_us(event.at) for event in CLEARED]

    kept = play(Workload(KEPT, T), KEEPING)
    assert [(row.key, row.expires_at, row.never_expire) for row in kept.rows] == [
        ("b", None, False),
        ("c", None, True),
        ("d", None, False),
    ]
    assert (kept.deleted_per_cleanup, kept.deleted_bytes_per_cleanup) == ([1], [5])


@pytest.mark.parametrize("run", [play, replay])
def test_no_events(run: Any) -> None:
    outcome = run(Workload((), T), PLAIN)
    assert (outcome.rows, outcome.deleted_per_cleanup, len(outcome.over_time.rows)) == ([], [], 0)


@pytest.mark.parametrize("run", [play, replay])
def test_events_about_what_was_never_written(run: Any) -> None:
    events = (DeleteRun(T, "etl", "monday"), Success(T, ETL), DeleteRun(T, "etl", "monday"), Success(T, ETL))
    outcome = run(Workload((*events, Write(T, ML, "a"), Cleanup(T)), T), CLEARING)
    assert outcome.over_time.rows.tolist() == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("run", [play, replay])
def test_a_retry_that_succeeds_is_cleared_again(run: Any) -> None:
    once = (Write(T, ETL, "a"), Success(T, ETL))
    outcome = run(Workload((*once, *once, Write(T, ETL_0, "a")), T), CLEARING)
    assert outcome.over_time.rows.tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("run", [play, replay])
def test_airflows_own_never_expire_is_never_expire(run: Any) -> None:
    outcome = run(Workload((Write(T, ETL, "a", 2, timedelta.max), Cleanup(T + 900 * DAY)), T), PLAIN)
    assert outcome.rows == [LiveRow(ETL, "a", 2, T, None, True)]


@pytest.mark.parametrize("run", [play, replay])
def test_the_last_instant_is_an_expiry_and_one_later_is_refused(run: Any) -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert run(Workload((Write(T, ETL, "a", 2, last - T),), T), PLAIN).rows[0].expires_at == last
    for policy, retention in (
        (PLAIN, last - T + TICK),
        (PLAIN, timedelta.max - TICK),
        (Policy(default_retention_days=timedelta.max.days), None),
        (Policy(default_retention_days=1, rules=(Rule(key="a", retention=timedelta(days=4_000_000)),)), HOUR),
    ):
        with pytest.raises(ValueError, match="ends after the year 9999; use NEVER_EXPIRE"):
            run(Workload((Write(T, ETL, "a", 2, retention),), T), policy)


@pytest.mark.parametrize("run", [play, replay])
def test_a_policy_without_a_default_is_refused(run: Any) -> None:
    with pytest.raises(PolicyError, match=r"no default_retention_days(.|\n)*hint: say Policy\(default_retention_days="):
        run(Workload((Write(T, ETL, "a"),), T), Policy(rules=(Rule(key="a", retention=DAY),)))


def test_airflows_tables_are_refused() -> None:
    backend = MetastoreStateBackend("sqlite://", config=StateStoreConfig(), layout="airflow-3.3")
    with pytest.raises(LayoutError, match="hint: give an embedded store"):
        replay(Workload((), T), PLAIN, backend)
    backend.close()


def test_rows_that_are_there_take_part_in_a_replay(backend: MetastoreStateBackend) -> None:
    options = backend.config
    replay(Workload((Write(T, ETL, "a", 5), Success(T, ETL)), T), PLAIN, backend)
    outcome = replay(Workload((Success(T + DAY, ETL), Cleanup(T + DAY + TICK)), T), CLEARING, backend)
    # The second success clears nothing: the instance was success already.
    assert (outcome.deleted_per_cleanup, outcome.deleted_bytes_per_cleanup) == ([1], [5])
    assert backend.config is options


def test_a_replay_cleans_up_in_the_policys_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []
    cleanup = MetastoreStateBackend.cleanup

    def told(backend: MetastoreStateBackend, *, now: datetime | None = None, batch_size: int | None = None) -> int:
        asked.append(batch_size)
        return cleanup(backend, now=now, batch_size=batch_size)

    monkeypatch.setattr(MetastoreStateBackend, "cleanup", told)
    replay(Workload((Cleanup(T), Cleanup(T)), T), Policy(default_retention_days=1, batch_size=7))
    assert asked == [7, 7]


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "error", "message"),
    [
        ([Cleanup(T), Cleanup(T - TICK)], ValueError, r"events\[1\] happens at .*, before"),
        ([Cleanup(T - HOUR - TICK)], ValueError, r"events\[0\] happens at .*, before"),
        ([Cleanup(T.replace(tzinfo=None))], ValueError, "no time zone"),
        ([Cleanup(T), "cleanup"], TypeError, r"events\[1\] is 'cleanup'"),
        ([Cleanup(T), Write(T, AssetScope(name="a"), "a")], TypeError, r"events\[1\].scope must be a TaskScope"),  # type: ignore[arg-type]
        ([Cleanup(T), Success(T, "load")], TypeError, r"events\[1\].scope must be a TaskScope"),  # type: ignore[arg-type]
        ([Write(T, ETL, "a", 2, 30)], TypeError, r"events\[0\].retention must be a timedelta"),  # type: ignore[arg-type]
        ([Write(T, ETL, "a", 2, -TICK)], ValueError, r"events\[0\].retention=.* is negative"),
        ([Cleanup(T), Write(T, ETL, "a", 0)], ValueError, r"events\[1\].value_bytes=0"),
        ([Write(T, ETL, "a", 2.5)], TypeError, r"events\[0\].value_bytes must be a whole number"),  # type: ignore[arg-type]
        ([Write(T, ETL, "")], InvalidKeyError, "key"),
        ([DeleteRun(T, "etl", "")], TypeError, r"events\[0\].run_id must be a text"),
    ],
)
def test_a_bad_event_is_refused(events: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Workload(tuple(events), T - HOUR)


def test_instants_of_other_zones_are_instants() -> None:
    elsewhere = T.astimezone(timezone(timedelta(hours=5, minutes=45)))
    workload = Workload((Write(elsewhere, ETL, "a"), Cleanup(T + DAY)), elsewhere)
    assert (
        play(workload, PLAIN)
        == replay(workload, PLAIN)
        == play(Workload((Write(T, ETL, "a"), Cleanup(T + DAY)), T), PLAIN)
    )


# --- law 2, for the fast path: nothing alive dies by cleanup -------------------------------------------------------


@given(case=policies_with_workloads(max_steps=10))
def test_cleanup_deletes_what_has_expired_and_nothing_else(case: tuple[Policy, Workload]) -> None:
    policy, workload = case
    events, outcome = workload.events, play(*reversed(case))
    cleanups = [index for index, event in enumerate(events) if isinstance(event, Cleanup)]
    for number, index in enumerate(cleanups):
        before = places(play(Workload(events[:index], T), policy).rows)
        after = places(play(Workload(events[: index + 1], T), policy).rows)
        at = events[index].at
        expired = {place for place, row in before.items() if row.expires_at is not None and row.expires_at < at}
        assert not any(before[place].never_expire for place in expired)
        assert after == {place: row for place, row in before.items() if place not in expired}
        assert outcome.deleted_per_cleanup[number] == len(expired)


# --- law 5: longer retention and earlier cleanup never delete more -------------------------------------------------


def with_default(policy: Policy, days: int) -> Policy:
    return policy.model_copy(update={"default_retention_days": days})


@st.composite
def short_and_long(draw: st.DrawFn) -> tuple[Policy, Policy, Workload]:
    days, longer = draw(st.sampled_from([(1, 2), (1, 30), (2, 30), (1, 0), (30, 0)]))
    policy = draw(policies(max_rules=2))
    short, long = with_default(policy, days), with_default(policy, longer)
    return short, long, draw(workloads(short, long))


@given(case=short_and_long())
def test_longer_retention_deletes_no_more(case: tuple[Policy, Policy, Workload]) -> None:
    short, long = (play(case[2], policy) for policy in case[:2])
    held = places(long.rows)
    for place, row in places(short.rows).items():
        kept = held[place]
        assert (kept.updated_at, kept.value_bytes) == (row.updated_at, row.value_bytes)
        assert kept.expires_at is None or (row.expires_at is not None and row.expires_at <= kept.expires_at)
    assert (short.over_time.rows <= long.over_time.rows).all()
    assert (short.over_time.bytes <= long.over_time.bytes).all()
    assert sum(short.deleted_per_cleanup) >= sum(long.deleted_per_cleanup)
    assert sum(short.deleted_bytes_per_cleanup) >= sum(long.deleted_bytes_per_cleanup)


def test_the_generator_reaches_a_row_that_only_the_shorter_deletes() -> None:
    find(
        short_and_long(),
        lambda case: len(play(case[2], case[0]).rows) < len(play(case[2], case[1]).rows),
        settings=SAMPLE,
    )


@given(case=policies_with_workloads(), data=st.data())
def test_a_later_cleanup_deletes_no_less(case: tuple[Policy, Workload], data: st.DataObject) -> None:
    policy, workload = case
    events = tuple(event for event in workload.events if not isinstance(event, Cleanup))
    rows = play(Workload(events, T), policy).rows
    last = workload.events[-1].at
    edges = sorted({last, *(row.expires_at for row in rows if row.expires_at is not None and row.expires_at >= last)})
    earlier = data.draw(st.sampled_from(edges)) + data.draw(st.sampled_from([timedelta(0), TICK]))
    later = earlier + data.draw(st.sampled_from([timedelta(0), TICK, DAY, 40 * DAY]))
    first = play(Workload((*events, Cleanup(earlier)), T), policy)
    second = play(Workload((*events, Cleanup(later)), T), policy)
    assert places(second.rows).items() <= places(first.rows).items()
    assert first.deleted_per_cleanup <= second.deleted_per_cleanup
    # Cleaning up earlier as well changes nothing of what is left after the later one.
    assert play(Workload((*events, Cleanup(earlier), Cleanup(later)), T), policy).rows == second.rows


# --- law 6: a change of policy changes no stored row ---------------------------------------------------------------


@given(case=policies_with_workloads(max_steps=8), then=policies(), cut=st.integers(0, 12))
def test_a_change_of_policy_changes_no_stored_row(case: tuple[Policy, Workload], then: Policy, cut: int) -> None:
    policy, workload = case
    backend = in_memory()
    try:
        before = replay(Workload(workload.events[:cut], T), policy, backend).rows
        assert replay(Workload((), T), then, backend).rows == before
        # Nor does a write, of any other key; it is the new policy's, whole.
        writes = Workload(tuple(each for each in workload.events[cut:] if isinstance(each, Write)), T)
        after = places(replay(writes, then, backend).rows)
    finally:
        backend.close()
    written = places(play(writes, then).rows)
    assert after == places(before) | written


# --- law 8: rows = write rate x time in the store ------------------------------------------------------------------

SETTLED, WINDOW, EVERY = 2 * DAY, 60 * DAY, timedelta(hours=6)


@pytest.mark.parametrize(("seed", "writes_per_day"), [(1, 50), (2, 300), (3, 300), (4, 2000)])
def test_littles_law(seed: int, writes_per_day: float) -> None:
    """A steady Poisson stream of distinct keys, retention R, cleanup every D: mean rows = rate x (R + D / 2).

    A row lives from its write until the first cleanup after its expiry: at most R + D, on average over a whole number
    of intervals R + D / 2, exactly. The mean of rows over a window W is a sum over writes of (time in the window) / W,
    so by Campbell's formula its variance is rate / W**2 times the integral, over the instant of the write, of (time in
    the window)**2; that is at most (R + D)**2, for instants in a stretch of W + R + D. The tolerance is 4 deviations.
    """
    rng = np.random.default_rng(seed)
    total = SETTLED + WINDOW
    count = rng.poisson(writes_per_day * (total / DAY))
    instants = np.sort(rng.uniform(0, total / TICK, count)).astype(np.int64).tolist()
    writes = [Write(T + instant * TICK, ETL, f"key-{n}", 100) for n, instant in enumerate(instants)]
    cleanups = [Cleanup(T + n * EVERY) for n in range(1, total // EVERY + 1)]
    events: list[Event] = sorted([*writes, *cleanups], key=lambda event: event.at)

    outcome = play(Workload(tuple(events), T), PLAIN)

    mean = mean_over(outcome.over_time.at_us, outcome.over_time.rows, T + SETTLED, T + total)
    days, half, longest = WINDOW / DAY, (EVERY / 2) / DAY, (DAY + EVERY) / DAY
    expected = writes_per_day * (1 + half)
    tolerance = 4 * math.sqrt(writes_per_day * (days + longest)) * longest / days
    assert abs(mean - expected) < tolerance
    # So tight that a mistake of half an interval would be seen.
    assert tolerance < writes_per_day * half
    mean_bytes = mean_over(outcome.over_time.at_us, outcome.over_time.bytes, T + SETTLED, T + total)
    assert mean_bytes == pytest.approx(100 * mean)


def mean_over(at_us: Any, values: Any, start: datetime, end: datetime) -> float:
    """Return the mean of a step function between two instants."""
    edges = np.clip([*at_us, as_instant_us(end)], as_instant_us(start), as_instant_us(end))
    return float((np.diff(edges) * values).sum() / (as_instant_us(end) - as_instant_us(start)))


def test_over_time_is_compared_by_its_numbers() -> None:
    some = play(Workload(KEPT, T), KEEPING).over_time
    assert some == OverTime(some.at_us.copy(), some.rows.copy(), some.bytes.copy())
    assert some != OverTime(some.at_us, some.rows, some.bytes + 1)
    assert some != OverTime(some.at_us[:1], some.rows[:1], some.bytes[:1])
